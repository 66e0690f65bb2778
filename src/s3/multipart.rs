//! What the multipart operations share: upload ids as text, the checksum that an upload was made for, and
//! what a completed object gets from its parts.

use std::ops::Range;

use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::base::limits::PARTS_MAX;
use crate::engine::{EngineError, Headers, UploadId};
use crate::hash;
use crate::s3::error::S3Error;
use crate::s3::initiator;

/// Names in an upload's headers that no header of HTTP can have; they never reach the object.
const ALGORITHM_NAME: &str = ":checksum-algorithm";
const KIND_NAME: &str = ":checksum-type";

/// An upload id as clients see it: 32 hexadecimal digits.
pub fn upload_id_text(id: &UploadId) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads what [`upload_id_text`] wrote; anything else names no upload.
pub fn upload_id_parse(text: &str) -> Option<UploadId> {
    if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Reads `uploadId`; an id that cannot be one is answered like one that is gone.
pub fn upload_id(text: &str) -> Result<UploadId, S3Error> {
    upload_id_parse(text).ok_or_else(|| S3Error::no_such_upload(text))
}

/// What the engine says about an upload, naming it.
pub fn upload_error(error: EngineError, text: &str) -> S3Error {
    match error {
        EngineError::NoSuchUpload => S3Error::no_such_upload(text),
        other => other.into(),
    }
}

/// Reads `partNumber`.
pub fn part_number(text: &str) -> Result<u16, S3Error> {
    let number = text.parse().ok().filter(|number| (1..=PARTS_MAX).contains(number));
    number.ok_or_else(|| {
        let message = "Part number must be an integer between 1 and 10000, inclusive";
        S3Error::invalid_argument(message, "partNumber", text)
    })
}

/// The checksum that the parts and the object of an upload carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadChecksum {
    pub algorithm: ChecksumAlgorithm,
    pub kind: ChecksumKind,
    /// Whether CreateMultipartUpload named it. If not, it is S3's default, which is not announced.
    pub requested: bool,
}

impl UploadChecksum {
    /// What S3 adds to uploads that ask for none.
    const DEFAULT: Self =
        Self { algorithm: ChecksumAlgorithm::Crc64Nvme, kind: ChecksumKind::FullObject, requested: false };

    /// Decides from `x-amz-checksum-algorithm` and `x-amz-checksum-type` of CreateMultipartUpload, both read
    /// without regard to case.
    ///
    /// Source: AWS, "Checking object integrity", table of algorithms and checksum types.
    pub fn choose(algorithm: Option<&str>, kind: Option<&str>) -> Result<Self, S3Error> {
        let kind = match kind {
            None => None,
            Some(text) => Some(kind_parse(text)?),
        };
        let Some(name) = algorithm else {
            return match kind {
                None => Ok(Self::DEFAULT),
                Some(_) => Err(S3Error::invalid_request(
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
                )),
            };
        };
        let algorithm = ChecksumAlgorithm::parse(name).ok_or_else(|| {
            let names = ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::name).join(", ");
            S3Error::invalid_request(format!(
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
                 [{names}]"
            ))
        })?;
        let kind = kind.unwrap_or(match algorithm {
            ChecksumAlgorithm::Crc64Nvme => ChecksumKind::FullObject,
            _ => ChecksumKind::Composite,
        });
        let exists = match kind {
            ChecksumKind::FullObject => algorithm.is_linear(),
            ChecksumKind::Composite => algorithm != ChecksumAlgorithm::Crc64Nvme,
        };
        if !exists {
            return Err(S3Error::invalid_request(format!(
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                kind.name(),
                algorithm.name().to_ascii_lowercase()
            )));
        }
        Ok(Self { algorithm, kind, requested: true })
    }

    /// Remembers the choice among an upload's headers.
    pub fn store(self, headers: &mut Headers) {
        if self.requested {
            headers.push((ALGORITHM_NAME.to_owned(), vec![self.algorithm as u8]));
            headers.push((KIND_NAME.to_owned(), vec![self.kind as u8]));
        }
    }

    /// Finds what [`UploadChecksum::store`] remembered.
    pub fn load(headers: &Headers) -> Self {
        let code = |name: &str| {
            let (_, value) = headers.iter().find(|(have, _)| have == name)?;
            value.first().copied()
        };
        let algorithm = code(ALGORITHM_NAME).and_then(ChecksumAlgorithm::from_code);
        let kind = code(KIND_NAME).and_then(ChecksumKind::from_code);
        match (algorithm, kind) {
            (Some(algorithm), Some(kind)) => Self { algorithm, kind, requested: true },
            _ => Self::DEFAULT,
        }
    }

    /// Judges the algorithm of the checksum that a part comes with. Parts of composite checksums must have
    /// one, others may: theirs is computed here.
    pub fn check_claim(self, claimed: Option<ChecksumAlgorithm>) -> Result<(), S3Error> {
        let fits = match claimed {
            _ if !self.requested => true,
            Some(algorithm) => algorithm == self.algorithm,
            None => self.kind == ChecksumKind::FullObject,
        };
        if fits {
            return Ok(());
        }
        let lower = |algorithm: ChecksumAlgorithm| algorithm.name().to_ascii_lowercase();
        Err(S3Error::invalid_request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            lower(self.algorithm),
            claimed.map_or("null".to_owned(), lower)
        )))
    }

    /// The object's checksum, from those of its parts with their lengths. `None` if they do not join, which
    /// happens only to uploads that asked for none: the object then has whatever CRC its parts came with.
    pub fn of_object<'a>(
        mut self,
        parts: impl Iterator<Item = (Option<&'a Checksum>, u64)> + Clone,
    ) -> Option<Checksum> {
        if !self.requested {
            let (first, _) = parts.clone().next()?;
            self.algorithm = first?.algorithm;
            if !self.algorithm.is_linear() {
                return None;
            }
        }
        let parts: Option<Vec<(&[u8], u64)>> = parts
            .map(|(checksum, bytes)| {
                let checksum = checksum.filter(|checksum| checksum.algorithm == self.algorithm)?;
                Some((checksum.value.as_slice(), bytes))
            })
            .collect();
        let parts = parts?;
        let value = match self.kind {
            ChecksumKind::Composite => hash::composite(self.algorithm, parts.iter().map(|(value, _)| value)),
            ChecksumKind::FullObject => {
                let ((first, _), rest) = parts.split_first()?;
                rest.iter().fold(first.to_vec(), |whole, (value, bytes)| {
                    hash::combine(self.algorithm, &whole, value, *bytes)
                })
            }
        };
        Some(Checksum { algorithm: self.algorithm, kind: self.kind, value })
    }
}

/// Reads `x-amz-checksum-type`.
pub fn kind_parse(text: &str) -> Result<ChecksumKind, S3Error> {
    ChecksumKind::parse(&text.to_ascii_uppercase())
        .ok_or_else(|| S3Error::invalid_request("Value for x-amz-checksum-type header is invalid."))
}

/// What an upload hands on to its object: all but its own checksum, and who began it.
pub fn object_headers(headers: Headers) -> Headers {
    let own = [ALGORITHM_NAME, KIND_NAME, initiator::STORED];
    headers.into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect()
}

/// A checksum's value as clients see it: base64, and for a composite one the number of its parts.
pub fn checksum_text(checksum: &Checksum, parts: usize) -> String {
    let value = hash::base64_encode(&checksum.value);
    match checksum.kind {
        ChecksumKind::Composite if parts > 0 => format!("{value}-{parts}"),
        _ => value,
    }
}

/// ETag of a part that shares bytes whose MD5 nobody has computed: derived from what it was copied from, so
/// that the same copy gets the same ETag.
pub fn derived_etag(source: &ETag, range: &Range<u64>) -> ETag {
    let text = format!("copied range\n{source}\n{}\n{}\n", range.start, range.end);
    ETag::of_md5(hash::md5(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{DigestPlan, Hasher};
    use crate::s3::error::Code;

    fn crc(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
        let mut hasher = Hasher::new(DigestPlan { checksum: Some(algorithm), ..DigestPlan::default() });
        hasher.update(bytes);
        hasher.finish().checksum.unwrap()
    }

    #[test]
    fn an_upload_id_reads_what_it_writes_and_nothing_else() {
        let id = *b"\x00\x01upload-id\xfe\xff\x7f\x80\x00";
        assert_eq!(upload_id_parse(&upload_id_text(&id)), Some(id));
        for text in
            ["", "abc", &"g".repeat(32), &"A".repeat(32), &format!("+{}", "0".repeat(31)), &"é".repeat(16)]
        {
            assert_eq!(upload_id(text).unwrap_err().code, Code::NoSuchUpload, "{text}");
        }
    }

    #[test]
    fn part_numbers_run_from_one_to_ten_thousand() {
        assert_eq!(part_number("1"), Ok(1));
        assert_eq!(part_number("10000"), Ok(10_000));
        for text in ["", "0", "10001", "-1", "1.0", "99999999999999999999", " 1", "one"] {
            assert_eq!(part_number(text).unwrap_err().code, Code::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn algorithms_and_types_pair_as_aws_pairs_them() {
        use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
        use ChecksumKind::{Composite, FullObject};
        let chosen = |algorithm, kind| {
            let choice = UploadChecksum::choose(algorithm, kind).unwrap();
            (choice.algorithm, choice.kind, choice.requested)
        };
        assert_eq!(chosen(None, None), (Crc64Nvme, FullObject, false));
        assert_eq!(chosen(Some("crc64nvme"), None), (Crc64Nvme, FullObject, true));
        assert_eq!(chosen(Some("CRC32"), None), (Crc32, Composite, true));
        assert_eq!(chosen(Some("CRC32"), Some("full_object")), (Crc32, FullObject, true));
        assert_eq!(chosen(Some("CRC32C"), Some("FULL_OBJECT")), (Crc32c, FullObject, true));
        assert_eq!(chosen(Some("SHA1"), None), (Sha1, Composite, true));
        assert_eq!(chosen(Some("SHA256"), Some("COMPOSITE")), (Sha256, Composite, true));
        for name in ["SHA512", "MD5", "XXHASH64", "XXHASH3", "xxhash128"] {
            let algorithm = ChecksumAlgorithm::parse(name).unwrap();
            assert_eq!(chosen(Some(name), None), (algorithm, Composite, true));
        }
        for (algorithm, kind) in [
            (Some("CRC64NVME"), Some("COMPOSITE")),
            (Some("SHA1"), Some("FULL_OBJECT")),
            (Some("SHA256"), Some("FULL_OBJECT")),
            (Some("SHA512"), Some("FULL_OBJECT")),
            (Some("MD5"), Some("FULL_OBJECT")),
            (Some("XXHASH64"), Some("FULL_OBJECT")),
            (Some("XXHASH3"), Some("FULL_OBJECT")),
            (Some("XXHASH128"), Some("FULL_OBJECT")),
            (Some("SHA3"), None),
            (Some(""), None),
            (None, Some("COMPOSITE")),
            (None, Some("FULL")),
        ] {
            let error = UploadChecksum::choose(algorithm, kind).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest, "{algorithm:?} {kind:?}");
        }
    }

    #[test]
    fn the_choice_is_remembered_beside_the_headers_and_stays_off_the_object() {
        for algorithm in [None, Some("CRC32"), Some("SHA256")] {
            let choice = UploadChecksum::choose(algorithm, None).unwrap();
            let mut headers = vec![("content-type".to_owned(), b"text/plain".to_vec())];
            let plain = headers.clone();
            choice.store(&mut headers);
            assert_eq!(UploadChecksum::load(&headers), choice);
            assert_eq!(object_headers(headers), plain);
        }
    }

    #[test]
    fn a_full_object_checksum_is_that_of_the_joined_parts() {
        for algorithm in ["CRC32", "CRC32C", "CRC64NVME"] {
            let choice = UploadChecksum::choose(Some(algorithm), Some("FULL_OBJECT")).unwrap();
            let parts: Vec<_> = ["first ", "", "second"]
                .map(|part| (crc(choice.algorithm, part.as_bytes()), part.len()))
                .into();
            let whole =
                choice.of_object(parts.iter().map(|(checksum, bytes)| (Some(checksum), *bytes as u64)));
            assert_eq!(whole, Some(crc(choice.algorithm, b"first second")), "{algorithm}");
        }
    }

    #[test]
    fn a_composite_checksum_is_written_with_its_number_of_parts() {
        let value = |letter: u8| {
            let part = crc(ChecksumAlgorithm::Sha256, &vec![letter; 5 << 20]);
            Checksum { kind: ChecksumKind::Composite, ..part }
        };
        let choice = UploadChecksum::choose(Some("SHA256"), None).unwrap();
        let parts = [value(b'A'), value(b'B'), value(b'C')];
        assert_eq!(checksum_text(&parts[0], 0), "275VF5loJr1YYawit0XSHREhkFXYkkPKGuoK0x9VKxI=");
        let whole = choice.of_object(parts.iter().map(|part| (Some(part), 5 << 20))).unwrap();
        assert_eq!(checksum_text(&whole, 3), "uWBwpe1dxI4Vw8Gf0X9ynOdw/SS6VBzfWm9giiv1sf4=-3");
    }

    #[test]
    fn parts_without_the_algorithm_leave_the_object_without_a_checksum() {
        let choice = UploadChecksum::choose(None, None).unwrap();
        let other = crc(ChecksumAlgorithm::Crc32, b"x");
        let fitting = crc(ChecksumAlgorithm::Crc64Nvme, b"x");
        assert_eq!(choice.of_object([(Some(&fitting), 1), (Some(&other), 1)].into_iter()), None);
        assert_eq!(choice.of_object([(Some(&fitting), 1), (None, 1)].into_iter()), None);
        let hashed = crc(ChecksumAlgorithm::Sha256, b"x");
        assert_eq!(choice.of_object([(Some(&hashed), 1)].into_iter()), None);
        let joined = choice.of_object([(Some(&other), 1), (Some(&other), 1)].into_iter());
        assert_eq!(joined, Some(crc(ChecksumAlgorithm::Crc32, b"xx")));
    }

    #[test]
    fn a_part_brings_the_checksum_of_its_upload() {
        let check = |upload: (Option<&str>, Option<&str>), claimed| {
            UploadChecksum::choose(upload.0, upload.1).unwrap().check_claim(claimed).is_ok()
        };
        let crc32 = Some(ChecksumAlgorithm::Crc32);
        let sha1 = Some(ChecksumAlgorithm::Sha1);
        assert!(check((None, None), None) && check((None, None), sha1));
        assert!(check((Some("CRC32"), Some("COMPOSITE")), crc32));
        assert!(!check((Some("CRC32"), Some("COMPOSITE")), None));
        assert!(check((Some("CRC32"), Some("FULL_OBJECT")), None));
        assert!(!check((Some("CRC32"), Some("FULL_OBJECT")), sha1));
    }

    #[test]
    fn derived_etags_differ_by_source_and_range() {
        let source = ETag::of_md5([1; 16]);
        let multipart = ETag { parts: 2, ..source };
        let tags = [
            derived_etag(&source, &(0..5)),
            derived_etag(&source, &(0..6)),
            derived_etag(&source, &(1..6)),
            derived_etag(&multipart, &(0..5)),
        ];
        for (index, tag) in tags.iter().enumerate() {
            assert_eq!(tag.parts, 0);
            assert!(!tags[..index].contains(tag));
        }
        assert_eq!(tags[0], derived_etag(&source, &(0..5)));
    }
}
