//! The ways S3 writes a moment: HTTP's dates, ISO 8601 in XML, SigV4's basic form. Moments are milliseconds
//! since the Unix epoch.

use time::format_description::well_known::{Iso8601, Rfc2822};
use time::format_description::{BorrowedFormatItem, FormatItem};
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use crate::io::TimestampMs;

/// The last millisecond of the year 9999: later moments can't be written with four digits.
const LATEST_MS: TimestampMs = 253_402_300_799_999;

/// Length of an IMF-fixdate.
pub const IMF_FIXDATE_BYTES: usize = 29;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

const ASCTIME: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
);
const BASIC: &[FormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// Writes the form of `Date` and `Last-Modified`: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
pub fn imf_fixdate(moment: TimestampMs) -> [u8; IMF_FIXDATE_BYTES] {
    let moment = calendar(moment);
    let mut text = *b"Mon, 00 Jan 0000 00:00:00 GMT";
    text[..3].copy_from_slice(WEEKDAYS[usize::from(moment.weekday().number_days_from_monday())]);
    put(&mut text[5..7], moment.day().into());
    text[8..11].copy_from_slice(MONTHS[usize::from(u8::from(moment.month())) - 1]);
    put(&mut text[12..16], moment.year().unsigned_abs());
    put(&mut text[17..19], moment.hour().into());
    put(&mut text[20..22], moment.minute().into());
    put(&mut text[23..25], moment.second().into());
    text
}

/// Reads a `Date`, `If-Modified-Since`, …: the three forms of RFC 9110, section 5.6.7, and RFC 2822's numeric
/// zones, which SigV2 clients send (AWS's own examples write `+0000`).
pub fn parse_http_date(text: &str) -> Option<TimestampMs> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc2822) {
        return milliseconds(moment);
    }
    if let Ok(moment) = PrimitiveDateTime::parse(text, ASCTIME) {
        return milliseconds(moment.assume_utc());
    }
    parse_rfc850(text)
}

/// Writes the form of S3's XML: `2009-10-12T17:50:30.000Z`.
pub fn iso8601(moment: TimestampMs) -> String {
    let milliseconds = moment.min(LATEST_MS) % 1000;
    let moment = calendar(moment);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[..4], moment.year().unsigned_abs());
    put(&mut text[5..7], u8::from(moment.month()).into());
    put(&mut text[8..10], moment.day().into());
    put(&mut text[11..13], moment.hour().into());
    put(&mut text[14..16], moment.minute().into());
    put(&mut text[17..19], moment.second().into());
    put(&mut text[20..23], milliseconds as u32);
    ascii(&text)
}

/// Reads ISO 8601 as S3's XML and headers carry it: with a zone, with or without a fraction, or a date alone.
pub fn parse_iso8601(text: &str) -> Option<TimestampMs> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Iso8601::PARSING) {
        return milliseconds(moment);
    }
    let date = Date::parse(text, &Iso8601::PARSING).ok()?;
    milliseconds(date.midnight().assume_utc())
}

/// Writes SigV4's form: `20130524T000000Z` (AWS, "Create a canonical request").
pub fn basic(moment: TimestampMs) -> String {
    let moment = calendar(moment);
    let mut text = *b"00000000T000000Z";
    put(&mut text[..4], moment.year().unsigned_abs());
    put(&mut text[4..6], u8::from(moment.month()).into());
    put(&mut text[6..8], moment.day().into());
    put(&mut text[9..11], moment.hour().into());
    put(&mut text[11..13], moment.minute().into());
    put(&mut text[13..15], moment.second().into());
    ascii(&text)
}

/// Reads SigV4's form.
pub fn parse_basic(text: &str) -> Option<TimestampMs> {
    let moment = PrimitiveDateTime::parse(text, BASIC).ok()?;
    milliseconds(moment.assume_utc())
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`. Years are of the century 1969 to 2068, as in POSIX: without a clock,
/// "not far in the future" can't be asked.
fn parse_rfc850(text: &str) -> Option<TimestampMs> {
    let (_, rest) = text.split_once(", ")?;
    let rest = rest.strip_suffix(" GMT")?;
    let (day, rest) = rest.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let (year, time) = rest.split_once(' ')?;
    let short: u16 = year.parse().ok().filter(|_| year.len() == 2)?;
    let year = if short < 69 { 2000 + short } else { 1900 + short };
    let text = format!("Thu, {day} {month} {year} {time} GMT");
    // The weekday is not compared with the date: `parse` only wants a name.
    let moment = PrimitiveDateTime::parse(
        &text,
        format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        ),
    );
    milliseconds(moment.ok()?.assume_utc())
}

fn calendar(moment: TimestampMs) -> OffsetDateTime {
    let seconds = (moment.min(LATEST_MS) / 1000) as i64;
    OffsetDateTime::from_unix_timestamp(seconds).expect("clamped to the year 9999")
}

/// `None` before 1970.
fn milliseconds(moment: OffsetDateTime) -> Option<TimestampMs> {
    TimestampMs::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Writes a number over all of `digits`, with zeros before it.
fn put(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn ascii(text: &[u8]) -> String {
    str::from_utf8(text).expect("digits and separators are ASCII").to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 1994-11-06T08:49:37Z, the example of RFC 9110.
    const EXAMPLE: TimestampMs = 784_111_777_000;

    #[test]
    fn the_three_forms_of_http_are_read() {
        assert_eq!(&imf_fixdate(EXAMPLE), b"Sun, 06 Nov 1994 08:49:37 GMT");
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 6 Nov 1994 10:49:37 +0200",
        ] {
            assert_eq!(parse_http_date(text), Some(EXAMPLE), "{text}");
        }
        for text in [
            "",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994",
            "1994-11-06T08:49:37Z",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Thu, 01 Jan 1960 00:00:00 GMT",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn xml_and_signatures_have_their_own_forms() {
        assert_eq!(iso8601(1_255_369_830_000), "2009-10-12T17:50:30.000Z");
        assert_eq!(basic(1_369_353_600_000), "20130524T000000Z");
        assert_eq!(parse_basic("20130524T000000Z"), Some(1_369_353_600_000));
        assert_eq!(parse_iso8601("2009-10-12T17:50:30Z"), Some(1_255_369_830_000));
        assert_eq!(parse_iso8601("2009-10-12T19:50:30.25+02:00"), Some(1_255_369_830_250));
        assert_eq!(parse_iso8601("2009-10-12"), Some(1_255_305_600_000));
        for text in ["", "20130524", "20130524T000000", "20130532T000000Z", "20130524T000000Zx"] {
            assert_eq!(parse_basic(text), None, "{text}");
        }
        assert_eq!(parse_iso8601("yesterday"), None);
    }

    #[test]
    fn moments_beyond_the_calendar_are_its_last() {
        assert_eq!(iso8601(u64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(&imf_fixdate(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(moment in 0..=LATEST_MS) {
            let seconds = moment / 1000 * 1000;
            prop_assert_eq!(parse_iso8601(&iso8601(moment)), Some(moment));
            prop_assert_eq!(parse_basic(&basic(moment)), Some(seconds));
            let fixdate = imf_fixdate(moment);
            prop_assert_eq!(parse_http_date(std::str::from_utf8(&fixdate).unwrap()), Some(seconds));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = (parse_http_date(&text), parse_iso8601(&text), parse_basic(&text));
        }
    }
}
