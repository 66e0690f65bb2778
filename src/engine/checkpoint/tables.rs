//! What a checkpoint holds beside the buckets' contents: the configuration, events, renames.

use std::ops::Bound;

use super::Image;
use crate::base::limits::{BUFFER_BYTES, WALK_STEP_ENTRIES};
use crate::engine::Engine;
use crate::engine::events::EventId;
use crate::engine::format::checkpoint::{
    encode_bucket_entry, encode_config_entry, encode_event_entry, encode_rename_entry,
};
use crate::io::Host;

/// Writes everything but the buckets' contents, in steps between which the core does other things. Returns
/// the number of entries.
pub async fn write<H: Host>(
    engine: &Engine<H>,
    image: &mut Image<H::Disk>,
    out: &mut Vec<u8>,
) -> std::io::Result<u64> {
    let mut entries = 0;
    for (bucket, location) in engine.inner.index.borrow().table.values() {
        encode_bucket_entry(bucket, *location, out);
        entries += 1;
    }
    entries += write_config(engine, image, out).await?;
    entries += write_events(engine, image, out).await?;
    for (rename, location) in engine.inner.index.borrow().renames.values() {
        encode_rename_entry(rename, *location, out);
        entries += 1;
    }
    Ok(entries)
}

async fn write_config<H: Host>(
    engine: &Engine<H>,
    image: &mut Image<H::Disk>,
    out: &mut Vec<u8>,
) -> std::io::Result<u64> {
    let mut entries = 0;
    let mut after: Option<String> = None;
    loop {
        let last = {
            let index = engine.inner.index.borrow();
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut last = None;
            for (name, (value, location)) in index.config.range::<str, _>((from, Bound::Unbounded)) {
                encode_config_entry(name, value, *location, out);
                entries += 1;
                last = Some(name.clone());
                if out.len() >= BUFFER_BYTES {
                    break;
                }
            }
            last
        };
        if last.is_none() {
            return Ok(entries);
        }
        after = last;
        end_step(engine, image, out).await?;
    }
}

async fn write_events<H: Host>(
    engine: &Engine<H>,
    image: &mut Image<H::Disk>,
    out: &mut Vec<u8>,
) -> std::io::Result<u64> {
    let mut entries = 0;
    let mut after: Option<EventId> = None;
    loop {
        let last = {
            let index = engine.inner.index.borrow();
            let mut last = None;
            for (id, entry) in index.events.after(after).take(WALK_STEP_ENTRIES) {
                encode_event_entry(id, entry, out);
                entries += 1;
                last = Some(id);
            }
            last
        };
        if last.is_none() {
            return Ok(entries);
        }
        after = last;
        end_step(engine, image, out).await?;
    }
}

/// Writes what fills a chunk, and lets the core do something else.
async fn end_step<H: Host>(
    engine: &Engine<H>,
    image: &mut Image<H::Disk>,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    if out.len() >= BUFFER_BYTES {
        image.chunk(out).await?;
    }
    engine.host().yield_now().await;
    Ok(())
}
