//! Parts that records and checkpoints are made of: ETags, checksums, headers, locks, slices, uploads, buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codec::{Decoder, Encode, Malformed};
use super::{SLICE_BYTES, Slice};
use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::base::limits::KEY_BYTES_MAX;
use crate::engine::types::{Bucket, Headers, Part, Upload};
use crate::engine::version::{Lock, Retention, RetentionMode, Versioning};

pub fn decode_bool(from: &mut Decoder<'_>) -> Result<bool, Malformed> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

/// The bit of a legal hold; the bits below are the mode of a retention.
const LOCK_LEGAL_HOLD: u8 = 0x80;

pub fn encode_lock(lock: &Lock, out: &mut Vec<u8>) {
    let mode = lock.retention.map_or(0, |retention| retention.mode as u8);
    out.u8(mode | if lock.legal_hold { LOCK_LEGAL_HOLD } else { 0 });
    if let Some(retention) = lock.retention {
        out.u64(retention.until);
    }
}

pub fn decode_lock(from: &mut Decoder<'_>) -> Result<Lock, Malformed> {
    let code = from.u8()?;
    let retention = match code & !LOCK_LEGAL_HOLD {
        0 => None,
        mode => {
            let mode = RetentionMode::from_code(mode).ok_or(Malformed)?;
            Some(Retention { mode, until: from.u64()? })
        }
    };
    Ok(Lock { retention, legal_hold: code & LOCK_LEGAL_HOLD != 0 })
}

pub fn decode_key(from: &mut Decoder<'_>) -> Result<Vec<u8>, Malformed> {
    let key = from.short_bytes()?;
    if key.len() > KEY_BYTES_MAX { Err(Malformed) } else { Ok(key.to_vec()) }
}

pub fn encode_etag(etag: &ETag, out: &mut Vec<u8>) {
    out.extend_from_slice(&etag.digest);
    out.u16(etag.parts);
}

pub fn decode_etag(from: &mut Decoder<'_>) -> Result<ETag, Malformed> {
    Ok(ETag { digest: from.array()?, parts: from.u16()? })
}

pub fn encode_checksum(checksum: Option<&Checksum>, out: &mut Vec<u8>) {
    match checksum {
        None => out.u8(0),
        Some(checksum) => {
            out.u8(checksum.algorithm as u8);
            out.u8(checksum.kind as u8);
            assert_eq!(checksum.value.len(), checksum.algorithm.length());
            out.extend_from_slice(&checksum.value);
        }
    }
}

pub fn decode_checksum(from: &mut Decoder<'_>) -> Result<Option<Checksum>, Malformed> {
    let code = from.u8()?;
    if code == 0 {
        return Ok(None);
    }
    let algorithm = ChecksumAlgorithm::from_code(code).ok_or(Malformed)?;
    let kind = ChecksumKind::from_code(from.u8()?).ok_or(Malformed)?;
    let value = from.bytes(algorithm.length())?.to_vec();
    Ok(Some(Checksum { algorithm, kind, value }))
}

pub fn encode_headers(headers: &Headers, out: &mut Vec<u8>) {
    out.u32(headers.len() as u32);
    for (name, value) in headers {
        out.short_bytes(name.as_bytes());
        out.long_bytes(value);
    }
}

pub fn decode_headers(from: &mut Decoder<'_>) -> Result<Headers, Malformed> {
    let count = from.count(6)?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        headers.push((from.string()?, from.long_bytes()?.to_vec()));
    }
    Ok(headers)
}

pub fn encode_slices(slices: &[Slice], out: &mut Vec<u8>) {
    out.u32(slices.len() as u32);
    for slice in slices {
        slice.encode(out);
    }
}

pub fn decode_slices(from: &mut Decoder<'_>) -> Result<Vec<Slice>, Malformed> {
    let count = from.count(SLICE_BYTES)?;
    (0..count).map(|_| Slice::decode(from)).collect()
}

pub fn encode_part(part: &Part, out: &mut Vec<u8>) {
    out.u16(part.number);
    out.u64(part.bytes);
    encode_etag(&part.etag, out);
    encode_checksum(part.checksum.as_ref(), out);
    out.u64(part.modified);
    encode_note(&part.note, out);
}

pub fn decode_part(from: &mut Decoder<'_>) -> Result<Part, Malformed> {
    Ok(Part {
        number: from.u16()?,
        bytes: from.u64()?,
        etag: decode_etag(from)?,
        checksum: decode_checksum(from)?,
        modified: from.u64()?,
        note: decode_note(from)?,
    })
}

/// A note and the byte of its length before it.
pub fn encode_note(note: &[u8], out: &mut Vec<u8>) {
    out.u8(u8::try_from(note.len()).expect("notes are short"));
    out.extend_from_slice(note);
}

pub fn decode_note(from: &mut Decoder<'_>) -> Result<Vec<u8>, Malformed> {
    let length = from.u8()?;
    Ok(from.bytes(length.into())?.to_vec())
}

pub fn encode_upload(upload: &Upload, out: &mut Vec<u8>) {
    out.short_bytes(&upload.key);
    out.extend_from_slice(&upload.id);
    out.u64(upload.initiated);
    encode_headers(&upload.headers, out);
}

pub fn decode_upload(from: &mut Decoder<'_>) -> Result<Upload, Malformed> {
    Ok(Upload {
        key: decode_key(from)?,
        id: from.array()?,
        initiated: from.u64()?,
        headers: decode_headers(from)?,
    })
}

pub fn encode_bucket(bucket: &Bucket, out: &mut Vec<u8>) {
    out.u64(bucket.id);
    out.short_bytes(bucket.name.as_bytes());
    out.u64(bucket.created);
    out.u8(bucket.versioning as u8);
    out.u32(bucket.settings.len() as u32);
    for (name, value) in &bucket.settings {
        out.short_bytes(name.as_bytes());
        out.long_bytes(value);
    }
}

pub fn decode_bucket(from: &mut Decoder<'_>) -> Result<Bucket, Malformed> {
    let (id, name, created) = (from.u64()?, from.string()?, from.u64()?);
    let versioning = Versioning::from_code(from.u8()?).ok_or(Malformed)?;
    let count = from.count(6)?;
    let mut settings = BTreeMap::new();
    for _ in 0..count {
        settings.insert(from.string()?, from.long_bytes()?.to_vec());
    }
    Ok(Bucket { id, name, created, versioning, settings })
}

pub fn encode_config(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.short_bytes(name.as_bytes());
    out.long_bytes(value);
}

pub fn decode_config(from: &mut Decoder<'_>) -> Result<(String, Arc<[u8]>), Malformed> {
    Ok((from.string()?, from.long_bytes()?.into()))
}
