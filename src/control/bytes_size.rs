//! Sizes as people write them: `64MiB`, `1.5 GiB`, `4096`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A number of bytes given by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytesSize(pub u64);

/// Units by name; lower case of what is accepted. IEC 80000-13 for the binary ones.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
];

impl FromStr for BytesSize {
    type Err = String;

    /// Reads digits, an optional decimal fraction and an optional unit. Without a unit bytes are meant; a
    /// single letter is the binary unit.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("'{text}' is not a size; write it like 64MiB or 1.5GiB");
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.len() > 9 || fraction.contains('.') {
            return Err(refuse());
        }
        let whole: u64 = whole.parse().map_err(|_| refuse())?;
        let fraction_scale = 10_u128.pow(fraction.len() as u32);
        let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| refuse())? };
        let bytes = u128::from(whole) * u128::from(*factor) + fraction * u128::from(*factor) / fraction_scale;
        u64::try_from(bytes).map(Self).map_err(|_| refuse())
    }
}

impl fmt::Display for BytesSize {
    /// The largest binary unit that divides the size.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 != 0 && self.0.is_multiple_of(factor) {
                return write!(out, "{}{name}", self.0 / factor);
            }
        }
        write!(out, "{}B", self.0)
    }
}

impl Serialize for BytesSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BytesSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = BytesSize;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a size like \"64MiB\", or a number of bytes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<BytesSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<BytesSize, E> {
                u64::try_from(bytes).map(BytesSize).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<BytesSize, E> {
                Ok(BytesSize(bytes))
            }
        }
        from.deserialize_any(Size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let cases = [
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("64M", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("4096", 4096),
            ("2GB", 2_000_000_000),
            ("0", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(BytesSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            ["", "MiB", "64 elephants", "-1", "1.2.3MiB", "99999999999TiB", "1.0000000001GiB", ".5GiB"]
        {
            assert!(text.parse::<BytesSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_shown_size_reads_back_as_itself() {
        for bytes in [0, 1, 1023, 1 << 10, 3 << 19, 64 << 20, 5 << 40, u64::MAX] {
            assert_eq!(BytesSize(bytes).to_string().parse(), Ok(BytesSize(bytes)));
        }
    }
}
