//! What CompleteMultipartUpload asks for, and whether the parts at hand can give it. Pure.

use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::base::limits::{OBJECT_BYTES_MAX, PART_BYTES_MIN, PARTS_MAX};
use crate::engine::Part;
use crate::hash;
use crate::s3::claims::no_checksum;
use crate::s3::error::{Code, S3Error};
use crate::s3::multipart::{self, UploadChecksum};
use crate::s3::xml::{self, Element};

/// A part as the request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPart {
    pub number: u16,
    /// As sent; it may be no ETag at all, and then no part has it.
    pub etag: String,
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
}

/// What the headers of the request promise about the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    pub checksum: Option<PromisedChecksum>,
    pub kind: Option<ChecksumKind>,
    /// `x-amz-mp-object-size`.
    pub bytes: Option<u64>,
}

/// The value of an `x-amz-checksum-*` header, `base64` or `base64-N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromisedChecksum {
    pub algorithm: ChecksumAlgorithm,
    pub value: Vec<u8>,
    pub parts: Option<usize>,
}

/// The object that the named parts make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    pub parts: Vec<(u16, ETag)>,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
}

/// Reads the request document: at least one part, in ascending order. Of entries with the same number, which a
/// client makes that sends a part twice, the last one counts.
pub fn parse(document: &[u8]) -> Result<Vec<NamedPart>, S3Error> {
    let root = xml::parse(document, "CompleteMultipartUpload")?;
    let mut parts = root.children_named("Part").map(named_part).collect::<Result<Vec<_>, _>>()?;
    if parts.is_empty() || parts.len() > usize::from(PARTS_MAX) {
        return Err(Code::MalformedXML.into());
    }
    if parts.windows(2).any(|pair| pair[0].number > pair[1].number) {
        return Err(Code::InvalidPartOrder.into());
    }
    parts.dedup_by(|later, earlier| {
        let is_again = later.number == earlier.number;
        if is_again {
            std::mem::swap(later, earlier);
        }
        is_again
    });
    Ok(parts)
}

fn named_part(part: &Element) -> Result<NamedPart, S3Error> {
    let field = |name| part.child_text(name).map(str::trim).ok_or(S3Error::from(Code::MalformedXML));
    let text = field("PartNumber")?;
    let number: i64 = text.parse().map_err(|_| S3Error::from(Code::MalformedXML))?;
    if number < 1 {
        return Err(S3Error::invalid_argument("PartNumber must be >= 1", "PartNumber", text));
    }
    let number = multipart::part_number(text)?;
    Ok(NamedPart { number, etag: field("ETag")?.to_owned(), checksum: part_checksum(part)? })
}

fn part_checksum(part: &Element) -> Result<Option<(ChecksumAlgorithm, Vec<u8>)>, S3Error> {
    let given: Vec<(ChecksumAlgorithm, &str)> = ChecksumAlgorithm::ALL
        .into_iter()
        .filter_map(|algorithm| Some((algorithm, part.child_text(algorithm.element())?.trim())))
        .collect();
    let refuse = |value: String| {
        let message = "Invalid Base64 or multiple checksums present in request";
        S3Error::invalid_argument(message, "Checksum", value)
    };
    match given.as_slice() {
        [] => Ok(None),
        [(algorithm, text)] => match hash::checksum_parse(*algorithm, text.as_bytes()) {
            Some(value) => Ok(Some((*algorithm, value))),
            None => Err(refuse((*text).to_owned())),
        },
        several => Err(refuse(
            several.iter().map(|(algorithm, text)| format!("{}:{text};", algorithm.name())).collect(),
        )),
    }
}

impl Promise {
    /// Reads the headers that `header` finds by their lower-case names.
    pub fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Result<Self, S3Error> {
        let mut checksums = ChecksumAlgorithm::ALL
            .into_iter()
            .filter_map(|algorithm| Some((algorithm, header(algorithm.header())?)));
        let checksum = match (checksums.next(), checksums.next()) {
            (None, _) => None,
            (Some((algorithm, text)), None) => Some(promised_checksum(algorithm, text)?),
            (Some(_), Some(_)) => {
                return Err(S3Error::invalid_request(
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                ));
            }
        };
        let kind = header("x-amz-checksum-type").map(multipart::kind_parse).transpose()?;
        let bytes = header("x-amz-mp-object-size").map(object_bytes).transpose()?;
        Ok(Self { checksum, kind, bytes })
    }
}

fn promised_checksum(algorithm: ChecksumAlgorithm, text: &str) -> Result<PromisedChecksum, S3Error> {
    let invalid = || no_checksum(algorithm);
    let (value, parts) = match text.split_once('-') {
        Some((value, parts)) => {
            let digits = !parts.is_empty() && parts.bytes().all(|byte| byte.is_ascii_digit());
            let parts = parts.parse().ok().filter(|_| digits).ok_or_else(invalid)?;
            (value, Some(parts))
        }
        None => (text, None),
    };
    let value = hash::checksum_parse(algorithm, value.as_bytes()).ok_or_else(invalid)?;
    Ok(PromisedChecksum { algorithm, value, parts })
}

fn object_bytes(text: &str) -> Result<u64, S3Error> {
    match text.parse::<i64>().map(u64::try_from) {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(S3Error::invalid_request(format!(
            "Value for x-amz-mp-object-size header is less than zero: '{text}'"
        ))),
        Err(_) => Err(S3Error::invalid_request(format!(
            "Value for x-amz-mp-object-size header is invalid: '{text}'"
        ))),
    }
}

/// Joins the named parts out of `stored`, which is in ascending order, and holds the result against what
/// the request promises.
pub fn assemble(
    upload_id: &str,
    expected: UploadChecksum,
    named: &[NamedPart],
    stored: &[Part],
    promise: &Promise,
) -> Result<Assembly, S3Error> {
    check_kind(expected, promise)?;
    let mut chosen = Vec::with_capacity(named.len());
    for part in named {
        chosen.push(find(upload_id, part, stored)?);
    }
    check_sizes(&chosen, promise)?;
    let etag = hash::multipart_etag(chosen.iter().map(|part| part.etag.digest));
    let checksum = expected.of_object(chosen.iter().map(|part| (part.checksum.as_ref(), part.bytes)));
    check_checksum(expected, checksum.as_ref(), chosen.len(), promise)?;
    Ok(Assembly { parts: chosen.iter().map(|part| (part.number, part.etag)).collect(), etag, checksum })
}

fn find<'a>(upload_id: &str, named: &NamedPart, stored: &'a [Part]) -> Result<&'a Part, S3Error> {
    let invalid = || {
        S3Error::new(Code::InvalidPart)
            .with_field("UploadId", upload_id)
            .with_field("PartNumber", named.number)
            .with_field("ETag", named.etag.trim_matches('"'))
    };
    let index = stored.binary_search_by_key(&named.number, |part| part.number).map_err(|_| invalid())?;
    let part = &stored[index];
    if ETag::parse(&named.etag) != Some(part.etag) {
        return Err(invalid());
    }
    match &named.checksum {
        Some((algorithm, value)) => match &part.checksum {
            Some(have) if have.algorithm == *algorithm && have.value == *value => Ok(part),
            Some(have) if have.algorithm == *algorithm => Err(invalid()),
            _ => Err(S3Error::new(Code::BadDigest).with_message(format!(
                "The {} you specified for part {} did not match what we received.",
                algorithm.name().to_ascii_lowercase(),
                named.number
            ))),
        },
        None => Ok(part),
    }
}

fn check_kind(expected: UploadChecksum, promise: &Promise) -> Result<(), S3Error> {
    match promise.kind {
        Some(kind) if expected.requested && kind != expected.kind => Err(S3Error::invalid_request(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same \
             checksum mode.",
            expected.kind.name()
        ))),
        _ => Ok(()),
    }
}

fn check_sizes(parts: &[&Part], promise: &Promise) -> Result<(), S3Error> {
    if let Some((_, all_but_last)) = parts.split_last()
        && let Some(small) = all_but_last.iter().find(|part| part.bytes < PART_BYTES_MIN)
    {
        return Err(S3Error::new(Code::EntityTooSmall)
            .with_field("ETag", small.etag)
            .with_field("MinSizeAllowed", PART_BYTES_MIN)
            .with_field("PartNumber", small.number)
            .with_field("ProposedSize", small.bytes));
    }
    let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    if bytes > OBJECT_BYTES_MAX {
        return Err(S3Error::new(Code::EntityTooLarge)
            .with_field("ProposedSize", bytes)
            .with_field("MaxSizeAllowed", OBJECT_BYTES_MAX));
    }
    match promise.bytes {
        Some(promised) if promised != bytes => Err(S3Error::invalid_request(format!(
            "The provided 'x-amz-mp-object-size' header value {promised} does not match what was computed: \
             {bytes}"
        ))),
        _ => Ok(()),
    }
}

/// A promised checksum that an upload without an algorithm of its own cannot be held against is ignored, as
/// AWS does.
fn check_checksum(
    expected: UploadChecksum,
    computed: Option<&Checksum>,
    parts: usize,
    promise: &Promise,
) -> Result<(), S3Error> {
    let Some(promised) = &promise.checksum else { return Ok(()) };
    let algorithm = computed.map_or(expected.algorithm, |computed| computed.algorithm);
    if promised.algorithm != algorithm {
        return match expected.requested {
            false => Ok(()),
            true => Err(S3Error::invalid_request(format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                expected.algorithm.name().to_ascii_lowercase(),
                promised.algorithm.name().to_ascii_lowercase()
            ))),
        };
    }
    let fits = match computed {
        Some(computed) => {
            let count_fits = match computed.kind {
                ChecksumKind::Composite => promised.parts.is_none_or(|count| count == parts),
                ChecksumKind::FullObject => promised.parts.is_none(),
            };
            count_fits && computed.value == promised.value
        }
        None => !expected.requested,
    };
    if fits {
        return Ok(());
    }
    Err(no_checksum(promised.algorithm))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn stored(number: u16, bytes: u64, algorithm: Option<ChecksumAlgorithm>) -> Part {
        let checksum = algorithm.map(|algorithm| Checksum {
            algorithm,
            kind: ChecksumKind::FullObject,
            value: vec![number as u8; algorithm.length()],
        });
        Part {
            number,
            bytes,
            etag: ETag::of_md5([number as u8; 16]),
            checksum,
            modified: 0,
            note: Vec::new(),
        }
    }

    fn named(part: &Part) -> NamedPart {
        let checksum = part.checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.value.clone()));
        NamedPart { number: part.number, etag: format!("\"{}\"", part.etag), checksum }
    }

    fn chosen(algorithm: Option<&str>, kind: Option<&str>) -> UploadChecksum {
        UploadChecksum::choose(algorithm, kind).unwrap()
    }

    fn refusal(result: Result<Assembly, S3Error>) -> Code {
        result.unwrap_err().code
    }

    fn document(parts: &str) -> Vec<u8> {
        let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
        format!("<CompleteMultipartUpload xmlns=\"{namespace}\">{parts}</CompleteMultipartUpload>")
            .into_bytes()
    }

    #[test]
    fn a_request_document_is_read_with_quotes_and_checksums() {
        let parts = parse(&document(
            "<Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part>\
             <Part><ETag> b </ETag><ChecksumCRC32>AAAAAQ==</ChecksumCRC32><PartNumber>7</PartNumber></Part>",
        ))
        .unwrap();
        assert_eq!(parts[0], NamedPart { number: 1, etag: "\"a\"".to_owned(), checksum: None });
        let checksum = Some((ChecksumAlgorithm::Crc32, vec![0, 0, 0, 1]));
        assert_eq!(parts[1], NamedPart { number: 7, etag: "b".to_owned(), checksum });
    }

    #[test]
    fn documents_that_name_no_parts_or_disordered_ones_are_refused() {
        let part = |number: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>a</ETag></Part>");
        for (parts, code) in [
            (String::new(), Code::MalformedXML),
            ("<Part><PartNumber>1</PartNumber></Part>".to_owned(), Code::MalformedXML),
            ("<Part><ETag>a</ETag></Part>".to_owned(), Code::MalformedXML),
            (part("one"), Code::MalformedXML),
            (part("0"), Code::InvalidArgument),
            (part("-3"), Code::InvalidArgument),
            (part("10001"), Code::InvalidArgument),
            (part("2") + &part("1"), Code::InvalidPartOrder),
            (part("1") + &part("2") + &part("1"), Code::InvalidPartOrder),
            (
                "<Part><PartNumber>1</PartNumber><ETag>a</ETag><ChecksumCRC32>bad</ChecksumCRC32></Part>"
                    .to_owned(),
                Code::InvalidArgument,
            ),
            (
                "<Part><PartNumber>1</PartNumber><ETag>a</ETag><ChecksumCRC32>AAAAAQ==</ChecksumCRC32>\
                 <ChecksumCRC32C>AAAAAQ==</ChecksumCRC32C></Part>"
                    .to_owned(),
                Code::InvalidArgument,
            ),
        ] {
            assert_eq!(parse(&document(&parts)).unwrap_err().code, code, "{parts}");
        }
        assert_eq!(parse(b"<Other/>").unwrap_err().code, Code::MalformedXML);
    }

    #[test]
    fn of_a_part_that_is_named_again_the_last_entry_counts() {
        let part = |number: u16, etag: &str| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        let parts = part(1, "a") + &part(2, "b") + &part(2, "c") + &part(2, "d") + &part(3, "e");
        let parsed = parse(&document(&parts)).unwrap();
        let named: Vec<_> = parsed.iter().map(|part| (part.number, part.etag.as_str())).collect();
        assert_eq!(named, [(1, "a"), (2, "d"), (3, "e")]);
    }

    #[test]
    fn an_object_gets_the_etag_of_its_named_parts_only() {
        let stored: Vec<_> = (1..=3).map(|number| stored(number, 5 * MIB, None)).collect();
        let named = [named(&stored[0]), named(&stored[2])];
        let assembly = assemble("id", chosen(None, None), &named, &stored, &Promise::default()).unwrap();
        assert_eq!(assembly.etag, hash::multipart_etag([[1; 16], [3; 16]]));
        assert_eq!(assembly.parts, [(1, stored[0].etag), (3, stored[2].etag)]);
        assert_eq!(assembly.checksum, None);
    }

    #[test]
    fn parts_that_are_missing_or_others_are_invalid() {
        let have = [stored(1, 5 * MIB, None)];
        let refused = |part: NamedPart| {
            let error = assemble("id", chosen(None, None), &[part], &have, &Promise::default()).unwrap_err();
            assert!(error.fields.contains(&("UploadId", "id".to_owned())));
            error.code
        };
        assert_eq!(refused(NamedPart { number: 2, ..named(&have[0]) }), Code::InvalidPart);
        assert_eq!(
            refused(NamedPart { etag: "invalidETag".to_owned(), ..named(&have[0]) }),
            Code::InvalidPart
        );
        assert_eq!(refused(NamedPart { etag: "0".repeat(32), ..named(&have[0]) }), Code::InvalidPart);
    }

    #[test]
    fn only_the_last_part_may_be_small() {
        let have = [stored(1, 5 * MIB, None), stored(2, 5 * MIB - 1, None), stored(3, 0, None)];
        let all: Vec<_> = have.iter().map(named).collect();
        let expected = chosen(None, None);
        let error = assemble("id", expected, &all, &have, &Promise::default()).unwrap_err();
        assert_eq!(error.code, Code::EntityTooSmall);
        assert!(error.fields.contains(&("PartNumber", "2".to_owned())));
        assert!(error.fields.contains(&("ProposedSize", (5 * MIB - 1).to_string())));
        assert!(assemble("id", expected, &all[..2], &have, &Promise::default()).is_ok());
    }

    #[test]
    fn checksums_of_parts_need_not_be_given_but_must_fit() {
        let sha1 = Some(ChecksumAlgorithm::Sha1);
        let have = [stored(1, 5 * MIB, sha1), stored(2, 1, sha1)];
        let expected = chosen(Some("SHA1"), None);
        let all: Vec<_> = have.iter().map(named).collect();
        let assembly = assemble("id", expected, &all, &have, &Promise::default()).unwrap();
        assert_eq!(
            assembly.checksum.unwrap().value,
            hash::composite(ChecksumAlgorithm::Sha1, [[1; 20], [2; 20]])
        );

        let with = |checksum| [NamedPart { checksum, ..all[0].clone() }, all[1].clone()];
        let result = |named: &[NamedPart]| assemble("id", expected, named, &have, &Promise::default());
        assert_eq!(result(&with(None)), result(&all));
        assert_eq!(refusal(result(&with(Some((ChecksumAlgorithm::Sha1, vec![9; 20]))))), Code::InvalidPart);
        assert_eq!(refusal(result(&with(Some((ChecksumAlgorithm::Crc32, vec![9; 4]))))), Code::BadDigest);
    }

    #[test]
    fn a_promised_checksum_must_be_the_computed_one() {
        let sha1 = Some(ChecksumAlgorithm::Sha1);
        let have = [stored(1, 5 * MIB, sha1), stored(2, 1, sha1)];
        let all: Vec<_> = have.iter().map(named).collect();
        let value = hash::composite(ChecksumAlgorithm::Sha1, [[1; 20], [2; 20]]);
        let promised = |text: &str, header: &'static str| {
            let text = text.to_owned();
            let promise = Promise::read(|name| (name == header).then_some(text.as_str())).unwrap();
            assemble("id", chosen(Some("SHA1"), None), &all, &have, &promise)
        };
        let base64 = hash::base64_encode(&value);
        assert!(promised(&format!("{base64}-2"), "x-amz-checksum-sha1").is_ok());
        assert!(promised(&base64, "x-amz-checksum-sha1").is_ok());
        assert_eq!(refusal(promised(&format!("{base64}-3"), "x-amz-checksum-sha1")), Code::BadDigest);
        let part = hash::base64_encode(&[1; 20]);
        assert_eq!(refusal(promised(&part, "x-amz-checksum-sha1")), Code::BadDigest);
        assert_eq!(refusal(promised("AAAAAQ==", "x-amz-checksum-crc32")), Code::InvalidRequest);
        assert_eq!(refusal(promised("FULL_OBJECT", "x-amz-checksum-type")), Code::InvalidRequest);
        assert!(promised("composite", "x-amz-checksum-type").is_ok());
        assert_eq!(refusal(promised("7", "x-amz-mp-object-size")), Code::InvalidRequest);
        assert!(promised(&(5 * MIB + 1).to_string(), "x-amz-mp-object-size").is_ok());
    }

    #[test]
    fn promises_that_cannot_be_read_are_refused() {
        let code =
            |header, text| Promise::read(|name| (name == header).then_some(text)).map_err(|error| error.code);
        for text in ["invalid", "AAAAAQ==-smth", "AAAAAQ==-", "AAAAAQ==--3", "AAAAAQ==-10-20"] {
            assert_eq!(code("x-amz-checksum-crc32", text), Err(Code::BadDigest), "{text}");
        }
        assert_eq!(code("x-amz-checksum-type", "WHOLE"), Err(Code::InvalidRequest));
        for text in ["-1", "1k"] {
            assert_eq!(code("x-amz-mp-object-size", text), Err(Code::InvalidRequest), "{text}");
        }
        let both = Promise::read(|name| name.starts_with("x-amz-checksum-crc32").then_some("AAAAAQ=="));
        assert_eq!(both.unwrap_err().code, Code::InvalidRequest);
    }
}
