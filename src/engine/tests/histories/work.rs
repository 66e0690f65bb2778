//! Background work, done at once.

use std::time::Duration;

use super::steps::Work;
use super::*;

/// Cleans a segment, whether or not that pays.
pub async fn clean_oldest(engine: &SimEngine) -> Result<(), EngineError> {
    engine.maintain().await?;
    let _turn = engine.inner.maintenance.acquire(1).await;
    match engine.oldest_cleanable() {
        Some((id, segment)) if engine.inner.checkpoint.old_dropped() => {
            engine.clean(id, segment).await.map(drop)
        }
        _ => Ok(()),
    }
}

async fn work_of(engine: &SimEngine, number: usize, cores: usize, work: Work) -> Result<(), EngineError> {
    match work {
        Work::Checkpoint => checkpoint::write(engine).await,
        Work::CheckpointOf(core) if core as usize % cores == number => checkpoint::write(engine).await,
        Work::Clean => clean_oldest(engine).await,
        Work::CleanBy(core) if core as usize % cores == number => clean_oldest(engine).await,
        Work::Maintain => engine.maintain().await,
        Work::Stop => engine.shutdown().await,
        _ => Ok(()),
    }
}

/// Does it on one core after the other. Full drives may refuse it.
pub async fn do_work(node: &Node, work: Work, is_full: bool) {
    if work == Work::Wait {
        node.core(0).host().sleep(Duration::from_secs(2)).await;
    }
    for (number, engine) in node.engines.iter().enumerate() {
        match work_of(engine, number, node.engines.len(), work).await {
            Err(EngineError::Full) if is_full => {}
            result => result.unwrap_or_else(|error| panic!("{work:?} failed: {error}")),
        }
    }
}

/// Begins it on every core.
pub fn begin_work(node: &Node, work: Work) {
    let cores = node.engines.len();
    for (number, engine) in node.engines.iter().enumerate() {
        let engine = engine.clone();
        engine.host().clone().spawn(async move {
            // It fails where drives do.
            let _ = work_of(&engine, number, cores, work).await;
        });
    }
}
