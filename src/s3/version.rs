//! `versionId` where buckets have no versions: only `null` names something.

use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;

/// What a `versionId` means for an object without versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Not given, or `null`: the object itself.
    Current,
    /// It could be an id, but no version has it.
    Unknown,
}

/// Reads `versionId`; what cannot be one is refused. AWS's ids are 32 characters of base64's URL alphabet
/// and dots.
pub fn version(id: Option<&str>) -> Result<Version, S3Error> {
    match id {
        None | Some("null") => Ok(Version::Current),
        Some("") => {
            let message = "Version id cannot be the empty string";
            Err(S3Error::invalid_argument(message, "versionId", ""))
        }
        Some(id) if is_id(id) => Ok(Version::Unknown),
        Some(id) => Err(S3Error::invalid_argument("Invalid version id specified", "versionId", id)),
    }
}

/// Refuses a read of a version that does not exist.
pub fn check_read(request: &Request) -> Result<(), S3Error> {
    check(request.query("versionId"), &request.key)
}

/// Refuses a read of version `id` of `key` if it does not exist.
pub fn check(id: Option<&str>, key: &str) -> Result<(), S3Error> {
    match version(id)? {
        Version::Current => Ok(()),
        Version::Unknown => Err(S3Error::new(Code::NoSuchVersion)
            .with_field("Key", key)
            .with_field("VersionId", id.unwrap_or_default())),
    }
}

fn is_id(id: &str) -> bool {
    id.len() == 32
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_null_names_something() {
        assert_eq!(version(None), Ok(Version::Current));
        assert_eq!(version(Some("null")), Ok(Version::Current));
        assert_eq!(
            version(Some("3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY")).unwrap_err().code,
            Code::InvalidArgument
        );
        assert_eq!(version(Some("3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH")), Ok(Version::Unknown));
        assert_eq!(version(Some("")).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(
            check(Some("3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH"), "k").unwrap_err().code,
            Code::NoSuchVersion
        );
    }
}
