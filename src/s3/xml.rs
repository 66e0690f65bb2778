//! XML as S3 writes and reads it: a writer that escapes whatever a key may hold, and a reader that is
//! bounded in size, depth and elements and refuses document types and entities.

use std::borrow::Cow;
use std::fmt::Write as _;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::base::limits::{XML_ATTRIBUTES_MAX, XML_BODY_BYTES_MAX, XML_DEPTH_MAX, XML_ELEMENTS_MAX};
use crate::http::{date, percent};
use crate::io::TimestampMs;
use crate::s3::error::{Code, S3Error};

/// Namespace of S3's documents.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writes one document.
pub struct XmlWriter {
    out: String,
    open: Vec<&'static str>,
}

impl XmlWriter {
    /// A document whose root element is in S3's namespace.
    pub fn document(root: &'static str) -> Self {
        let mut writer = Self { out: String::with_capacity(512), open: vec![root] };
        let _ = write!(writer.out, "{DECLARATION}<{root} xmlns=\"{NAMESPACE}\">");
        writer
    }

    /// A document without a namespace: errors.
    pub fn document_plain(root: &'static str) -> Self {
        let mut writer = Self { out: String::with_capacity(512), open: Vec::new() };
        writer.out.push_str(DECLARATION);
        writer.open(root);
        writer
    }

    /// Opens an element.
    pub fn open(&mut self, name: &'static str) {
        self.tag("<", name, ">");
        self.open.push(name);
    }

    /// Opens an element whose `xsi:type` is `kind`, as S3 writes grantees.
    pub fn open_typed(&mut self, name: &'static str, kind: &str) {
        let instance = "http://www.w3.org/2001/XMLSchema-instance";
        let _ = write!(self.out, "<{name} xmlns:xsi=\"{instance}\" xsi:type=\"{kind}\">");
        self.open.push(name);
    }

    /// Closes the innermost open element. Panics if there is none.
    pub fn close(&mut self) {
        let name = self.open.pop().expect("an element is open");
        self.tag("</", name, ">");
    }

    /// An element that holds text only.
    pub fn text(&mut self, name: &str, value: &str) {
        self.tag("<", name, ">");
        escape(&mut self.out, value);
        self.tag("</", name, ">");
    }

    /// Text directly inside the innermost open element.
    pub fn characters(&mut self, value: &str) {
        escape(&mut self.out, value);
    }

    /// An element that holds a number, a truth value or another plain word.
    pub fn value(&mut self, name: &str, value: impl std::fmt::Display) {
        self.tag("<", name, ">");
        self.plain(value);
        self.tag("</", name, ">");
    }

    /// Well-formed markup, as it is. Listings write thousands of tags, and one copy of a known length costs less than
    /// three of lengths that are not.
    pub fn markup(&mut self, markup: &'static str) {
        self.out.push_str(markup);
    }

    /// Room for what is about to be written: a long document that grows is copied again and again.
    pub fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    /// A number, a truth value or another plain word inside the innermost open element.
    pub fn plain(&mut self, value: impl std::fmt::Display) {
        let start = self.out.len();
        let _ = write!(self.out, "{value}");
        if special(&self.out.as_bytes()[start..]).is_some() {
            let text = self.out.split_off(start);
            escape(&mut self.out, &text);
        }
    }

    /// An element without contents.
    pub fn empty(&mut self, name: &str) {
        self.tag("<", name, "/>");
    }

    /// Formatting costs several times what copying does.
    fn tag(&mut self, before: &str, name: &str, after: &str) {
        self.out.push_str(before);
        self.out.push_str(name);
        self.out.push_str(after);
    }

    /// Closes what is open and gives the document.
    pub fn finish(mut self) -> Vec<u8> {
        while !self.open.is_empty() {
            self.close();
        }
        self.out.into_bytes()
    }
}

/// Appends `text` so that a parser reads the same characters back. Characters that XML 1.0 does not know are
/// written as references, as AWS does: strict parsers refuse them, clients that must list such keys ask for
/// `encoding-type=url`.
fn escape(out: &mut String, text: &str) {
    // Most text has nothing to escape: it is looked at by bytes and copied in runs.
    let mut rest = text;
    while let Some(at) = special(rest.as_bytes()) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = special.chars();
        let Some(character) = characters.next() else { return };
        escape_character(out, character);
        rest = characters.as_str();
    }
    out.push_str(rest);
}

/// Where the first byte stands that [`may_need_escape`]. Sixteen are looked at together, without a branch between
/// them, so that they are compared in a vector.
fn special(bytes: &[u8]) -> Option<usize> {
    let (runs, _) = bytes.as_chunks::<16>();
    let any = |run: &[u8; 16]| run.iter().fold(false, |any, byte| any | may_need_escape(*byte));
    let start = runs.iter().position(any).unwrap_or(runs.len()) * 16;
    bytes[start..].iter().position(|byte| may_need_escape(*byte)).map(|at| start + at)
}

/// Whether a byte may begin a character that [`escape_character`] changes. The first byte of U+FFFE and
/// U+FFFF begins others too.
fn may_need_escape(byte: u8) -> bool {
    (byte <= 0x1f) | (byte == b'<') | (byte == b'>') | (byte == b'&') | (byte == b'"') | (byte == 0xef)
}

fn escape_character(out: &mut String, character: char) {
    match character {
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        '"' => out.push_str("&quot;"),
        '\r' => out.push_str("&#13;"),
        '\t' | '\n' => out.push(character),
        '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
            let _ = write!(out, "&#x{:x};", character as u32);
        }
        _ => out.push(character),
    }
}

/// An element of a request document: local name, text and children. Namespaces and attributes are not kept,
/// except `xsi:type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    /// Text directly inside, entities resolved, all runs joined.
    pub text: String,
    /// Value of an attribute with local name `type`.
    pub kind: Option<String>,
    pub children: Vec<Element>,
}

impl Element {
    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of that name.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Text of the first child of that name.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

/// Reads a document whose root element has the local name `root`; anything else is `MalformedXML`.
pub fn parse(document: &[u8], root: &str) -> Result<Element, S3Error> {
    if document.len() > XML_BODY_BYTES_MAX {
        return Err(Code::MaxMessageLengthExceeded.into());
    }
    read(document).filter(|element| element.name == root).ok_or_else(|| Code::MalformedXML.into())
}

fn read(document: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(document).ok()?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                elements += 1;
                if root.is_some() || open.len() >= XML_DEPTH_MAX || elements > XML_ELEMENTS_MAX {
                    return None;
                }
                open.push(element(&start)?);
            }
            Event::Empty(start) => {
                elements += 1;
                if root.is_some() || open.len() >= XML_DEPTH_MAX || elements > XML_ELEMENTS_MAX {
                    return None;
                }
                let element = element(&start)?;
                place(element, &mut open, &mut root);
            }
            Event::End(_) => {
                let element = open.pop()?;
                place(element, &mut open, &mut root);
            }
            Event::Text(run) => match open.last_mut() {
                Some(element) => element.text.push_str(&run.xml10_content()),
                None if run.trim().is_empty() => {}
                None => return None,
            },
            Event::CData(run) => open.last_mut()?.text.push_str(&run),
            Event::GeneralRef(name) => open.last_mut()?.text.push(character(&name)?),
            Event::DocType(_) => return None,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return if open.is_empty() { root } else { None },
        }
    }
}

fn place(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn element(start: &BytesStart<'_>) -> Option<Element> {
    let mut kind = None;
    for (number, attribute) in start.attributes().enumerate() {
        let attribute = attribute.ok().filter(|_| number < XML_ATTRIBUTES_MAX)?;
        if AsRef::<str>::as_ref(&attribute.key.local_name()) == "type" {
            kind = Some(attribute.value.clone().into_owned());
        }
    }
    let name = AsRef::<str>::as_ref(&start.local_name()).to_owned();
    Some(Element { name, text: String::new(), kind, children: Vec::new() })
}

/// The character of a reference: the five predefined entities and numbers.
fn character(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

/// A time as S3's documents write it: `2009-10-12T17:50:30.000Z`. Milliseconds are always zero, as at AWS, so
/// that a listing and `Last-Modified` agree.
pub fn timestamp(time: TimestampMs) -> String {
    date::iso8601(time / 1000 * 1000)
}

/// Text of a listing as `encoding-type=url` asks for it, or as it is.
pub fn listed(text: &str, url_encoded: bool) -> Cow<'_, str> {
    if url_encoded { percent::encode_listing(text.as_bytes()).into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_delete_request_is_read_with_any_prefix_comments_and_cdata() {
        let document = b"<?xml version=\"1.0\"?><!-- c --><s3:Delete xmlns:s3=\"urn:x\"><s3:Object>\n\
            <s3:Key>a&amp;b&#x20;<![CDATA[<c>]]></s3:Key></s3:Object><Quiet>true</Quiet></s3:Delete>";
        let delete = parse(document, "Delete").unwrap();
        assert_eq!(delete.child("Object").unwrap().child_text("Key"), Some("a&b <c>"));
        assert_eq!(delete.child_text("Quiet"), Some("true"));
    }

    #[test]
    fn hostile_documents_are_malformed() {
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        let wide = format!("<a>{}</a>", "<b/>".repeat(XML_ELEMENTS_MAX));
        let attributes = |count| (0..count).map(|number| format!(" b{number}=''")).collect::<String>();
        assert!(parse(format!("<a{}/>", attributes(XML_ATTRIBUTES_MAX)).as_bytes(), "a").is_ok());
        let attributed = format!("<a{}/>", attributes(XML_ATTRIBUTES_MAX + 1));
        for document in [
            "",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><a/>",
            "text",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<a>&x;</a>",
            "<a>&#xd800;</a>",
            "<b/>",
            &deep,
            &wide,
            &attributed,
        ] {
            let error = parse(document.as_bytes(), "a").unwrap_err();
            assert_eq!(error.code, Code::MalformedXML, "{document:.60}");
        }
        assert_eq!(parse(b"<a>\xff</a>", "a").unwrap_err().code, Code::MalformedXML);
    }

    #[test]
    fn a_time_is_written_as_aws_does() {
        assert_eq!(timestamp(1_255_369_830_123), "2009-10-12T17:50:30.000Z");
    }

    #[test]
    fn a_listed_key_is_encoded_when_asked() {
        assert_eq!(listed("a b/\u{e4}\u{1}+", true), "a%20b/%C3%A4%01%2B");
        assert_eq!(listed("a b", false), "a b");
    }

    proptest! {
        #[test]
        fn any_text_reads_back_as_written(text in any::<String>()) {
            let mut writer = XmlWriter::document("Root");
            writer.open("Child");
            writer.text("Key", &text);
            let root = parse(&writer.finish(), "Root").unwrap();
            prop_assert_eq!(root.child("Child").unwrap().child_text("Key").unwrap(), text);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, "a");
        }
    }
}
