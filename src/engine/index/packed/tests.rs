//! Packed entries against an ordered map, with leaves that split and join.

use proptest::prelude::*;

use super::*;

fn entry() -> impl Strategy<Value = Entry> {
    let slice = (1..u32::MAX, 0..1u32 << 20, 1..1u32 << 20).prop_map(|(segment, block, length)| Slice {
        extent: ExtentId { segment, block },
        extent_bytes: length,
        start: 0,
        length,
    });
    let payload = prop_oneof![
        3 => Just(EntryPayload::Inline),
        2 => slice.clone().prop_map(EntryPayload::One),
        1 => proptest::collection::vec(slice, 2..4).prop_map(EntryPayload::of_slices),
    ];
    let etag = (any::<[u8; 16]>(), prop_oneof![Just(0), any::<u16>()]);
    let location = (any::<u32>(), any::<u32>(), any::<u32>());
    let rest = (any::<u64>(), any::<u8>(), 0..8u8, location, payload);
    (prop_oneof![Just(([0; 16], 0)), etag], rest).prop_map(|(etag, rest)| {
        let (bytes, checksum, flags, (segment, offset, length), payload) = rest;
        Entry {
            bytes,
            sequence: 0,
            etag: ETag { digest: etag.0, parts: etag.1 },
            checksum: ChecksumCode(checksum),
            flags: EntryFlags::from_code(flags).expect("these are all flags"),
            location: Location { segment, offset, length },
            payload,
        }
    })
}

/// Few keys of many lengths, the longest half a leaf, and few sequences: so that places meet.
fn place() -> impl Strategy<Value = (Vec<u8>, u64)> {
    let letter = prop_oneof![Just(b'a'), Just(b'b'), Just(0xff)];
    let head = proptest::collection::vec(letter, 0..4);
    let tail = prop_oneof![4 => Just(100), 2 => Just(0), 1 => Just(900)];
    (head, tail, 1..4u64).prop_map(|(mut key, tail, sequence)| {
        key.extend(std::iter::repeat_n(b'x', tail));
        (key, sequence)
    })
}

type Model = BTreeMap<(Vec<u8>, Reverse<u64>), Entry>;

fn check(packed: &Packed, model: &Model, from: &(Vec<u8>, u64)) -> Result<(), TestCaseError> {
    prop_assert_eq!(packed.len(), model.len());
    let all = |versions: Versions<'_>| versions.map(|(key, entry)| (key.to_vec(), entry)).collect::<Vec<_>>();
    let expected = |bound| -> Vec<(Vec<u8>, Entry)> {
        let range = model.range::<(Vec<u8>, Reverse<u64>), _>((bound, Bound::Unbounded));
        range.map(|((key, _), entry)| (key.clone(), entry.clone())).collect()
    };
    let (key, sequence) = (&*from.0, from.1);
    let place = (from.0.clone(), Reverse(sequence));
    prop_assert_eq!(all(packed.from(Bound::Unbounded)), expected(Bound::Unbounded));
    prop_assert_eq!(all(packed.from(Bound::Included((key, sequence)))), expected(Bound::Included(&place)));
    prop_assert_eq!(all(packed.from(Bound::Excluded((key, sequence)))), expected(Bound::Excluded(&place)));
    prop_assert_eq!(packed.get(key, sequence), model.get(&place).cloned());
    let newest = model.iter().find(|((other, _), _)| **other == *key).map(|(_, entry)| entry.clone());
    prop_assert_eq!(packed.newest(key), newest);
    let mut sought = packed.from(Bound::Unbounded);
    sought.seek(key);
    prop_assert_eq!(all(sought), expected(Bound::Included(&(from.0.clone(), Reverse(u64::MAX)))));
    for (fence, leaf) in &packed.leaves {
        let is_alone = !leaf.is_empty() && Raw::at(leaf, 0).end == leaf.len();
        prop_assert!(leaf.len() <= INDEX_LEAF_BYTES_MAX || is_alone);
        prop_assert!(!leaf.is_empty() || fence.place() == Fence::first().place());
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_packed_tree_is_an_ordered_map(
        steps in proptest::collection::vec((place(), entry(), prop_oneof![3 => Just(true), 2 => Just(false)]), 0..120),
        from in place(),
    ) {
        let (mut packed, mut model) = (Packed::default(), Model::new());
        for ((key, sequence), entry, is_put) in steps {
            let place = (key.clone(), Reverse(sequence));
            if is_put {
                let entry = Entry { sequence, ..entry };
                prop_assert_eq!(packed.insert(&key, &entry), model.insert(place, entry));
            } else {
                prop_assert_eq!(packed.remove(&key, sequence), model.remove(&place));
            }
            check(&packed, &model, &from)?;
        }
        for ((key, sequence), entry) in std::mem::take(&mut model) {
            prop_assert_eq!(packed.remove(&key, sequence.0), Some(entry));
        }
        check(&packed, &model, &from)?;
        prop_assert!(packed.leaves.is_empty() && packed.several.is_empty());
    }
}

/// Of an object as most are.
fn usual(number: u32, payload: EntryPayload) -> Entry {
    Entry {
        bytes: 4096,
        sequence: 1_790_000_000_000 << 16 | u64::from(number),
        etag: ETag::of_md5([7; 16]),
        checksum: ChecksumCode(1),
        flags: EntryFlags::new(true, false, false),
        location: Location { segment: 100, offset: 40 << 20, length: 4300 },
        payload,
    }
}

#[test]
fn an_entry_takes_forty_bytes_beyond_its_key_and_a_payload_of_its_own_fifteen_more() {
    let beyond = |entry: &Entry| {
        let mut out = Vec::new();
        encode(b"key", entry, None, &mut out);
        out.len() - b"key".len()
    };
    assert!(beyond(&usual(0, EntryPayload::Inline)) <= 40);
    let extent = ExtentId { segment: 101, block: 100_000 };
    let slice = Slice { extent, extent_bytes: 8 << 20, start: 0, length: 8 << 20 };
    assert!(beyond(&usual(0, EntryPayload::One(slice))) <= 55);
}

#[test]
fn leaves_are_full_after_keys_in_order_and_more_than_half_full_after_keys_in_no_order() {
    let count: u32 = 20_000;
    for (stride, fill_min) in [(1, 0.95), (7_919, 0.6)] {
        let mut packed = Packed::default();
        for number in 0..count {
            let number = number * stride % count;
            packed.insert(format!("prefix/{number:010}").as_bytes(), &usual(number, EntryPayload::Inline));
        }
        let bytes: usize = packed.leaves.values().map(Vec::len).sum();
        let capacity: usize = packed.leaves.values().map(Vec::capacity).sum();
        assert!(capacity <= bytes + bytes / 50, "{capacity} for {bytes}");
        let fill = bytes as f64 / (packed.leaves.len() * INDEX_LEAF_BYTES_MAX) as f64;
        assert!(fill > fill_min, "{fill}");
        for number in (0..count).filter(|number| number % 16 > 0) {
            packed.remove(
                format!("prefix/{number:010}").as_bytes(),
                usual(number, EntryPayload::Inline).sequence,
            );
        }
        let bytes: usize = packed.leaves.values().map(Vec::len).sum();
        let leaves = packed.leaves.len();
        assert!(leaves * INDEX_LEAF_BYTES_MAX / 5 < bytes + INDEX_LEAF_BYTES_MAX, "{leaves} for {bytes}");
    }
}
