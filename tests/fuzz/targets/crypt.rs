//! Encryption at rest: what was encrypted is decrypted, whole and in parts, and nothing that was changed is.

use ringcask::crypt::{Key, Layout, SEGMENT_BYTES, SEGMENT_PLAIN_BYTES, SegmentCipher, TAG_BYTES};

use super::Random;

/// The first byte says what is done with the others.
pub fn run(data: &[u8]) {
    let Some((what, data)) = data.split_first() else { return };
    match what % 3 {
        0 => segments(data),
        1 => sealed(data),
        _ => layout(data),
    }
}

fn key(random: &mut Random) -> Key {
    Key::random(|bytes| bytes.fill_with(|| random.next() as u8))
}

/// A run of payload in segments. Short inputs stand for long runs.
fn segments(data: &[u8]) {
    let mut random = Random::of(data);
    let plain: Vec<u8> = match random.below(8) {
        0 => data.iter().copied().cycle().take(if data.is_empty() { 0 } else { 70_000 }).collect(),
        1 => data
            .iter()
            .copied()
            .cycle()
            .take(if data.is_empty() { 0 } else { 2 * SEGMENT_PLAIN_BYTES })
            .collect(),
        _ => data.to_vec(),
    };
    let cipher = SegmentCipher::new(&key(&mut random));
    let layout = Layout::of_plain(plain.len() as u64);
    let mut stored = Vec::new();
    for (number, segment) in plain.chunks(SEGMENT_PLAIN_BYTES).enumerate() {
        let mut segment = [segment, &[0; TAG_BYTES]].concat();
        cipher.seal(number as u64, number as u64 + 1 == layout.segments(), &mut segment);
        stored.extend_from_slice(&segment);
    }
    assert_eq!(stored.len() as u64, layout.stored_bytes());
    assert_eq!(Layout::of_stored(layout.stored_bytes()), Some(layout));
    let start = random.below(plain.len() + 1);
    let end = start + random.below(plain.len() - start + 1);
    let range = layout.stored_range(start as u64..end as u64);
    let mut part = stored[range.stored.start as usize..range.stored.end as usize].to_vec();
    let length = cipher.open(layout, range.first, &mut part).expect("what was encrypted is decrypted");
    if start < end {
        assert_eq!(part[..length][range.skip..][..end - start], plain[start..end]);
    }
    if stored.is_empty() {
        return;
    }
    let mut changed = stored.clone();
    let at = random.below(changed.len());
    match random.below(3) {
        0 => changed[at] ^= 1 << random.below(8),
        // Ends early, at a segment's end too.
        1 => changed.truncate(if random.below(2) == 0 { at } else { at / SEGMENT_BYTES * SEGMENT_BYTES }),
        _ => changed.extend_from_slice(&stored[..stored.len().min(SEGMENT_BYTES)]),
    }
    let opened = Layout::of_stored(changed.len() as u64)
        .map(|layout| cipher.open(layout, 0, &mut changed).map(|length| changed[..length].to_vec()));
    assert!(!matches!(opened, Some(Ok(opened)) if !opened.is_empty()), "a changed run was decrypted");
    let mut any = data.to_vec();
    assert!(cipher.open(layout, random.next() >> 1, &mut any).is_err() || any.is_empty());
}

/// A secret that is sealed under a key, for a context.
fn sealed(data: &[u8]) {
    let mut random = Random::of(data);
    let key = key(&mut random);
    let (context, secret) = data.split_at(random.below(data.len() + 1));
    let sealed = key.seal(context, secret, |salt| salt.fill(7));
    assert_eq!(key.open(context, &sealed).expect("what was sealed is opened").as_slice(), secret);
    let mut changed = sealed.clone();
    let at = random.below(changed.len());
    changed[at] ^= 1 << random.below(8);
    assert!(key.open(context, &changed).is_err() && key.open(context, &sealed[..at]).is_err());
    assert!(key.open(&[context, b"x"].concat(), &sealed).is_err());
    assert!(key.open(context, data).is_err());
    if let Ok(inner) = key.unwrap(context, &sealed) {
        assert_eq!(inner.reveal().as_slice(), secret);
    }
}

/// Where the bytes of runs of any length are.
fn layout(data: &[u8]) {
    let mut words =
        data.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
    let (Some(bytes), start, end) = (words.next(), words.next().unwrap_or(3), words.next().unwrap_or(5))
    else {
        return;
    };
    if let Some(layout) = Layout::of_stored(bytes) {
        assert_eq!(layout.stored_bytes(), bytes);
        assert_eq!(Layout::of_plain(layout.plain_bytes()), layout);
        let plain = layout.plain_bytes();
        let (start, end) = (start % (plain + 1), end % (plain + 1));
        let range = layout.stored_range(start.min(end)..start.max(end));
        assert!(range.stored.start <= range.stored.end && range.stored.end <= bytes);
        assert!(range.skip < SEGMENT_PLAIN_BYTES);
    }
}
