//! What a request claims about its payload: length, MD5, checksum. Read before the payload is, so that a
//! request that cannot succeed is refused without it.

use crate::auth::PayloadPromise;
use crate::base::checksum::ChecksumAlgorithm;
use crate::hash;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;

/// Headers that begin like a checksum's value but are none.
const NOT_VALUES: [&str; 3] = ["algorithm", "mode", "type"];

/// The claims of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Bytes of the payload without any framing; `None` if only its end tells.
    pub bytes: Option<u64>,
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    pub checksum: Option<ChecksumClaim>,
}

/// A checksum that the payload must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecksumClaim {
    pub algorithm: ChecksumAlgorithm,
    /// `None` if a trailer brings it.
    pub value: Option<Vec<u8>>,
}

impl Claims {
    /// Reads the claims of a request that sends a payload of at most `bytes_max`.
    pub fn of(request: &Request, promise: &PayloadPromise, bytes_max: u64) -> Result<Self, S3Error> {
        let checksum = checksum(request, promise)?;
        Ok(Self { checksum, ..Self::beside_checksum(request, promise, bytes_max)? })
    }

    /// Reads the claims of a request that frames no payload: there are no bytes, whatever it promises.
    pub fn of_nothing(request: &Request) -> Result<Self, S3Error> {
        Ok(Self { bytes: Some(0), md5: content_md5(request)?, checksum: None })
    }

    /// Reads the claims of a request whose checksum headers describe something else than its payload.
    pub fn beside_checksum(
        request: &Request,
        promise: &PayloadPromise,
        bytes_max: u64,
    ) -> Result<Self, S3Error> {
        let bytes = length(request, promise)?;
        if let Some(bytes) = bytes.filter(|bytes| *bytes > bytes_max) {
            return Err(too_large(bytes, bytes_max));
        }
        Ok(Self { bytes, md5: content_md5(request)?, checksum: None })
    }
}

/// `EntityTooLarge` for a payload of `bytes`.
pub fn too_large(bytes: u64, bytes_max: u64) -> S3Error {
    S3Error::new(Code::EntityTooLarge)
        .with_field("ProposedSize", bytes)
        .with_field("MaxSizeAllowed", bytes_max)
}

fn is_aws_chunked(promise: &PayloadPromise) -> bool {
    !matches!(promise, PayloadPromise::Unsigned | PayloadPromise::Sha256(_))
}

fn length(request: &Request, promise: &PayloadPromise) -> Result<Option<u64>, S3Error> {
    let name = if is_aws_chunked(promise) { "x-amz-decoded-content-length" } else { "content-length" };
    match request.header(name)? {
        Some(text) => match text.parse() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => Err(S3Error::invalid_argument("The length is not a number.", name, text)),
        },
        None if is_aws_chunked(promise) => Err(Code::MissingContentLength.into()),
        None if request.head.header("transfer-encoding").is_some() => Ok(None),
        None => Err(Code::MissingContentLength.into()),
    }
}

fn content_md5(request: &Request) -> Result<Option<[u8; 16]>, S3Error> {
    let Some(value) = request.head.header("content-md5") else { return Ok(None) };
    match hash::base64_decode(value, 16).and_then(|bytes| bytes.try_into().ok()) {
        Some(digest) => Ok(Some(digest)),
        None => {
            Err(S3Error::new(Code::InvalidDigest).with_field("Content-MD5", String::from_utf8_lossy(value)))
        }
    }
}

fn checksum(request: &Request, promise: &PayloadPromise) -> Result<Option<ChecksumClaim>, S3Error> {
    let mut claim = None;
    for (name, value) in &request.head.headers {
        let Some(rest) = name.strip_prefix("x-amz-checksum-") else { continue };
        if NOT_VALUES.contains(&rest) {
            continue;
        }
        let algorithm = named(rest)?;
        let value = hash::checksum_parse(algorithm, value).ok_or_else(|| no_checksum(algorithm))?;
        add(&mut claim, ChecksumClaim { algorithm, value: Some(value) })?;
    }
    if let Some(trailers) = request.header("x-amz-trailer")? {
        if !is_trailed(promise) {
            let message = "The x-amz-trailer header needs a payload with trailers.";
            return Err(S3Error::invalid_request(message));
        }
        for name in trailers.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            let Some(rest) = name.strip_prefix("x-amz-checksum-") else {
                let message = "The value specified in the x-amz-trailer header is not supported";
                return Err(S3Error::invalid_request(message));
            };
            add(&mut claim, ChecksumClaim { algorithm: named(rest)?, value: None })?;
        }
    }
    check_announced(request, claim.as_ref())?;
    Ok(claim)
}

/// Compares what `x-amz-sdk-checksum-algorithm` announces with what the request brings.
fn check_announced(request: &Request, claim: Option<&ChecksumClaim>) -> Result<(), S3Error> {
    let Some(announced) = request.header("x-amz-sdk-checksum-algorithm")? else { return Ok(()) };
    let Some(algorithm) = ChecksumAlgorithm::parse(announced) else {
        return Err(invalid_value("x-amz-sdk-checksum-algorithm"));
    };
    match claim {
        None if request.head.header("content-md5").is_some() => Ok(()),
        None => Err(S3Error::invalid_request(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
             headers were found.",
        )),
        Some(claim) if claim.algorithm != algorithm => Err(invalid_value("x-amz-sdk-checksum-algorithm")),
        Some(_) => Ok(()),
    }
}

fn is_trailed(promise: &PayloadPromise) -> bool {
    matches!(promise, PayloadPromise::SignedChunksTrailer(_) | PayloadPromise::UnsignedChunksTrailer)
}

fn named(algorithm: &str) -> Result<ChecksumAlgorithm, S3Error> {
    ChecksumAlgorithm::parse(algorithm).ok_or_else(|| {
        S3Error::invalid_request("The algorithm type you specified in x-amz-checksum- header is invalid.")
    })
}

/// `BadDigest` because the value of a checksum header is none of this algorithm, so that no payload has it.
pub fn no_checksum(algorithm: ChecksumAlgorithm) -> S3Error {
    let name = algorithm.name();
    S3Error::new(Code::BadDigest)
        .with_message(format!("The {name} you specified did not match the calculated checksum."))
}

/// `InvalidRequest` because the value of a header is none that it may have.
pub fn invalid_value(header: &str) -> S3Error {
    S3Error::invalid_request(format!("Value for {header} header is invalid."))
}

fn add(claim: &mut Option<ChecksumClaim>, found: ChecksumClaim) -> Result<(), S3Error> {
    if claim.is_some() {
        let message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
        return Err(S3Error::invalid_request(message));
    }
    *claim = Some(found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use PayloadPromise::{Unsigned, UnsignedChunksTrailer};

    fn claims(headers: &[(&str, &str)], promise: &PayloadPromise) -> Result<Claims, S3Error> {
        Claims::of(&Request::for_test("PUT", "/b/k", headers), promise, 1000)
    }

    fn refusal(headers: &[(&str, &str)], promise: &PayloadPromise) -> (Code, String) {
        let error = claims(headers, promise).unwrap_err();
        (error.code, error.message.into_owned())
    }

    #[test]
    fn a_length_is_needed_and_bounded() {
        assert_eq!(claims(&[("content-length", "7")], &Unsigned).unwrap().bytes, Some(7));
        assert_eq!(claims(&[("transfer-encoding", "chunked")], &Unsigned).unwrap().bytes, None);
        assert_eq!(refusal(&[], &Unsigned).0, Code::MissingContentLength);
        assert_eq!(refusal(&[("content-length", "1001")], &Unsigned).0, Code::EntityTooLarge);
        let framed = [("content-length", "90"), ("x-amz-decoded-content-length", "7")];
        assert_eq!(claims(&framed, &UnsignedChunksTrailer).unwrap().bytes, Some(7));
        assert_eq!(refusal(&framed[..1], &UnsignedChunksTrailer).0, Code::MissingContentLength);
    }

    #[test]
    fn digests_must_be_digests() {
        let with = |name, value| [("content-length", "0"), (name, value)];
        let md5 = claims(&with("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="), &Unsigned).unwrap().md5;
        assert_eq!(md5, Some(hash::md5(b"")));
        for value in ["", "x", "1B2M2Y8AsgTpgAmY7PhC"] {
            assert_eq!(refusal(&with("content-md5", value), &Unsigned).0, Code::InvalidDigest);
        }
        for name in ["x-amz-checksum-crc32", "x-amz-checksum-xxhash64"] {
            for value in ["", "AAA=", "bad"] {
                assert_eq!(refusal(&with(name, value), &Unsigned).0, Code::BadDigest);
            }
        }
        assert_eq!(refusal(&with("x-amz-checksum-sha3", "AAA="), &Unsigned).0, Code::InvalidRequest);
        assert!(claims(&with("x-amz-checksum-xxhash64", "AAAAAAAAAAA="), &Unsigned).is_ok());
        assert!(claims(&with("x-amz-checksum-type", "FULL_OBJECT"), &Unsigned).is_ok());
    }

    #[test]
    fn one_checksum_at_most_in_a_header_or_a_trailer() {
        let two = [
            ("content-length", "0"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-checksum-crc32c", "AAAAAA=="),
        ];
        assert!(refusal(&two, &Unsigned).1.starts_with("Expecting a single x-amz-checksum- header."));
        let trailed = [("x-amz-decoded-content-length", "0"), ("x-amz-trailer", "x-amz-checksum-crc32")];
        let claim = claims(&trailed, &UnsignedChunksTrailer).unwrap().checksum.unwrap();
        assert_eq!(claim, ChecksumClaim { algorithm: ChecksumAlgorithm::Crc32, value: None });
        let both = [trailed[0], trailed[1], two[1]];
        assert_eq!(refusal(&both, &UnsignedChunksTrailer).0, Code::InvalidRequest);
    }

    #[test]
    fn an_announced_algorithm_must_come() {
        let announced = ("x-amz-sdk-checksum-algorithm", "CRC32");
        let length = ("content-length", "0");
        assert_eq!(refusal(&[length, announced], &Unsigned).0, Code::InvalidRequest);
        assert!(claims(&[length, announced, ("x-amz-checksum-crc32", "AAAAAA==")], &Unsigned).is_ok());
        let other = [length, announced, ("x-amz-checksum-crc32c", "AAAAAA==")];
        assert_eq!(refusal(&other, &Unsigned).0, Code::InvalidRequest);
    }
}
