//! Object lock as requests and answers carry it: headers of those that write and read objects, and the
//! documents `Retention` and `LegalHold`.
//!
//! Source: AWS, "Locking objects with Object Lock", PutObject, PutObjectRetention, PutObjectLegalHold.

use crate::engine::{Headers, Lock, Retention, RetentionMode};
use crate::http::{Response, date};
use crate::io::TimestampMs;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;
use crate::s3::settings::object_lock::ObjectLock;
use crate::s3::xml::{self, XmlWriter};

const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const LEGAL_HOLD: &str = "x-amz-object-lock-legal-hold";
const BYPASS: &str = "x-amz-bypass-governance-retention";

/// Where an upload keeps the lock that its object shall get.
const STORED: &str = ":lock";

const IN_THE_PAST: &str = "The retain until date must be in the future!";

/// The lock that a request wants for the object it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockWish {
    retention: Option<Retention>,
    legal_hold: Option<bool>,
}

impl LockWish {
    /// Reads the headers. They are judged before anybody looks whether the bucket allows locks, as at AWS.
    pub fn read(request: &Request, now: TimestampMs) -> Result<Self, S3Error> {
        let legal_hold = match request.header(LEGAL_HOLD)? {
            None => None,
            Some("ON") => Some(true),
            Some("OFF") => Some(false),
            Some(other) => {
                let message = "Legal Hold must be either of 'ON' or 'OFF'";
                return Err(S3Error::invalid_argument(message, LEGAL_HOLD, other));
            }
        };
        let unpaired = |missing| {
            let message =
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
            Err(S3Error::invalid_argument(message, missing, ""))
        };
        let (mode, until) = match (request.header(MODE)?, request.header(UNTIL)?) {
            (None, None) => return Ok(Self { retention: None, legal_hold }),
            (Some(_), None) => return unpaired(UNTIL),
            (None, Some(_)) => return unpaired(MODE),
            (Some(mode), Some(until)) => (mode, until),
        };
        let retention = Retention {
            mode: mode_parse(mode)
                .ok_or_else(|| S3Error::invalid_argument("Unknown wormMode directive.", MODE, mode))?,
            until: date::parse_iso8601(until).ok_or_else(|| {
                let message = "The retain until date must be provided in ISO 8601 format";
                S3Error::invalid_argument(message, UNTIL, until)
            })?,
        };
        if retention.until <= now {
            return Err(S3Error::invalid_argument(IN_THE_PAST, UNTIL, until));
        }
        Ok(Self { retention: Some(retention), legal_hold })
    }

    /// The lock of an object that is made at `now` in a bucket with that configuration. Only objects of
    /// buckets that have one can be locked; who wishes nothing gets the bucket's default.
    pub fn grant(self, bucket: Option<ObjectLock>, now: TimestampMs) -> Result<Lock, S3Error> {
        let Some(bucket) = bucket else {
            return match self {
                Self { retention: None, legal_hold: None } => Ok(Lock::default()),
                _ => Err(S3Error::invalid_request("Bucket is missing ObjectLockConfiguration")),
            };
        };
        let default = bucket.default_retention.map(|default| default.from(now));
        Ok(Lock { retention: self.retention.or(default), legal_hold: self.legal_hold.unwrap_or(false) })
    }

    /// Remembers the wish among an upload's headers.
    pub fn store(self, headers: &mut Headers) {
        if self == Self::default() {
            return;
        }
        let legal_hold = self.legal_hold.map_or("", legal_hold_name);
        let text = match self.retention {
            Some(Retention { mode, until }) => format!("{legal_hold};{};{until}", mode_name(mode)),
            None => legal_hold.to_owned(),
        };
        headers.push((STORED.to_owned(), text.into_bytes()));
    }

    /// Takes what [`LockWish::store`] remembered out of an upload's headers.
    pub fn take(headers: &mut Headers) -> Self {
        let Some(index) = headers.iter().position(|(name, _)| name == STORED) else { return Self::default() };
        let (_, text) = headers.remove(index);
        let text = String::from_utf8_lossy(&text);
        let mut fields = text.split(';');
        let legal_hold = match fields.next() {
            Some("ON") => Some(true),
            Some("OFF") => Some(false),
            _ => None,
        };
        let retention = match (fields.next().and_then(mode_parse), fields.next().map(str::parse)) {
            (Some(mode), Some(Ok(until))) => Some(Retention { mode, until }),
            _ => None,
        };
        Self { retention, legal_hold }
    }
}

/// Refuses to write a locked object whose payload comes without a digest: what cannot be removed should be
/// what was meant.
pub fn check_digest(request: &Request, lock: &Lock) -> Result<(), S3Error> {
    let is_digest = |name: &str| {
        name == "content-md5" || (name.starts_with("x-amz-checksum-") && name != "x-amz-checksum-type")
    };
    let trailer = request.head.text("x-amz-trailer").unwrap_or_default();
    let has_digest = request.head.headers.iter().any(|(name, _)| is_digest(name))
        || trailer.split(',').any(|name| is_digest(name.trim()));
    if lock.is_none() || has_digest {
        return Ok(());
    }
    Err(S3Error::invalid_request(
        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock \
         parameters",
    ))
}

/// Whether a request asks to do what a governance retention forbids.
pub fn wants_bypass(request: &Request) -> bool {
    request.head.header(BYPASS).is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
}

/// Writes an object's lock into the headers of GET and HEAD.
pub fn describe(response: &mut Response, lock: &Lock) {
    if let Some(retention) = &lock.retention {
        response.header(MODE, mode_name(retention.mode));
        response.header(UNTIL, date::iso8601(retention.until));
    }
    if lock.legal_hold {
        response.header(LEGAL_HOLD, legal_hold_name(true));
    }
}

/// Reads the document `Retention`; an empty one ends the retention.
pub fn retention_parse(document: &[u8], now: TimestampMs) -> Result<Option<Retention>, S3Error> {
    let root = xml::parse(document, "Retention")?;
    let is_known = |name: &str| matches!(name, "Mode" | "RetainUntilDate");
    if root.children.len() > 2 || !root.children.iter().all(|child| is_known(&child.name)) {
        return Err(Code::MalformedXML.into());
    }
    match (root.child_text("Mode"), root.child_text("RetainUntilDate")) {
        (None, None) => Ok(None),
        (Some(mode), Some(text)) => {
            let mode = mode_parse(mode.trim()).ok_or(Code::MalformedXML)?;
            let until = date::parse_iso8601(text.trim()).ok_or(Code::MalformedXML)?;
            if until <= now {
                return Err(S3Error::invalid_argument(IN_THE_PAST, "RetainUntilDate", text));
            }
            Ok(Some(Retention { mode, until }))
        }
        _ => Err(Code::MalformedXML.into()),
    }
}

/// Writes the document `Retention`.
pub fn retention_document(retention: &Retention) -> XmlWriter {
    let mut xml = XmlWriter::document("Retention");
    xml.text("Mode", mode_name(retention.mode));
    xml.text("RetainUntilDate", &date::iso8601(retention.until));
    xml
}

/// Reads the document `LegalHold`.
pub fn legal_hold_parse(document: &[u8]) -> Result<bool, S3Error> {
    match xml::parse(document, "LegalHold")?.child_text("Status").map(str::trim) {
        Some("ON") => Ok(true),
        Some("OFF") => Ok(false),
        _ => Err(Code::MalformedXML.into()),
    }
}

/// Writes the document `LegalHold`.
pub fn legal_hold_document(legal_hold: bool) -> XmlWriter {
    let mut xml = XmlWriter::document("LegalHold");
    xml.text("Status", legal_hold_name(legal_hold));
    xml
}

const MODES: [(&str, RetentionMode); 2] =
    [("GOVERNANCE", RetentionMode::Governance), ("COMPLIANCE", RetentionMode::Compliance)];

fn mode_parse(name: &str) -> Option<RetentionMode> {
    MODES.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
}

fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => MODES[0].0,
        RetentionMode::Compliance => MODES[1].0,
    }
}

fn legal_hold_name(legal_hold: bool) -> &'static str {
    if legal_hold { "ON" } else { "OFF" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::settings::object_lock::{DefaultRetention, RetentionPeriod};

    /// 2009-10-12T17:50:30Z.
    const NOW: TimestampMs = 1_255_369_830_000;
    const LATER: &str = "2010-01-01T00:00:00Z";
    const LATER_MS: TimestampMs = 1_262_304_000_000;

    fn read(headers: &[(&str, &str)]) -> Result<LockWish, S3Error> {
        LockWish::read(&Request::for_test("PUT", "/b/k", headers), NOW)
    }

    #[test]
    fn a_wish_names_mode_and_date_together() {
        assert_eq!(read(&[]).unwrap(), LockWish::default());
        let wish = read(&[(MODE, "COMPLIANCE"), (UNTIL, LATER), (LEGAL_HOLD, "ON")]).unwrap();
        let retention = Retention { mode: RetentionMode::Compliance, until: LATER_MS };
        assert_eq!(wish, LockWish { retention: Some(retention), legal_hold: Some(true) });
        for (headers, message, name) in [
            (&[(MODE, "GOVERNANCE")][..], "must both be supplied", UNTIL),
            (&[(UNTIL, LATER)], "must both be supplied", MODE),
            (&[(MODE, "governance"), (UNTIL, LATER)], "Unknown wormMode directive.", MODE),
            (&[(MODE, "GOVERNANCE"), (UNTIL, "abc")], "in ISO 8601 format", UNTIL),
            (&[(MODE, "GOVERNANCE"), (UNTIL, "2009-10-12T17:50:30Z")], IN_THE_PAST, UNTIL),
            (&[(LEGAL_HOLD, "on")], "Legal Hold must be either of 'ON' or 'OFF'", LEGAL_HOLD),
        ] {
            let error = read(headers).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument, "{headers:?}");
            assert!(error.message.ends_with(message), "{}", error.message);
            assert_eq!(error.fields[0], ("ArgumentName", name.to_owned()));
        }
    }

    #[test]
    fn only_buckets_with_a_lock_configuration_lock() {
        let wish = read(&[(LEGAL_HOLD, "OFF")]).unwrap();
        assert_eq!(wish.grant(None, NOW).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(LockWish::default().grant(None, NOW), Ok(Lock::default()));

        let period = RetentionPeriod::Days(1);
        let default = DefaultRetention { mode: RetentionMode::Governance, period };
        let bucket = Some(ObjectLock { default_retention: Some(default) });
        let by_default = wish.grant(bucket, NOW).unwrap().retention.unwrap();
        assert_eq!((by_default.mode, by_default.until), (RetentionMode::Governance, NOW + 86_400_000));
        let own = read(&[(MODE, "COMPLIANCE"), (UNTIL, LATER)]).unwrap().grant(bucket, NOW).unwrap();
        assert_eq!(own.retention, Some(Retention { mode: RetentionMode::Compliance, until: LATER_MS }));
    }

    #[test]
    fn an_upload_remembers_its_wish() {
        let retention = [(MODE, "COMPLIANCE"), (UNTIL, LATER)];
        for headers in [
            &[][..],
            &retention,
            &[(LEGAL_HOLD, "ON")],
            &[(LEGAL_HOLD, "OFF")],
            &[retention[0], retention[1], (LEGAL_HOLD, "ON")],
        ] {
            let wish = read(headers).unwrap();
            let mut stored = vec![("content-type".to_owned(), b"a/b".to_vec())];
            wish.store(&mut stored);
            assert_eq!(LockWish::take(&mut stored), wish, "{headers:?}");
            assert_eq!(stored.len(), 1);
        }
    }

    #[test]
    fn a_locked_object_needs_a_digest() {
        let locked = Lock { retention: None, legal_hold: true };
        let check = |headers: &[(&str, &str)], lock: &Lock| {
            check_digest(&Request::for_test("PUT", "/b/k", headers), lock).is_ok()
        };
        assert!(check(&[], &Lock::default()));
        assert!(!check(&[("x-amz-content-sha256", "x")], &locked));
        assert!(check(&[("content-md5", "x")], &locked));
        assert!(check(&[("x-amz-checksum-crc32", "x")], &locked));
        assert!(check(&[("x-amz-trailer", "x-amz-checksum-crc32")], &locked));
    }

    #[test]
    fn documents_read_what_they_write() {
        for mode in [RetentionMode::Governance, RetentionMode::Compliance] {
            let retention = Retention { mode, until: LATER_MS };
            let document = retention_document(&retention).finish();
            assert_eq!(retention_parse(&document, NOW), Ok(Some(retention)));
        }
        assert_eq!(retention_parse(b"<Retention/>", NOW), Ok(None));
        for legal_hold in [true, false] {
            assert_eq!(legal_hold_parse(&legal_hold_document(legal_hold).finish()), Ok(legal_hold));
        }
    }

    #[test]
    fn documents_of_another_shape_are_malformed() {
        for inside in [
            "<Mode>GOVERNANCE</Mode>",
            "<RetainUntilDate>2010-01-01T00:00:00Z</RetainUntilDate>",
            "<Mode>governance</Mode><RetainUntilDate>2010-01-01T00:00:00Z</RetainUntilDate>",
            "<Mode>GOVERNANCE</Mode><RetainUntilDate>soon</RetainUntilDate>",
            "<Days>1</Days>",
        ] {
            let document = format!("<Retention>{inside}</Retention>");
            let error = retention_parse(document.as_bytes(), NOW).unwrap_err();
            assert_eq!(error.code, Code::MalformedXML, "{inside}");
        }
        let past = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2009-01-01T00:00:00Z</RetainUntilDate>\
                    </Retention>";
        assert_eq!(retention_parse(past.as_bytes(), NOW).unwrap_err().code, Code::InvalidArgument);
        for document in ["<LegalHold/>", "<LegalHold><Status>on</Status></LegalHold>", ""] {
            assert_eq!(legal_hold_parse(document.as_bytes()).unwrap_err().code, Code::MalformedXML);
        }
    }
}
