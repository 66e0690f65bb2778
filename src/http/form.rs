//! `multipart/form-data` as browsers post it to S3: small fields first, then one file, which streams.
//!
//! Sources: RFC 7578 and RFC 2046, section 5.1; AWS, "POST Object", for the rules that the file comes last and
//! that all before it is small.

use std::fmt;

use memchr::memmem::Finder;

use crate::base::limits::{FORM_BOUNDARY_BYTES_MAX, FORM_BYTES_MAX, FORM_FIELDS_MAX};

/// Why a form is refused. Its end is unknown then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormError {
    /// It is no `multipart/form-data`; the text says why.
    Malformed(&'static str),
    /// What precedes the file has more than [`FORM_BYTES_MAX`] bytes or [`FORM_FIELDS_MAX`] fields.
    TooLarge,
}

/// What separates the parts of a form.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// CR LF, two hyphens and the boundary parameter.
    delimiter: Finder<'static>,
}

/// Where the content at hand ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// So many bytes are certainly content.
    pub bytes: usize,
    pub end: ContentEnd,
}

/// What follows content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEnd {
    /// Bytes that may be the beginning of a delimiter, or none: to be looked at again together with what comes.
    Unknown,
    /// A delimiter, and after so many bytes in all the next part.
    Part(usize),
    /// The delimiter that closes the form.
    Close,
}

/// What stands behind a delimiter.
enum Ending {
    Part,
    Close,
    Unknown,
    /// It was no delimiter.
    None,
}

impl Boundary {
    /// Reads the boundary of a `Content-Type` of `multipart/form-data`; `None` if it is another type.
    pub fn of_content_type(value: &[u8]) -> Option<Result<Self, FormError>> {
        let text = String::from_utf8_lossy(value);
        let (kind, parameters) = text.split_once(';').unwrap_or((&text, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, "boundary");
        Some(match boundary {
            Some(boundary) if is_boundary(&boundary) => Ok(Self::new(&boundary)),
            _ => Err(FormError::Malformed("the Content-Type has no valid boundary")),
        })
    }

    fn new(boundary: &str) -> Self {
        Self { delimiter: Finder::new(&format!("\r\n--{boundary}")).into_owned() }
    }

    /// Finds the end of the content that begins at the start of `bytes`.
    pub fn find_end(&self, bytes: &[u8]) -> Content {
        let delimiter = self.delimiter.needle();
        let mut from = 0;
        while let Some(offset) = self.delimiter.find(&bytes[from..]) {
            let start = from + offset;
            let behind = start + delimiter.len();
            match ending(&bytes[behind..]) {
                Ending::Part => return Content { bytes: start, end: ContentEnd::Part(behind + 2) },
                Ending::Close => return Content { bytes: start, end: ContentEnd::Close },
                Ending::Unknown => return Content { bytes: start, end: ContentEnd::Unknown },
                Ending::None => from = start + 1,
            }
        }
        let longest = delimiter.len().min(bytes.len() - from);
        let held = (1..=longest).rev().find(|length| bytes.ends_with(&delimiter[..*length]));
        Content { bytes: bytes.len() - held.unwrap_or(0), end: ContentEnd::Unknown }
    }
}

fn ending(bytes: &[u8]) -> Ending {
    match bytes {
        [b'\r', b'\n', ..] => Ending::Part,
        [b'-', b'-', ..] => Ending::Close,
        [] | [b'\r' | b'-'] => Ending::Unknown,
        _ => Ending::None,
    }
}

/// RFC 2046, section 5.1.1: one to seventy characters of a short list, no space at the end.
fn is_boundary(text: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    (1..=FORM_BOUNDARY_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_valid) && !text.ends_with(' ')
}

/// A field of the form. `Debug` prints its name: its value may be a signature or a customer's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// As sent; S3 compares names without regard to case.
    pub name: String,
    pub value: String,
}

impl fmt::Debug for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Field").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a form says before its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// In the order sent. Fields behind the file are never seen.
    pub fields: Vec<Field>,
    /// `None` if the form ends without a file.
    pub file: Option<File>,
}

impl Form {
    /// The first field of that name, in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| field.value.as_str())
    }
}

/// The head of the file's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// As sent: it may be a path.
    pub name: Option<String>,
}

/// Reads the fields before the file from a growing run of bytes, looking at each part once.
#[derive(Debug)]
pub struct FormParser {
    boundary: Boundary,
    /// Bytes of parts that have been read.
    at: usize,
    form: Form,
}

impl FormParser {
    pub fn new(boundary: Boundary) -> Self {
        Self { boundary, at: 0, form: Form::default() }
    }

    pub fn boundary(&self) -> &Boundary {
        &self.boundary
    }

    /// Parses the start of `bytes`, which begin with what earlier calls were given. `None` if the file has not
    /// begun yet; otherwise the form, and how many bytes come before the file's content.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<(Form, usize)>, FormError> {
        let parsed = self.parse_parts(bytes)?;
        let end = if parsed { self.at } else { bytes.len() };
        if end > FORM_BYTES_MAX {
            return Err(FormError::TooLarge);
        }
        Ok(parsed.then(|| (std::mem::take(&mut self.form), self.at)))
    }

    /// Whether the last part before the file's content was read.
    fn parse_parts(&mut self, bytes: &[u8]) -> Result<bool, FormError> {
        if self.at == 0 && !self.parse_start(bytes)? {
            return Ok(false);
        }
        loop {
            let rest = &bytes[self.at..];
            let Some(head_bytes) = memchr::memmem::find(rest, b"\r\n\r\n") else { return Ok(false) };
            let head = PartHead::parse(&rest[..head_bytes])?;
            let content = &rest[head_bytes + 4..];
            let content_at = self.at + head_bytes + 4;
            if head.name.eq_ignore_ascii_case("file") {
                self.form.file = Some(File { name: head.file_name });
                self.at = content_at;
                return Ok(true);
            }
            let found = self.boundary.find_end(content);
            let next = match found.end {
                ContentEnd::Unknown => return Ok(false),
                ContentEnd::Part(next) => next,
                ContentEnd::Close => found.bytes,
            };
            let value = std::str::from_utf8(&content[..found.bytes])
                .map_err(|_| FormError::Malformed("a field is not UTF-8"))?;
            if self.form.fields.len() == FORM_FIELDS_MAX {
                return Err(FormError::TooLarge);
            }
            self.form.fields.push(Field { name: head.name, value: value.to_owned() });
            self.at = content_at + next;
            if found.end == ContentEnd::Close {
                return Ok(true);
            }
        }
    }

    /// Skips the first delimiter, which has no line before it.
    fn parse_start(&mut self, bytes: &[u8]) -> Result<bool, FormError> {
        let first = &self.boundary.delimiter.needle()[2..];
        let seen = bytes.len().min(first.len());
        if bytes[..seen] != first[..seen] {
            return Err(FormError::Malformed("the form does not begin with its boundary"));
        }
        if seen < first.len() {
            return Ok(false);
        }
        match ending(&bytes[first.len()..]) {
            Ending::Part => {
                self.at = first.len() + 2;
                Ok(true)
            }
            Ending::Unknown => Ok(false),
            Ending::Close | Ending::None => Err(FormError::Malformed("the form has no parts")),
        }
    }
}

/// The headers of a part that mean something.
struct PartHead {
    name: String,
    file_name: Option<String>,
}

impl PartHead {
    fn parse(head: &[u8]) -> Result<Self, FormError> {
        let text =
            std::str::from_utf8(head).map_err(|_| FormError::Malformed("a part's head is not UTF-8"))?;
        let disposition = text
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
            .map(|(_, value)| value.trim())
            .ok_or(FormError::Malformed("a part has no Content-Disposition"))?;
        let (kind, parameters) = disposition.split_once(';').unwrap_or((disposition, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(FormError::Malformed("a part's disposition is not form-data"));
        }
        let name = parameter(parameters, "name").ok_or(FormError::Malformed("a part has no name"))?;
        Ok(Self { name, file_name: parameter(parameters, "filename") })
    }
}

/// The value of a parameter in `; name=value; name="value"`. In quotes a backslash only escapes a quote:
/// some browsers send file names as Windows paths.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (name, after) = rest.split_once('=')?;
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

/// The text up to the closing quote, and what follows that.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (character, characters.peek()) {
            ('"', _) => return Some((value, &text[at + 1..])),
            ('\\', Some((_, '"'))) => {
                value.push('"');
                characters.next();
            }
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn boundary(content_type: &str) -> Option<Result<Boundary, FormError>> {
        Boundary::of_content_type(content_type.as_bytes())
    }

    fn parser() -> FormParser {
        FormParser::new(boundary("multipart/form-data; boundary=xyz").unwrap().unwrap())
    }

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.to_owned(), value: value.to_owned() }
    }

    const FORM: &str = "--xyz\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na b\r\n--x\r\n\
                        --xyz\r\ncontent-disposition:form-data;filename=\"q\";name=empty\r\n\r\n\r\n\
                        --xyz\r\nContent-Type: text/plain\r\n\
                        Content-Disposition: form-data; name=\"file\"; filename=\"C:\\d\\f \\\"1\\\".txt\"\r\n\r\n\
                        payload\r\n--xyz--\r\n";

    #[test]
    fn fields_come_before_the_file_whatever_pieces_they_arrive_in() {
        let expected = Form {
            fields: vec![field("key", "a b\r\n--x"), field("empty", "")],
            file: Some(File { name: Some("C:\\d\\f \"1\".txt".to_owned()) }),
        };
        for step in [1, 2, 7, FORM.len()] {
            let mut parser = parser();
            let mut end = 0;
            let (form, at) = loop {
                end = (end + step).min(FORM.len());
                if let Some(done) = parser.parse(&FORM.as_bytes()[..end]).unwrap() {
                    break done;
                }
            };
            assert_eq!(form, expected, "{step}");
            assert!(FORM[at..].starts_with("payload\r\n"));
        }
    }

    #[test]
    fn a_form_may_end_without_a_file() {
        let form = "--xyz\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--xyz--\r\n";
        let (form, _) = parser().parse(form.as_bytes()).unwrap().unwrap();
        assert_eq!(form, Form { fields: vec![field("key", "k")], file: None });
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for text in [
            "--xyy\r\n",
            "\r\n--xyz\r\n",
            "--xyz--\r\n",
            "--xyzz\r\n",
            "--xyz\r\nContent-Type: a/b\r\n\r\n",
            "--xyz\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n",
            "--xyz\r\nContent-Disposition: form-data; filename=\"a\"\r\n\r\n",
            "--xyz\r\nContent-Disposition: form-data; name=\"a\r\n\r\n",
        ] {
            assert!(matches!(parser().parse(text.as_bytes()), Err(FormError::Malformed(_))), "{text:?}");
        }
        let head = b"--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--xyz\r\n";
        assert!(parser().parse(head).is_err());
    }

    #[test]
    fn a_form_too_large_is_refused_before_its_file() {
        let part = "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n";
        let many = part.repeat(FORM_FIELDS_MAX + 2);
        assert_eq!(parser().parse(many.as_bytes()), Err(FormError::TooLarge));
        let long = format!("{part}--xyz\r\nX: {}", "x".repeat(FORM_BYTES_MAX));
        assert_eq!(parser().parse(long.as_bytes()), Err(FormError::TooLarge));
    }

    #[test]
    fn boundaries_are_read_from_the_content_type() {
        assert!(boundary("application/xml").is_none());
        assert!(boundary("multipart/mixed; boundary=a").is_none());
        for text in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=\"a\u{e4}\"",
            "multipart/form-data; boundary=\"a \"",
            &format!("multipart/form-data; boundary={}", "a".repeat(71)),
        ] {
            assert!(boundary(text).unwrap().is_err(), "{text}");
        }
        for text in [
            "multipart/form-data; boundary=xyz",
            "Multipart/Form-Data;charset=\"utf-8\"; BOUNDARY=\"xyz\"",
            "multipart/form-data; boundary=xyz ; charset=utf-8",
        ] {
            let found = boundary(text).unwrap().unwrap();
            assert_eq!(found.delimiter.needle(), b"\r\n--xyz", "{text}");
        }
    }

    /// All content, and whether the form was closed, read in pieces of the given lengths.
    fn streamed(body: &[u8], pieces: &[usize]) -> (Vec<u8>, Option<ContentEnd>) {
        let boundary = boundary("multipart/form-data; boundary=xyz").unwrap().unwrap();
        let (mut raw, mut content) = (Vec::new(), Vec::new());
        let mut at = 0;
        for step in pieces.iter().cycle() {
            let next = (at + step).min(body.len());
            raw.extend_from_slice(&body[at..next]);
            at = next;
            let found = boundary.find_end(&raw);
            content.extend(raw.drain(..found.bytes));
            if found.end != ContentEnd::Unknown {
                return (content, Some(found.end));
            }
            assert!(raw.len() <= "\r\n--xyz\r".len(), "only what may be a delimiter waits");
            if at == body.len() {
                break;
            }
        }
        (content, None)
    }

    proptest! {
        #[test]
        fn content_ends_at_the_first_whole_delimiter_however_it_arrives(
            content in "(a|\r|\n|-|\r\n--xy|\r\n--xyza|\r\n--xyz-a){0,12}",
            closes in any::<bool>(),
            pieces in prop::collection::vec(1usize..9, 1..5),
        ) {
            // What begins a delimiter by chance is not what this is about.
            prop_assume!(!content.contains("\r\n--xyz\r\n") && !content.contains("\r\n--xyz--"));
            let end = if closes { "\r\n--xyz--\r\n" } else { "\r\n--xyz\r\nrest" };
            let body = format!("{content}{end}");
            prop_assume!(body.find("\r\n--xyz--").or(body.find("\r\n--xyz\r\n")) == Some(content.len()));
            let (found, ending) = streamed(body.as_bytes(), &pieces);
            prop_assert_eq!(String::from_utf8(found).unwrap(), content);
            prop_assert_eq!(ending == Some(ContentEnd::Close), closes);
        }

        #[test]
        fn any_bytes_are_judged_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in "(--xyz|\r\n|Content-Disposition: form-data; |name=|\"|;|a|file){0,30}",
        ) {
            let _ = parser().parse(&bytes);
            let _ = parser().parse(text.as_bytes());
            let _ = streamed(&bytes, &[3]);
            let _ = Boundary::of_content_type(&bytes);
            let _ = parameter(&text, "name");
        }
    }
}
