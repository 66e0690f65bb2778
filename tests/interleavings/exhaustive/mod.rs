//! Every interleaving of small scenes, by loom.

#[path = "../../../src/node/mesh.rs"]
#[allow(dead_code, reason = "a scene uses a part of it")]
mod mesh;
#[path = "../once.rs"]
mod once;
#[path = "../../../src/node/phase.rs"]
#[allow(dead_code, reason = "a scene uses a part of it")]
mod phase;
mod primitives;
#[path = "../queue.rs"]
mod queue;
mod scenes;
mod sync;
#[path = "../../../src/ring/wakeup.rs"]
#[allow(dead_code, reason = "a scene uses a part of it")]
mod wakeup;
