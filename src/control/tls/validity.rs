//! For how long a certificate is valid: the few fields of X.509 that lead to it.
//!
//! A certificate's first fields are of fixed order (RFC 5280, section 4.1): version, serial number, algorithm,
//! issuer, validity. Each is DER: a tag, a length and so many bytes.

use time::{Date, Month, PrimitiveDateTime, Time};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, constructed: the version, if it is not 1.
const VERSION: u8 = 0xa0;

/// When a certificate is valid, in seconds since the epoch; both ends count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Validity {
    /// Reads a certificate's; `None` if it is not one.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = field(certificate, SEQUENCE)?;
        let (mut rest, _) = field(certificate, SEQUENCE)?;
        if let Some((_, after)) = field(rest, VERSION) {
            rest = after;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            (_, rest) = field(rest, tag)?;
        }
        let (validity, _) = field(rest, SEQUENCE)?;
        let (not_before, rest) = moment(validity)?;
        let (not_after, _) = moment(rest)?;
        Some(Self { not_before, not_after })
    }
}

/// The content of the field that `bytes` begin with, if it has that tag, and what follows.
fn field(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A time, and what follows it. Certificates end their times with seconds and `Z` (RFC 5280, section 4.1.2.5).
fn moment(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, year_digits) = match field(bytes, UTC_TIME) {
        Some((text, rest)) => (text, rest, 2),
        None => field(bytes, GENERALIZED_TIME).map(|(text, rest)| (text, rest, 4))?,
    };
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.len() == year_digits + 10)?;
    let number = |digits: &[u8]| {
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0')))
    };
    let (year, digits) = digits.split_at(year_digits);
    let year = match (number(year)?, year_digits) {
        (year @ 0..50, 2) => 2000 + year,
        (year, 2) => 1900 + year,
        (year, _) => year,
    };
    let mut parts = [0; 5];
    for (part, digits) in parts.iter_mut().zip(digits.chunks(2)) {
        *part = u8::try_from(number(digits)?).ok()?;
    }
    let [month, day, hour, minute, second] = parts;
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    Some((PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut parameters = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(1999, 12, 31);
        parameters.not_after = rcgen::date_time_ymd(year, 2, 3);
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_ways_to_write_years_are_read() {
        let validity = Validity::of(&certificate(2038)).unwrap();
        assert_eq!(validity, Validity { not_before: 946_598_400, not_after: 2_148_768_000 });
        assert_eq!(Validity::of(&certificate(2150)).unwrap().not_after, 5_683_132_800);
    }

    #[test]
    fn whatever_the_bytes_nothing_breaks() {
        let whole = certificate(2038);
        for end in 0..whole.len() {
            let _ = Validity::of(&whole[..end]);
            let mut changed = whole.clone();
            changed[end] ^= 0xff;
            let _ = Validity::of(&changed);
        }
        assert_eq!(Validity::of(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }
}
