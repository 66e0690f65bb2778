//! What stands beside the files that `tests/interleavings` compiles, which have no tests inside.

mod mesh;
mod phase;
