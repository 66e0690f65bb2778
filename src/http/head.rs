//! Request heads.

/// A parsed request head, owned: names, values and target as they were sent.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// As sent, upper case by convention: `GET`, `PUT`, …
    pub method: String,
    /// Request target before `?`, still percent-encoded; always starts with `/` (an absolute-form target is
    /// reduced to its path, its authority replaces `host`).
    pub path: String,
    /// What follows `?`, without it; `None` if there was no `?`.
    pub query: Option<String>,
    /// Names in lower case, values trimmed of surrounding white space, in the order sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub version_minor: u8,
}

impl Head {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_slice())
    }

    /// The first header of that (lower-case) name, if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All headers of that (lower-case) name, in order.
    pub fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_slice())
    }
}
