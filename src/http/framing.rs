//! How a request's body is framed, and what becomes of the connection after it.

use super::head::{Head, HeadError};

/// Where a request's body ends (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is no body.
    None,
    /// `Content-Length`, above 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What a head says about the message and the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    pub body: BodyFraming,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The client is ready to send another request on the connection.
    pub keep_alive: bool,
}

impl Framing {
    /// Reads the framing of a head; refuses what two readers could understand differently: both lengths, a
    /// repeated length, a length that is not plain digits, chunked in HTTP/1.0.
    pub fn of(head: &Head) -> Result<Self, HeadError> {
        let mut length = None;
        let mut chunked = false;
        let mut expects_continue = false;
        let mut connection = Connection::default();
        for (name, value) in &head.headers {
            match name.as_str() {
                "content-length" if length.is_some() => {
                    return Err(HeadError::Malformed("Content-Length is repeated"));
                }
                "content-length" => length = Some(content_length(value)?),
                "transfer-encoding" if chunked => {
                    return Err(HeadError::Malformed("Transfer-Encoding is repeated"));
                }
                "transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => chunked = true,
                "transfer-encoding" => return Err(HeadError::TransferCodingUnsupported),
                "expect" => expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
                "connection" => connection.add(value),
                _ => {}
            }
        }
        let body = match (length, chunked) {
            (Some(_), true) => {
                return Err(HeadError::Malformed("Content-Length and Transfer-Encoding exclude each other"));
            }
            (None, true) if head.version_minor == 0 => {
                return Err(HeadError::Malformed("HTTP/1.0 has no Transfer-Encoding"));
            }
            (None, true) => BodyFraming::Chunked,
            (Some(length), false) if length > 0 => BodyFraming::Length(length),
            _ => BodyFraming::None,
        };
        let modern = head.version_minor >= 1;
        Ok(Self {
            body,
            expects_continue: expects_continue && modern && body != BodyFraming::None,
            keep_alive: !connection.close && (modern || connection.keep_alive),
        })
    }
}

/// Options of `Connection` headers that matter to a server.
#[derive(Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
}

impl Connection {
    fn add(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

fn content_length(value: &[u8]) -> Result<u64, HeadError> {
    let malformed = HeadError::Malformed("Content-Length is not a number");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(malformed);
    }
    value
        .iter()
        .try_fold(0u64, |length, digit| length.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(malformed)
}

#[cfg(test)]
mod tests {
    use super::super::head::HeadParser;
    use super::*;

    fn framing(version: &str, lines: &str) -> Result<Framing, HeadError> {
        let text = format!("PUT /b/k HTTP/{version}\r\nHost: h\r\n{lines}\r\n");
        Framing::of(&HeadParser::default().parse(text.as_bytes()).unwrap().unwrap().0)
    }

    #[test]
    fn one_length_or_chunked_frames_a_body() {
        let body = |lines| framing("1.1", lines).unwrap().body;
        assert_eq!(body(""), BodyFraming::None);
        assert_eq!(body("Content-Length: 0\r\n"), BodyFraming::None);
        assert_eq!(body("Content-Length: 00042\r\n"), BodyFraming::Length(42));
        assert_eq!(body("Content-Length: 18446744073709551615\r\n"), BodyFraming::Length(u64::MAX));
        assert_eq!(body("Transfer-Encoding: Chunked\r\n"), BodyFraming::Chunked);
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        for lines in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: -3\r\n",
            "Content-Length: 3 4\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert!(matches!(framing("1.1", lines), Err(HeadError::Malformed(_))), "{lines:?}");
        }
        for coding in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;a=b", ""] {
            let lines = format!("Transfer-Encoding: {coding}\r\n");
            assert_eq!(framing("1.1", &lines), Err(HeadError::TransferCodingUnsupported), "{coding:?}");
        }
        assert!(framing("1.0", "Transfer-Encoding: chunked\r\n").is_err());
    }

    #[test]
    fn continue_is_expected_only_before_a_body() {
        let expects = |version, lines| framing(version, lines).unwrap().expects_continue;
        assert!(expects("1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n"));
        assert!(expects("1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"));
        assert!(!expects("1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n"));
        assert!(!expects("1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n"));
    }

    #[test]
    fn connections_live_on_by_version_and_option() {
        let keeps = |version, lines| framing(version, lines).unwrap().keep_alive;
        assert!(keeps("1.1", ""));
        assert!(!keeps("1.1", "Connection: TE, Close\r\n"));
        assert!(!keeps("1.0", ""));
        assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
        assert!(!keeps("1.0", "Connection: keep-alive\r\nConnection: close\r\n"));
    }
}
