//! Sets of tags: as the header `x-amz-tagging` and as the document `Tagging`, of objects and of buckets.
//!
//! Source: AWS, "Categorizing your storage using tags" for objects, "User-defined tag restrictions" for what a
//! tag may hold, and the pages of PutObjectTagging and PutBucketTagging.

use crate::base::limits::{
    BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, TAG_KEY_CHARACTERS_MAX, TAG_VALUE_CHARACTERS_MAX,
};
use crate::engine::Headers;
use crate::http::{Query, percent};
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;
use crate::s3::xml::{self, Element, XmlWriter};

/// The header that gives an object its tags as it is written.
pub const HEADER: &str = "x-amz-tagging";

/// Where an object keeps its tags among its headers; no header of HTTP can have this name.
const STORED: &str = ":tags";

/// What is tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagged {
    Object,
    Bucket,
}

/// Tags in the order of their keys, each key once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagSet {
    tags: Vec<(String, String)>,
}

impl TagSet {
    /// Reads `x-amz-tagging`: the tags as a query, `key=value&key=value`. `None` if the request lacks it.
    pub fn of_header(request: &Request) -> Result<Option<Self>, S3Error> {
        let Some(text) = request.header(HEADER)? else { return Ok(None) };
        let malformed = || {
            let message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query \
                           parameters without tag name duplicates.";
            S3Error::invalid_argument(message, HEADER, text)
        };
        let mut tags = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if value.contains('=') {
                return Err(malformed());
            }
            let tag = (decode(key).ok_or_else(malformed)?, decode(value).ok_or_else(malformed)?);
            tags.push(tag);
        }
        if tags.len() > OBJECT_TAGS_MAX {
            return Err(S3Error::new(Code::BadRequest).with_message(too_many(Tagged::Object)));
        }
        tags.sort();
        if has_duplicate(&tags) {
            return Err(malformed());
        }
        tags.iter().try_for_each(check)?;
        Ok(Some(Self { tags }))
    }

    /// Reads the document `Tagging`.
    pub fn of_document(document: &[u8], tagged: Tagged) -> Result<Self, S3Error> {
        let tagging = xml::parse(document, "Tagging")?;
        match &tagging.children[..] {
            [set] if set.name == "TagSet" => Self::of_set(set, tagged),
            _ => Err(Code::MalformedXML.into()),
        }
    }

    /// Reads the element that holds the tags: `TagSet`, or `Tags` of CreateBucket.
    pub fn of_set(set: &Element, tagged: Tagged) -> Result<Self, S3Error> {
        let mut tags = Vec::with_capacity(set.children.len().min(BUCKET_TAGS_MAX));
        for tag in &set.children {
            match (tag.name.as_str(), tag.child_text("Key"), tag.child_text("Value")) {
                ("Tag", Some(key), Some(value)) if tag.children.len() == 2 => {
                    tags.push((key.to_owned(), value.to_owned()));
                }
                _ => return Err(Code::MalformedXML.into()),
            }
        }
        let tags_max = match tagged {
            Tagged::Object => OBJECT_TAGS_MAX,
            Tagged::Bucket => BUCKET_TAGS_MAX,
        };
        if tags.len() > tags_max {
            return Err(invalid(too_many(tagged)));
        }
        tags.sort();
        if has_duplicate(&tags) {
            return Err(invalid("Cannot provide multiple Tags with the same key"));
        }
        tags.iter().try_for_each(check)?;
        Ok(Self { tags })
    }

    /// Writes the document `Tagging`, which GetObjectTagging and GetBucketTagging answer.
    pub fn document(&self) -> XmlWriter {
        let mut xml = XmlWriter::document("Tagging");
        self.write(&mut xml);
        xml
    }

    /// Writes `TagSet`.
    pub fn write(&self, xml: &mut XmlWriter) {
        xml.open("TagSet");
        for (key, value) in &self.tags {
            xml.open("Tag");
            xml.text("Key", key);
            xml.text("Value", value);
            xml.close();
        }
        xml.close();
    }

    /// Puts the tags among the headers that an object keeps; none leave no trace.
    pub fn store(&self, headers: &mut Headers) {
        headers.retain(|(name, _)| name != STORED);
        headers.extend(self.stored());
    }

    /// The tags as a header that an object keeps; `None` if there are none.
    pub fn stored(&self) -> Option<(String, Vec<u8>)> {
        let mut text = Vec::new();
        for (key, value) in &self.tags {
            if !text.is_empty() {
                text.push(b'&');
            }
            percent::encode_to(&mut text, key.as_bytes());
            text.push(b'=');
            percent::encode_to(&mut text, value.as_bytes());
        }
        (!text.is_empty()).then(|| (STORED.to_owned(), text))
    }

    /// Name of what [`TagSet::stored`] makes, for those who remove it.
    pub fn stored_name() -> &'static str {
        STORED
    }

    /// Finds what [`TagSet::store`] put among an object's headers.
    pub fn load(headers: &Headers) -> Self {
        let stored = headers.iter().find(|(name, _)| name == STORED);
        let text = stored.and_then(|(_, value)| std::str::from_utf8(value).ok());
        let Some(Ok(query)) = text.map(|text| Query::parse(Some(text))) else { return Self::default() };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let tags = query.parameters().map(|(key, value)| (text(key), text(value.unwrap_or_default())));
        Self { tags: tags.collect() }
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub fn len(&self) -> usize {
        self.tags.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(percent::decode_query(text).ok()?.into_owned()).ok()
}

fn has_duplicate(sorted: &[(String, String)]) -> bool {
    sorted.windows(2).any(|pair| pair[0].0 == pair[1].0)
}

fn check((key, value): &(String, String)) -> Result<(), S3Error> {
    if key.starts_with("aws:") {
        return Err(invalid("System tags cannot be added/updated by requester"));
    }
    // AWS keeps tags in UTF-16 and counts its units.
    let fits = |text: &str, units_max: usize| {
        text.encode_utf16().count() <= units_max && text.chars().all(is_tag_character)
    };
    if key.is_empty() || !fits(key, TAG_KEY_CHARACTERS_MAX) {
        return Err(invalid("The TagKey you have provided is invalid").with_field("TagKey", key));
    }
    if !fits(value, TAG_VALUE_CHARACTERS_MAX) {
        return Err(invalid("The TagValue you have provided is invalid").with_field("TagValue", value));
    }
    Ok(())
}

fn is_tag_character(character: char) -> bool {
    character.is_alphanumeric()
        || (character.is_whitespace() && !character.is_control())
        || matches!(character, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::new(Code::InvalidTag).with_message(message)
}

fn too_many(tagged: Tagged) -> &'static str {
    const _: () = assert!(OBJECT_TAGS_MAX == 10 && BUCKET_TAGS_MAX == 50);
    match tagged {
        Tagged::Object => "Object tags cannot be greater than 10",
        Tagged::Bucket => "Bucket tag count cannot be greater than 50",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_header(value: &str) -> Result<Vec<(String, String)>, (Code, String)> {
        TagSet::of_header(&Request::for_test("PUT", "/b/k", &[(HEADER, value)]))
            .map(|set| set.unwrap().tags)
            .map_err(|error| (error.code, error.message.into_owned()))
    }

    fn of_document(tags: &[(&str, &str)], tagged: Tagged) -> Result<TagSet, Code> {
        let mut xml = XmlWriter::document_plain("Tagging");
        xml.open("TagSet");
        for (key, value) in tags {
            xml.open("Tag");
            xml.text("Key", key);
            xml.text("Value", value);
            xml.close();
        }
        TagSet::of_document(&xml.finish(), tagged).map_err(|error| error.code)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_header_is_a_query_and_comes_back_in_the_order_of_its_keys() {
        assert_eq!(of_header("foo=bar&bar").unwrap(), pairs(&[("bar", ""), ("foo", "bar")]));
        assert_eq!(of_header("a+b=c%2Bd&%C3%A4=").unwrap(), pairs(&[("a b", "c+d"), ("ä", "")]));
        assert_eq!(of_header("").unwrap(), pairs(&[]));
        assert_eq!(TagSet::of_header(&Request::for_test("PUT", "/b/k", &[])), Ok(None));
    }

    #[test]
    fn a_header_that_is_no_query_or_names_a_key_twice_is_refused() {
        for value in ["a=b=c", "a=1&a=2", "a=%zz", "%ff=a"] {
            let (code, message) = of_header(value).unwrap_err();
            assert_eq!(code, Code::InvalidArgument, "{value}");
            assert!(message.ends_with("without tag name duplicates."), "{message}");
        }
        let eleven: Vec<_> = (0..11).map(|number| format!("k{number}=v")).collect();
        let (code, message) = of_header(&eleven.join("&")).unwrap_err();
        assert_eq!((code, message.as_str()), (Code::BadRequest, "Object tags cannot be greater than 10"));
        assert_eq!(of_header("a%7B=b").unwrap_err().0, Code::InvalidTag);
    }

    #[test]
    fn tags_have_limits_of_count_and_length() {
        let keys: Vec<_> = (0..51).map(|number| format!("k{number}")).collect();
        let tags: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
        assert_eq!(of_document(&tags[..10], Tagged::Object).unwrap().len(), 10);
        assert_eq!(of_document(&tags[..11], Tagged::Object), Err(Code::InvalidTag));
        assert_eq!(of_document(&tags[..50], Tagged::Bucket).unwrap().len(), 50);
        assert_eq!(of_document(&tags, Tagged::Bucket), Err(Code::InvalidTag));

        let (key, value) = ("k".repeat(128), "v".repeat(256));
        assert!(of_document(&[(&key, &value)], Tagged::Object).is_ok());
        for (key, value) in [
            (format!("{key}k").as_str(), ""),
            ("k", format!("{value}v").as_str()),
            ("", "v"),
            ("aws:k", "v"),
            ("k{", "v"),
            ("k", "v\n"),
            // A character outside the basic plane counts twice.
            ("𝒳".repeat(65).as_str(), ""),
        ] {
            assert_eq!(of_document(&[(key, value)], Tagged::Object), Err(Code::InvalidTag), "{key} {value}");
        }
        assert_eq!(of_document(&[("a", "1"), ("a", "2")], Tagged::Object), Err(Code::InvalidTag));
    }

    #[test]
    fn a_document_of_another_shape_is_malformed() {
        for document in [
            "<Tagging/>",
            "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
            "<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>",
            "<Tagging><TagSet><Label><Key>a</Key><Value>b</Value></Label></TagSet></Tagging>",
            "<TagSet/>",
        ] {
            let error = TagSet::of_document(document.as_bytes(), Tagged::Object).unwrap_err();
            assert_eq!(error.code, Code::MalformedXML, "{document}");
        }
        let empty = TagSet::of_document(b"<Tagging><TagSet/></Tagging>", Tagged::Object).unwrap();
        assert!(empty.is_empty() && empty.stored().is_none());
    }

    proptest! {
        #[test]
        fn tags_are_read_as_they_were_stored_and_written(
            tags in proptest::collection::btree_map(
                "[a-zA-Z0-9 äß_.:/=+@-]{1,20}",
                "[a-zA-Z0-9 äß_.:/=+@-]{0,20}",
                0..10,
            ),
        ) {
            let set = TagSet { tags: tags.into_iter().collect() };
            let mut headers = vec![("content-type".to_owned(), b"a/b".to_vec())];
            set.store(&mut headers);
            prop_assert_eq!(&TagSet::load(&headers), &set);
            if !set.iter().any(|(key, _)| key.starts_with("aws:")) {
                let document = set.document().finish();
                prop_assert_eq!(&TagSet::of_document(&document, Tagged::Object).unwrap(), &set);
            }
        }
    }
}
