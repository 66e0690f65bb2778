//! Whether what a record says of an object's payload adds up, encrypted or not: what can be seen without keys.

use super::{Encryption, HEADER, Run, Salt};
use crate::crypt::Layout;
use crate::engine::format::record::{ObjectPut, PartPut, Record};

/// What is wrong with the lengths that a record tells, if something is.
pub fn fault_of(record: &Record) -> Option<String> {
    match record {
        Record::ObjectPut(put) => object_fault(put),
        Record::PartPut(put) => part_fault(put),
        _ => None,
    }
}

fn object_fault(put: &ObjectPut) -> Option<String> {
    let stored = put.stored_bytes();
    let Some((_, note)) = put.attributes.headers.iter().find(|(name, _)| name == HEADER) else {
        return plain_fault(put.bytes, stored);
    };
    let Some(kept) = Encryption::decode(note) else {
        return Some("an encrypted object whose note about its encryption makes no sense".to_owned());
    };
    let Some(runs) = kept.runs_of(&put.parts) else {
        return Some("an encrypted object with a part that has no salt".to_owned());
    };
    let sum = |bytes: fn(&Run) -> u64| runs.iter().map(bytes).try_fold(0, u64::checked_add);
    let (plain, layout) = (sum(|run| run.plain_bytes), sum(|run| stored_bytes_of(run.plain_bytes)));
    if plain != Some(put.bytes) {
        return Some(format!("an encrypted object of {} bytes whose runs have others in sum", put.bytes));
    }
    if layout != Some(stored) {
        return Some(format!("an encrypted object of {} bytes of which {stored} are stored", put.bytes));
    }
    None
}

fn part_fault(put: &PartPut) -> Option<String> {
    let stored = put.slices.iter().map(|slice| u64::from(slice.length)).sum();
    if put.part.note.is_empty() {
        return plain_fault(put.part.bytes, stored);
    }
    let (bytes, is_salt) = (put.part.bytes, put.part.note.len() == size_of::<Salt>());
    if is_salt && stored_bytes_of(bytes) == stored {
        return None;
    }
    Some(format!("an encrypted part of {bytes} bytes of which {stored} are stored"))
}

fn plain_fault(bytes: u64, stored: u64) -> Option<String> {
    (bytes != stored).then(|| format!("payload of {bytes} bytes of which {stored} are stored"))
}

/// Bytes of a run encrypted; [`Layout`] would overflow on what no run has.
fn stored_bytes_of(plain_bytes: u64) -> u64 {
    const PLAIN_BYTES_MAX: u64 = 1 << 60;
    Layout::of_plain(plain_bytes.min(PLAIN_BYTES_MAX)).stored_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::etag::ETag;
    use crate::engine::format::record::StoredPayload;
    use crate::engine::{Attributes, Lock};
    use crate::s3::encryption::Scheme;

    fn put(bytes: u64, stored: usize, runs: Option<Vec<u64>>) -> Record {
        let mut headers = Vec::new();
        if let Some(runs) = runs {
            let run = |(number, bytes): (u16, &u64)| Run { number, plain_bytes: *bytes, salt: [0; 16] };
            let runs = (1..).zip(&runs).map(run).collect();
            let scheme = Scheme::Managed;
            Encryption { scheme, key_version: 1, wrapped: vec![1; 60], runs }.store(&mut headers);
        }
        let attributes =
            Attributes { etag: ETag::of_md5([0; 16]), checksum: None, headers, lock: Lock::default() };
        Record::ObjectPut(ObjectPut {
            bucket: 1,
            key: b"k".to_vec(),
            sequence: 1,
            is_null: true,
            bytes,
            attributes,
            parts: Vec::new(),
            upload: None,
            payload: StoredPayload::Inline(vec![0; stored].into()),
        })
    }

    #[test]
    fn lengths_that_do_not_add_up_are_told() {
        assert_eq!(fault_of(&put(100, 100, None)), None);
        assert!(fault_of(&put(100, 116, None)).is_some());
        assert_eq!(fault_of(&put(100, 116, Some(vec![100]))), None);
        assert_eq!(fault_of(&put(100, 132, Some(vec![40, 60]))), None);
        assert!(fault_of(&put(100, 100, Some(vec![100]))).is_some());
        assert!(fault_of(&put(100, 116, Some(vec![99]))).is_some());
        assert!(fault_of(&put(100, 116, Some(vec![u64::MAX, 101]))).is_some());
    }
}
