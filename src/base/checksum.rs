//! The vocabulary of S3's additional checksums: plain data, computed in `hash/`, stored by `engine/`.

/// Algorithm of an `x-amz-checksum-*` value. The numbers are written to disk and never change.
///
/// Source: AWS, "Checking object integrity", section "Using supported checksum algorithms".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChecksumAlgorithm {
    Crc32 = 1,
    Crc32c = 2,
    Crc64Nvme = 3,
    Sha1 = 4,
    Sha256 = 5,
    Sha512 = 6,
    Md5 = 7,
    /// XXH64 with seed 0.
    Xxhash64 = 8,
    /// XXH3 of 64 bits with seed 0.
    Xxhash3 = 9,
    /// XXH3 of 128 bits with seed 0.
    Xxhash128 = 10,
}

/// The names of an algorithm, and what its values look like.
struct Row {
    name: &'static str,
    header: &'static str,
    element: &'static str,
    length: usize,
}

const fn row(name: &'static str, header: &'static str, element: &'static str, length: usize) -> Row {
    Row { name, header, element, length }
}

impl ChecksumAlgorithm {
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Md5,
        Self::Xxhash64,
        Self::Xxhash3,
        Self::Xxhash128,
    ];

    const fn row(self) -> Row {
        match self {
            Self::Crc32 => row("CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", 4),
            Self::Crc32c => row("CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", 4),
            Self::Crc64Nvme => row("CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", 8),
            Self::Sha1 => row("SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", 20),
            Self::Sha256 => row("SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", 32),
            Self::Sha512 => row("SHA512", "x-amz-checksum-sha512", "ChecksumSHA512", 64),
            Self::Md5 => row("MD5", "x-amz-checksum-md5", "ChecksumMD5", 16),
            Self::Xxhash64 => row("XXHASH64", "x-amz-checksum-xxhash64", "ChecksumXXHASH64", 8),
            Self::Xxhash3 => row("XXHASH3", "x-amz-checksum-xxhash3", "ChecksumXXHASH3", 8),
            Self::Xxhash128 => row("XXHASH128", "x-amz-checksum-xxhash128", "ChecksumXXHASH128", 16),
        }
    }

    /// Name in `x-amz-checksum-algorithm` and in XML.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Header that carries the base64 value.
    pub const fn header(self) -> &'static str {
        self.row().header
    }

    /// Element of the value in XML replies and requests.
    pub const fn element(self) -> &'static str {
        self.row().element
    }

    /// Reads a name without regard to case, as S3 does.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| *algorithm as u8 == code)
    }

    /// Bytes of a value.
    pub const fn length(self) -> usize {
        self.row().length
    }

    /// Whether the CRC of the whole can be computed from the parts' CRCs and lengths.
    pub const fn is_linear(self) -> bool {
        matches!(self, Self::Crc32 | Self::Crc32c | Self::Crc64Nvme)
    }
}

/// What a multipart object's checksum covers (`x-amz-checksum-type`). The numbers are written to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChecksumKind {
    /// Checksum of the object's bytes.
    FullObject = 1,
    /// Checksum of the parts' checksums, shown as `value-N`.
    Composite = 2,
}

impl ChecksumKind {
    /// Name in `x-amz-checksum-type` and in XML.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|kind| kind.name() == name)
    }

    pub fn from_code(code: u8) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|kind| *kind as u8 == code)
    }
}

/// A checksum of an object or part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    pub algorithm: ChecksumAlgorithm,
    pub kind: ChecksumKind,
    /// `algorithm.length()` bytes.
    pub value: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_headers_and_codes_name_one_algorithm_each() {
        for algorithm in ChecksumAlgorithm::ALL {
            let lower = algorithm.name().to_ascii_lowercase();
            assert_eq!(algorithm.header(), format!("x-amz-checksum-{lower}"));
            assert_eq!(algorithm.element(), format!("Checksum{}", algorithm.name()));
            assert_eq!(ChecksumAlgorithm::parse(&lower), Some(algorithm));
            assert_eq!(ChecksumAlgorithm::from_code(algorithm as u8), Some(algorithm));
        }
        assert_eq!(ChecksumAlgorithm::parse("XXH64"), None);
        assert_eq!(ChecksumAlgorithm::from_code(0), None);
    }
}
