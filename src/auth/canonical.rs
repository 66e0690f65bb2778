//! The canonical request of Signature Version 4: one spelling for all equivalent spellings of a request.
//!
//! Source: AWS, "Signature calculations for the Authorization header", task 1. S3 differs from AWS's other
//! services: the path is encoded once, and `//`, `.` and `..` in it stay as they are.

use std::ops::Range;

use crate::base::limits::HEADERS_MAX;
use crate::http::percent::{decode_path, encode_path, encode_to};
use crate::http::{Head, Query};

/// What a canonical request is made of, beside the head itself.
pub(super) struct Parts<'a> {
    pub(super) query: &'a Query,
    /// `SignedHeaders`, in the order in which they were signed.
    pub(super) signed_headers: &'a str,
    /// The last line: `x-amz-content-sha256` or what stands for it.
    pub(super) payload: &'a [u8],
}

/// The canonical request. It is at most about three times as long as the head (encoding), because no header
/// is named twice in [`signed_names`].
pub(super) fn request(head: &Head, parts: &Parts<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(head.method.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(path(&head.path).as_bytes());
    out.push(b'\n');
    query(parts.query, &mut out);
    out.push(b'\n');
    for name in parts.signed_headers.split(';') {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        let lower = name.to_ascii_lowercase();
        for (at, value) in head.headers_named(&lower).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            trimmed(value, &mut out);
        }
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(parts.signed_headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(parts.payload);
    out
}

/// The path decoded once and encoded again. One that cannot be decoded stands as it is: no client signs it,
/// and no operation takes it.
fn path(raw: &str) -> String {
    decode_path(raw).map_or_else(|_| raw.to_owned(), |path| encode_path(&path))
}

/// Appends the canonical query: encoded pairs in the order of their encoded names, then values. The
/// signature itself is not part of it.
fn query(query: &Query, out: &mut Vec<u8>) {
    let mut encoded = Vec::with_capacity(512);
    let mut append = |text: &[u8]| {
        let start = encoded.len();
        encode_to(&mut encoded, text);
        start..encoded.len()
    };
    let mut pairs: Vec<(Range<usize>, Range<usize>)> = query
        .parameters()
        .filter(|(name, _)| *name != b"X-Amz-Signature")
        .map(|(name, value)| (append(name), append(value.unwrap_or_default())))
        .collect();
    let text = |range: &Range<usize>| &encoded[range.clone()];
    pairs.sort_unstable_by_key(|(name, value)| (text(name), text(value)));
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(text(name));
        out.push(b'=');
        out.extend_from_slice(text(value));
    }
}

/// Appends a header value without white space around it and with single spaces inside.
fn trimmed(value: &[u8], out: &mut Vec<u8>) {
    let mut first = true;
    for word in value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        if !first {
            out.push(b' ');
        }
        out.extend_from_slice(word);
        first = false;
    }
}

/// The names of a `SignedHeaders` list, or what is wrong with it. A name given twice would make the canonical
/// request grow beyond any bound.
pub(super) fn signed_names(list: &str) -> Result<Vec<&str>, String> {
    let names: Vec<&str> = list.split(';').take(HEADERS_MAX + 1).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if names.len() > HEADERS_MAX || sorted.len() != names.len() {
        return Err("SignedHeaders names a header twice or too many headers".to_owned());
    }
    let valid = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if !names.iter().all(valid) {
        return Err("SignedHeaders must be header names in lower case, separated by semicolons".to_owned());
    }
    Ok(names)
}

/// The headers that must be signed and are not: `host`, and every `x-amz-*` that was sent.
/// `x-amz-content-sha256` is covered by the canonical request's last line in any case.
pub(super) fn unsigned_names(head: &Head, signed: &[&str]) -> Vec<String> {
    let is_signed = |name: &str| signed.iter().any(|have| have.eq_ignore_ascii_case(name));
    let mut missing: Vec<String> = head
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.starts_with("x-amz-") && *name != "x-amz-content-sha256" && !is_signed(name))
        .map(str::to_owned)
        .collect();
    if !is_signed("host") {
        missing.push("host".to_owned());
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical_query(text: &str) -> String {
        let mut out = Vec::new();
        query(&Query::parse(Some(text)).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paths_are_encoded_once_and_never_normalised() {
        for (raw, canonical) in [
            ("/", "/"),
            ("/b/a//./../x/", "/b/a//./../x/"),
            ("/b/a+b", "/b/a%2Bb"),
            ("/b/a%20b%2fc%2Fd", "/b/a%20b/c/d"),
            ("/b/%7e~%41", "/b/~~A"),
            ("/b/(x)*!'", "/b/%28x%29%2A%21%27"),
            ("/b/%zz", "/b/%zz"),
            ("/b/%2520", "/b/%2520"),
            ("/b/é", "/b/%C3%A9"),
        ] {
            assert_eq!(path(raw), canonical, "{raw}");
        }
    }

    #[test]
    fn queries_are_sorted_and_every_name_has_an_equals_sign() {
        for (text, canonical) in [
            ("", ""),
            ("acl", "acl="),
            ("&acl&", "acl="),
            ("prefix=J&max-keys=2", "max-keys=2&prefix=J"),
            ("b=2&a=1&b=1", "a=1&b=1&b=2"),
            ("a=b=c", "a=b%3Dc"),
            ("a=x+y&a=x%20y&a=x%2By", "a=x%20y&a=x%20y&a=x%2By"),
            ("prefix=a%2Fb/c", "prefix=a%2Fb%2Fc"),
            ("=x&X-Amz-Signature=dropped", "=x"),
            // By encoded name: '%' sorts before letters and digits.
            ("a=1&%C3%A9=2", "%C3%A9=2&a=1"),
        ] {
            assert_eq!(canonical_query(text), canonical, "{text}");
        }
    }

    #[test]
    fn header_values_lose_white_space_around_and_runs_inside() {
        let mut out = Vec::new();
        trimmed(b"  a   b\t c ", &mut out);
        assert_eq!(out, b"a b c");
    }

    #[test]
    fn a_list_of_signed_headers_that_could_grow_the_request_is_refused() {
        assert_eq!(signed_names("host;x-amz-date").unwrap(), ["host", "x-amz-date"]);
        assert!(signed_names("host;host").is_err());
        assert!(signed_names("").is_err());
        assert!(signed_names("host;;date").is_err());
        assert!(signed_names("host; date").is_err());
        let many: Vec<String> = (0..=HEADERS_MAX).map(|at| at.to_string()).collect();
        assert!(signed_names(&many.join(";")).is_err());
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_its_own(
            raw in "/([ -$&-~]|%[0-9a-fA-F]{2}){0,40}",
            text in "([ -$&-~]|%[0-9a-fA-F]{2}){0,40}",
        ) {
            let canonical = path(&raw);
            prop_assert_eq!(path(&canonical), canonical);
            let canonical = canonical_query(&text);
            prop_assert_eq!(canonical_query(&canonical), canonical);
        }
    }
}
