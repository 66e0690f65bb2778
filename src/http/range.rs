//! The `Range` header (RFC 9110, section 14.2).

use std::ops::Range;

use crate::base::limits::RANGES_MAX;

/// What a `Range` header asks of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// Not a byte range that can be understood, or too many: answered as if it were not there.
    Ignored,
    /// Understood, but nothing of it lies within the representation: 416.
    Unsatisfiable,
    /// At least one range, in the order asked, cut to the representation; none is empty. They may overlap.
    Satisfiable(Vec<Range<u64>>),
}

/// Reads a `Range` header against a representation of `length` bytes.
pub fn parse(value: &[u8], length: u64) -> RangeRequest {
    let Some(specs) = std::str::from_utf8(value).ok().and_then(byte_specs) else {
        return RangeRequest::Ignored;
    };
    let mut count = 0;
    let mut satisfiable = Vec::new();
    for spec in specs.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        count += 1;
        match Spec::parse(spec) {
            Some(spec) if count <= RANGES_MAX => satisfiable.extend(spec.within(length)),
            _ => return RangeRequest::Ignored,
        }
    }
    match (count, satisfiable.is_empty()) {
        (0, _) => RangeRequest::Ignored,
        (_, true) => RangeRequest::Unsatisfiable,
        (_, false) => RangeRequest::Satisfiable(satisfiable),
    }
}

/// What follows `bytes=`.
fn byte_specs(value: &str) -> Option<&str> {
    let (unit, specs) = value.split_once('=')?;
    unit.eq_ignore_ascii_case("bytes").then_some(specs)
}

/// One range as it was sent.
enum Spec {
    /// From a first byte to a last one, which may be left out.
    From { first: u64, last: Option<u64> },
    /// So many bytes at the end.
    Suffix { bytes: u64 },
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        if first.is_empty() {
            return Some(Self::Suffix { bytes: number(last)? });
        }
        let first = number(first)?;
        let last = if last.is_empty() { None } else { Some(number(last)?) };
        last.is_none_or(|last| first <= last).then_some(Self::From { first, last })
    }

    fn within(&self, length: u64) -> Option<Range<u64>> {
        let range = match *self {
            Self::From { first, last } => {
                first..last.map_or(length, |last| last.saturating_add(1).min(length))
            }
            Self::Suffix { bytes } => length.saturating_sub(bytes)..length,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// A number of any length; one beyond 64 bits lies beyond every representation.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(value: &str, length: u64) -> RangeRequest {
        parse(value.as_bytes(), length)
    }

    #[test]
    fn ranges_are_cut_to_the_representation() {
        // Start and end of each range.
        let satisfiable = |value, length| match ranges(value, length) {
            RangeRequest::Satisfiable(ranges) => {
                ranges.into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
            }
            other => panic!("{value}: {other:?}"),
        };
        assert_eq!(satisfiable("bytes=0-0", 10), [(0, 1)]);
        assert_eq!(satisfiable("bytes=5-", 10), [(5, 10)]);
        assert_eq!(satisfiable("bytes=5-99999999999999999999999", 10), [(5, 10)]);
        assert_eq!(satisfiable("bytes=-3", 10), [(7, 10)]);
        assert_eq!(satisfiable("bytes=-30", 10), [(0, 10)]);
        assert_eq!(satisfiable("Bytes=0-1, ,\t8-20 ,-1,40-50", 10), [(0, 2), (8, 10), (9, 10)]);
    }

    #[test]
    fn ranges_beyond_the_representation_are_unsatisfiable() {
        for (value, length) in [
            ("bytes=10-", 10),
            ("bytes=10-20", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
            ("bytes=-5", 0),
            ("bytes=99999999999999999999999-", 10),
        ] {
            assert_eq!(ranges(value, length), RangeRequest::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn what_is_not_a_byte_range_is_ignored() {
        let many = format!("bytes={}", "0-0,".repeat(RANGES_MAX + 1));
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=5",
            "bytes=-",
            "bytes=5-3",
            "bytes=a-b",
            "items=0-1",
            "bytes=0-1,x",
            "bytes=+1-2",
            "bytes=0-1-2",
            "bytes= 0 - 1",
            "bytes =0-1",
            &many,
        ] {
            assert_eq!(ranges(value, 10), RangeRequest::Ignored, "{value}");
        }
        assert_eq!(parse(b"bytes=0-\xff", 10), RangeRequest::Ignored);
    }

    proptest! {
        #[test]
        fn every_range_lies_within(value in "bytes=[0-9,-]{0,12}", length in 0u64..1000) {
            if let RangeRequest::Satisfiable(ranges) = ranges(&value, length) {
                prop_assert!(!ranges.is_empty());
                prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= length));
            }
        }
    }
}
