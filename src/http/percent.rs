//! Percent-encoding as S3 uses it.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// Everything but RFC 3986's unreserved characters: SigV4's `UriEncode` (AWS, "Create a canonical request").
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same without the slash: paths of canonical requests.
const RESERVED_BUT_SLASH: &AsciiSet = &RESERVED.remove(b'/');

/// A `%` without two hexadecimal digits behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentError;

/// Decodes a path. `+` is a plus, and neither `/` nor dots mean anything: they are characters of keys.
pub fn decode_path(text: &str) -> Result<Cow<'_, [u8]>, PercentError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    check_escapes(text)?;
    Ok(percent_encoding::percent_decode_str(text).into())
}

/// Decodes a name or value of a query, in which `+` stands for a space, as in HTML forms.
pub fn decode_query(text: &str) -> Result<Cow<'_, [u8]>, PercentError> {
    if !text.contains('+') {
        return decode_path(text);
    }
    check_escapes(text)?;
    let spaced = text.replace('+', " ");
    Ok(Cow::Owned(percent_encoding::percent_decode_str(&spaced).collect()))
}

/// Encodes everything but unreserved characters, with upper-case digits: query parts and values of canonical
/// requests.
pub fn encode(bytes: &[u8]) -> String {
    Cow::from(percent_encoding::percent_encode(bytes, RESERVED)).into_owned()
}

/// Appends what [`encode`] returns.
pub fn encode_to(out: &mut Vec<u8>, bytes: &[u8]) {
    percent_encoding::percent_encode(bytes, RESERVED).for_each(|run| out.extend_from_slice(run.as_bytes()));
}

/// Encodes as [`encode`] but keeps `/`: paths of canonical requests.
pub fn encode_path(bytes: &[u8]) -> String {
    Cow::from(percent_encoding::percent_encode(bytes, RESERVED_BUT_SLASH)).into_owned()
}

/// Encodes a key for a listing with `encoding-type=url`. AWS keeps `/` and answers a space as `+` (seen in
/// its responses; the API reference shows only that parentheses are encoded). Every client that decodes
/// `+` decodes `%20` as well, but not the other way round, so a space is `%20` here.
pub fn encode_listing(bytes: &[u8]) -> String {
    encode_path(bytes)
}

fn check_escapes(text: &str) -> Result<(), PercentError> {
    let bytes = text.as_bytes();
    let escape = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let mut percents = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    if percents.all(|(at, _)| escape(at)) { Ok(()) } else { Err(PercentError) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plus_is_a_space_in_queries_only() {
        assert_eq!(decode_path("/a+b%2Bc%20d").unwrap().as_ref(), b"/a+b+c d");
        assert_eq!(decode_query("a+b%2Bc%20d").unwrap().as_ref(), b"a b+c d");
    }

    #[test]
    fn keys_keep_slashes_dots_and_any_byte() {
        assert_eq!(decode_path("//a/../%2F/.%ff%00é").unwrap().as_ref(), b"//a/..///.\xff\x00\xc3\xa9");
    }

    #[test]
    fn escapes_must_have_two_digits() {
        for text in ["%", "%4", "%4g", "a%%41", "+%", "%é"] {
            assert_eq!(decode_path(text), Err(PercentError), "{text}");
            assert_eq!(decode_query(text), Err(PercentError), "{text}");
        }
    }

    #[test]
    fn canonical_requests_keep_unreserved_characters() {
        assert_eq!(encode(b"Az09-._~/ *+%\xff"), "Az09-._~%2F%20%2A%2B%25%FF");
        assert_eq!(encode_path(b"a/b c"), "a/b%20c");
        // AWS, ListObjectsV2, `encoding-type`.
        assert_eq!(encode_listing(b"d/test_file(3).png"), "d/test_file%283%29.png");
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for text in [encode(&bytes), encode_path(&bytes), encode_listing(&bytes)] {
                prop_assert_eq!(decode_path(&text), Ok(Cow::Borrowed(bytes.as_slice())));
                prop_assert_eq!(decode_query(&text), Ok(Cow::Borrowed(bytes.as_slice())));
            }
        }

        #[test]
        fn any_text_is_decoded_or_refused(text in "\\PC{0,40}") {
            prop_assert_eq!(decode_path(&text).is_ok(), decode_query(&text).is_ok());
        }
    }
}
