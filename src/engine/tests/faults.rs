//! Stories of drives that fail, fill up or were damaged, and of what the engine must not do then.

use std::time::Duration;

use super::*;
use crate::base::local::{Receiver, oneshot};
use crate::engine::format::record::{ObjectPut, Record};
use crate::io::sim::Faults;

fn run<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Rc<Simulation>) -> F) {
    let simulation = Rc::new(Simulation::new(seed));
    let simulation_ = simulation.clone();
    simulation.block_on(test(simulation_));
}

/// Runs `task` on the core by itself.
fn begin<T: 'static>(engine: &SimEngine, task: impl Future<Output = T> + 'static) -> Receiver<T> {
    let (done, result) = oneshot();
    engine.host().spawn(async move { done.send(task.await) });
    result
}

async fn bucket(node: &Node) -> BucketId {
    node.core(0).create_bucket("b", BTreeMap::new()).await.unwrap().id
}

fn files(simulation: &Simulation, drive: usize, kind: &str) -> Vec<crate::io::FileEntry> {
    simulation.disk(drive).list().unwrap().into_iter().filter(|file| file.name.starts_with(kind)).collect()
}

#[test]
fn payload_written_before_a_failed_sync_is_not_called_durable_by_the_next_sync() {
    // The second upload had written its payload and waited for the sync after the one under way. That one
    // failed, and with it the kernel (or the drive) forgot what both had written; the next one succeeded and
    // covered nothing.
    run(1, |simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let extents = node.core(0).extents().clone();
        let space = extents.reserve(100_000).await.unwrap();
        simulation.set_faults(Faults { sync_error: 1.0, ..Faults::default() });
        let wait = |extents: Extents<SimHost>| {
            let (segment, file) = (space.extent.segment, space.file.clone());
            begin(node.core(0), async move { extents.sync(segment, &file).await })
        };
        let first = wait(extents.clone());
        node.core(0).host().sleep(Duration::from_micros(5)).await;
        let second = wait(extents.clone());
        assert!(first.await.unwrap().is_err());
        simulation.set_faults(Faults::default());
        assert!(second.await.unwrap().is_err());
        assert!(extents.check().is_err());
    });
}
