//! `VersioningConfiguration`: what a bucket does with the versions of its objects.
//!
//! Source: AWS, PutBucketVersioning.

use super::document::{Fields, malformed};
use crate::engine::Versioning;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, XmlWriter};

/// Root element of the document.
const ROOT: &str = "VersioningConfiguration";

/// Reads what a client asks for. Deleting with a second factor does not exist here, so nobody may believe
/// to have it.
pub fn parse(document: &[u8]) -> Result<Versioning, S3Error> {
    let root = xml::parse(document, ROOT)?;
    let fields = Fields::of(&root, &["Status", "MfaDelete"])?;
    let enabled = [("Enabled", true), ("Disabled", false)];
    if fields.word("MfaDelete", &enabled)? == Some(true) {
        return Err(S3Error::new(Code::NotImplemented)
            .with_message("MFA Delete is not implemented: there are no MFA devices.")
            .with_field("Header", "MfaDelete"));
    }
    let status = [("Enabled", Versioning::Enabled), ("Suspended", Versioning::Suspended)];
    match fields.word("Status", &status)? {
        Some(versioning) => Ok(versioning),
        None if root.children.is_empty() => Err(Code::IllegalVersioningConfigurationException.into()),
        None => Err(malformed()),
    }
}

/// The document that a GET answers; empty for a bucket that never had versions.
pub fn document(versioning: Versioning) -> XmlWriter {
    let mut xml = XmlWriter::document(ROOT);
    match versioning {
        Versioning::Unversioned => {}
        Versioning::Enabled => xml.text("Status", "Enabled"),
        Versioning::Suspended => xml.text("Status", "Suspended"),
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> Result<Versioning, Code> {
        let document = format!("<{ROOT}>{inside}</{ROOT}>");
        parse(document.as_bytes()).map_err(|error| error.code)
    }

    #[test]
    fn versions_are_enabled_or_suspended() {
        assert_eq!(read("<Status>Enabled</Status>"), Ok(Versioning::Enabled));
        assert_eq!(
            read("<MfaDelete>Disabled</MfaDelete><Status>Suspended</Status>"),
            Ok(Versioning::Suspended)
        );
        for versioning in [Versioning::Enabled, Versioning::Suspended] {
            assert_eq!(parse(&document(versioning).finish()), Ok(versioning));
        }
        let untouched = xml::parse(&document(Versioning::Unversioned).finish(), ROOT).unwrap();
        assert!(untouched.children.is_empty());
    }

    #[test]
    fn other_states_and_second_factors_are_refused() {
        assert_eq!(read(""), Err(Code::IllegalVersioningConfigurationException));
        assert_eq!(read("<MfaDelete>Disabled</MfaDelete>"), Err(Code::MalformedXML));
        assert_eq!(read("<Status>enabled</Status>"), Err(Code::MalformedXML));
        assert_eq!(read("<Status>Disabled</Status>"), Err(Code::MalformedXML));
        assert_eq!(read("<Status>Enabled</Status><Status>Enabled</Status>"), Err(Code::MalformedXML));
        assert_eq!(read("<Status>Enabled</Status><Other/>"), Err(Code::MalformedXML));
        assert_eq!(read("<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>"), Err(Code::NotImplemented));
    }
}
