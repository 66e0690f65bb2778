//! What records and checkpoints hold of events and renames.

use bytes::Bytes;

use super::codec::{Decoder, Encode, Malformed};
use super::parts::decode_key;
use crate::engine::events::{Event, EventChange, EventId};
use crate::engine::rename::Rename;
use crate::engine::version::VersionId;

/// The version of an event, where none is 0.
const VERSION_NULL: u8 = 1;
const VERSION_NUMBERED: u8 = 2;

/// Everything but the body, which is the record's payload.
pub fn encode_event(event: &Event, out: &mut Vec<u8>) {
    encode_event_id(event.id, out);
    out.u64(event.bucket);
    out.short_bytes(&event.key);
    out.u8(event.change as u8);
    match event.version {
        None => out.u8(0),
        Some(VersionId::Null) => out.u8(VERSION_NULL),
        Some(VersionId::Numbered(sequence)) => {
            out.u8(VERSION_NUMBERED);
            out.u64(sequence);
        }
    }
}

pub fn decode_event(from: &mut Decoder<'_>, body: Bytes) -> Result<Event, Malformed> {
    Ok(Event {
        id: decode_event_id(from)?,
        bucket: from.u64()?,
        key: decode_key(from)?,
        change: EventChange::from_code(from.u8()?).ok_or(Malformed)?,
        version: match from.u8()? {
            0 => None,
            VERSION_NULL => Some(VersionId::Null),
            VERSION_NUMBERED => Some(VersionId::Numbered(from.u64()?)),
            _ => return Err(Malformed),
        },
        body,
    })
}

pub fn encode_event_id(id: EventId, out: &mut Vec<u8>) {
    out.u64(id.sequence);
    out.u64(id.unique);
}

pub fn decode_event_id(from: &mut Decoder<'_>) -> Result<EventId, Malformed> {
    Ok(EventId { sequence: from.u64()?, unique: from.u64()? })
}

pub fn encode_rename(rename: &Rename, out: &mut Vec<u8>) {
    out.u64(rename.bucket);
    out.short_bytes(&rename.to);
    out.u64(rename.sequence);
    out.short_bytes(&rename.from);
    out.u64(rename.from_sequence);
}

pub fn decode_rename(from: &mut Decoder<'_>) -> Result<Rename, Malformed> {
    Ok(Rename {
        bucket: from.u64()?,
        to: decode_key(from)?,
        sequence: from.u64()?,
        from: decode_key(from)?,
        from_sequence: from.u64()?,
    })
}
