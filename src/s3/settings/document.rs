//! Request documents against their schema: which elements may stand where, how often, and what words and
//! numbers they hold. Whatever AWS's schema does not know is `MalformedXML`.

use std::str::FromStr;

use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, Element, XmlWriter};

/// A setting of a bucket that is an XML document. What is stored is what [`Document::render`] writes, and
/// that is also what a GET answers.
pub trait Document: Sized {
    /// Name of the setting: the sub-resource's.
    const NAME: &'static str;
    /// Local name of the root element.
    const ROOT: &'static str;

    /// Reads and validates what a client sent, or what was stored.
    fn read(root: &Element) -> Result<Self, S3Error>;

    /// Writes the children of the root element.
    fn write(&self, xml: &mut XmlWriter);

    /// Reads a document in text form.
    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        Self::read(&xml::parse(document, Self::ROOT)?)
    }

    /// The canonical text form.
    fn render(&self) -> Vec<u8> {
        let mut xml = XmlWriter::document(Self::ROOT);
        self.write(&mut xml);
        xml.finish()
    }
}

/// `MalformedXML`.
pub fn malformed() -> S3Error {
    Code::MalformedXML.into()
}

/// The children of an element, once it is known that the schema has them all.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    element: &'a Element,
}

impl<'a> Fields<'a> {
    /// Refuses children beside those of `names`, and text between them.
    pub fn of(element: &'a Element, names: &[&str]) -> Result<Self, S3Error> {
        let is_known = |child: &Element| names.contains(&child.name.as_str());
        if element.children.iter().all(is_known) && element.text.trim().is_empty() {
            Ok(Self { element })
        } else {
            Err(malformed())
        }
    }

    /// A child that may stand there once.
    pub fn once(self, name: &str) -> Result<Option<&'a Element>, S3Error> {
        let mut children = self.element.children.iter().filter(|child| child.name == name);
        match (children.next(), children.next()) {
            (child, None) => Ok(child),
            _ => Err(malformed()),
        }
    }

    /// A child that must stand there once.
    pub fn required(self, name: &str) -> Result<&'a Element, S3Error> {
        self.once(name)?.ok_or_else(malformed)
    }

    /// All children of that name.
    pub fn all(self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.element.children_named(name)
    }

    /// Text of a child that may stand there once.
    pub fn text(self, name: &str) -> Result<Option<&'a str>, S3Error> {
        self.once(name)?.map(text).transpose()
    }

    /// Texts of all children of that name.
    pub fn texts(self, name: &'a str) -> Result<Vec<String>, S3Error> {
        self.all(name).map(|child| text(child).map(str::to_owned)).collect()
    }

    /// A number or another value that may stand there once.
    pub fn value<T: FromStr>(self, name: &str) -> Result<Option<T>, S3Error> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => text.trim().parse().map(Some).map_err(|_| malformed()),
        }
    }

    /// One of some words; their case matters.
    pub fn word<T: Copy>(self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, S3Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let meant = words.iter().find(|(word, _)| *word == text.trim());
        meant.map(|(_, value)| Some(*value)).ok_or_else(malformed)
    }

    /// A truth value. SDKs write it in lower case, older tools as `TRUE` and `FALSE`.
    pub fn truth(self, name: &str) -> Result<Option<bool>, S3Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(malformed()),
        }
    }
}

/// Text of an element that has no children.
pub fn text(element: &Element) -> Result<&str, S3Error> {
    if element.children.is_empty() { Ok(&element.text) } else { Err(malformed()) }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The code that refuses a document whose root element holds `inside`.
    pub fn refusal<D: Document>(inside: &str) -> (Code, String) {
        match read::<D>(inside) {
            Ok(_) => panic!("{}: {inside} is accepted", D::ROOT),
            Err(error) => (error.code, error.message.into_owned()),
        }
    }

    /// Reads a document whose root element holds `inside`.
    pub fn read<D: Document>(inside: &str) -> Result<D, S3Error> {
        D::parse(format!("<{root}>{inside}</{root}>", root = D::ROOT).as_bytes())
    }

    /// Asserts that what a document is written as reads and writes itself again.
    pub fn assert_fixed_point<D: Document>(document: &D) {
        let rendered = document.render();
        let again = D::parse(&rendered).unwrap_or_else(|error| {
            panic!("{}: {error:?}", String::from_utf8_lossy(&rendered));
        });
        assert_eq!(String::from_utf8(again.render()), String::from_utf8(rendered));
    }

    #[test]
    fn what_the_schema_does_not_know_is_malformed() {
        let root = xml::parse(b"<R><A>1</A><A>2</A><B><C/></B> <D>x</D></R>", "R").unwrap();
        assert!(Fields::of(&root, &["A", "B"]).is_err());
        let fields = Fields::of(&root, &["A", "B", "D"]).unwrap();
        assert!(fields.once("A").is_err());
        assert_eq!(fields.texts("A").unwrap(), ["1", "2"]);
        assert!(fields.text("B").is_err());
        assert!(fields.required("E").is_err());
        assert!(fields.value::<u32>("D").is_err());
        assert!(fields.truth("D").is_err());
        assert_eq!(fields.word("D", &[("x", 7)]).unwrap(), Some(7));
        assert!(fields.word("D", &[("X", 7)]).is_err());
        let text = xml::parse(b"<R>text<A/></R>", "R").unwrap();
        assert!(Fields::of(&text, &["A"]).is_err());
    }
}
