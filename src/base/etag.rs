//! Entity tags as AWS computes them.

use std::fmt;

/// ETag of an object: the MD5 of its bytes, or for a multipart object the MD5 of its parts' MD5s and the
/// number of parts. Displayed without quotes, as `9e107d9d372bb6826bd81d3542a419d6` or `…-12`.
///
/// Source: AWS, "Checking object integrity", section "ETags".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ETag {
    pub digest: [u8; 16],
    /// Parts of a multipart upload; 0 for an object that was put whole.
    pub parts: u16,
}

impl ETag {
    /// ETag of an object that was put whole.
    pub fn of_md5(digest: [u8; 16]) -> Self {
        Self { digest, parts: 0 }
    }

    /// Reads `hex`, `hex-N`, with or without quotes and a weak prefix; `None` if it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let (hex, parts) = match text.split_once('-') {
            Some((_, digits)) if digits.is_empty() || digits.starts_with(['+', '0']) => return None,
            Some((hex, digits)) => (hex, digits.parse().ok()?),
            None => (text, 0),
        };
        if hex.len() != 32 || !hex.is_ascii() {
            return None;
        }
        let mut digest = [0; 16];
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let high = (pair[0] as char).to_digit(16)?;
            let low = (pair[1] as char).to_digit(16)?;
            *byte = (high * 16 + low) as u8;
        }
        Some(Self { digest, parts })
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.digest) {
            pair[0] = digit(byte >> 4);
            pair[1] = digit(byte & 15);
        }
        out.write_str(str::from_utf8(&hex).map_err(|_| fmt::Error)?)?;
        if self.parts > 0 {
            write!(out, "-{}", self.parts)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_reads_what_it_writes() {
        for parts in [0, 1, 10_000] {
            let tag = ETag { digest: *b"0123456789abcdef", parts };
            assert_eq!(ETag::parse(&tag.to_string()), Some(tag));
            assert_eq!(ETag::parse(&format!("\"{tag}\"")), Some(tag));
            assert_eq!(ETag::parse(&format!("W/\"{tag}\"")), Some(tag));
        }
    }

    #[test]
    fn what_is_no_etag_is_refused() {
        for text in ["", "*", "abc", "30313233343536373839616263646566-", "zz313233343536373839616263646566"]
        {
            assert_eq!(ETag::parse(text), None, "{text}");
        }
    }
}
