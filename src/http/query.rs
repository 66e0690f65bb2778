//! Queries, parsed.

use std::fmt;
use std::ops::Range;

use super::percent::{PercentError, decode_query};
use crate::base::limits::QUERY_PARAMETERS_MAX;

/// A query as an ordered list of decoded names and values. `Debug` prints the names: a presigned URL is as good as
/// a key while it lives.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// All names and values, one after the other: a presigned request has six parameters, and an allocation
    /// for each name and value was a noticeable part of a small request.
    text: Vec<u8>,
    parameters: Vec<Parameter>,
}

/// Where a parameter lies in the text.
#[derive(Clone, PartialEq, Eq)]
struct Parameter {
    name: Range<usize>,
    value: Option<Range<usize>>,
}

impl fmt::Debug for Query {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.parameters().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

/// Why a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// More than [`QUERY_PARAMETERS_MAX`] parameters.
    TooMany,
}

impl From<PercentError> for QueryError {
    fn from(_: PercentError) -> Self {
        Self::Escape
    }
}

impl Query {
    /// Parses what follows the `?` of a target.
    pub fn parse(raw: Option<&str>) -> Result<Self, QueryError> {
        let raw = raw.unwrap_or_default();
        // Decoding never lengthens.
        let mut query = Self { text: Vec::with_capacity(raw.len()), parameters: Vec::new() };
        for parameter in raw.split('&').filter(|parameter| !parameter.is_empty()) {
            if query.parameters.len() == QUERY_PARAMETERS_MAX {
                return Err(QueryError::TooMany);
            }
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (parameter, None),
            };
            let name = query.append(name)?;
            let value = value.map(|value| query.append(value)).transpose()?;
            query.parameters.push(Parameter { name, value });
        }
        Ok(query)
    }

    /// Decodes a name or value to the end of the text.
    fn append(&mut self, raw: &str) -> Result<Range<usize>, PercentError> {
        let start = self.text.len();
        self.text.extend_from_slice(&decode_query(raw)?);
        Ok(start..self.text.len())
    }

    /// All parameters in the order sent; a value is `None` where there was no `=`.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> {
        let text = |range: &Range<usize>| &self.text[range.clone()];
        self.parameters
            .iter()
            .map(move |parameter| (text(&parameter.name), parameter.value.as_ref().map(text)))
    }

    /// Whether there is a parameter of that name, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value of the first parameter of that name; empty if it has none (`?prefix&…`).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let parameter = self.parameters().find(|(have, _)| *have == name.as_bytes());
        parameter.map(|(_, value)| value.unwrap_or_default())
    }

    /// [`Query::get`], if the value is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_without_a_value_count_as_empty() {
        let query = Query::parse(Some("max-keys=1000&prefix&delimiter=%2F&marker=a+b%2Bc=d")).unwrap();
        assert_eq!(query.get("prefix"), Some(&b""[..]));
        assert_eq!(query.text("delimiter"), Some("/"));
        assert_eq!(query.text("marker"), Some("a b+c=d"));
        assert!(query.has("prefix") && !query.has("uploads"));
        assert_eq!(query.parameters().nth(1), Some((&b"prefix"[..], None)));
        assert_eq!(format!("{query:?}"), r#"["max-keys", "prefix", "delimiter", "marker"]"#);
    }

    #[test]
    fn the_first_of_several_counts_and_empty_ones_do_not() {
        let query = Query::parse(Some("&a=1&&a=2&=x")).unwrap();
        assert_eq!(query.get("a"), Some(&b"1"[..]));
        assert_eq!(query.parameters().len(), 3);
        assert_eq!(Query::parse(None).unwrap(), Query::default());
    }

    #[test]
    fn broken_and_endless_queries_are_refused() {
        assert_eq!(Query::parse(Some("a=%zz")), Err(QueryError::Escape));
        assert_eq!(Query::parse(Some("%z=a")), Err(QueryError::Escape));
        let many = "a&".repeat(QUERY_PARAMETERS_MAX + 1);
        assert_eq!(Query::parse(Some(&many)), Err(QueryError::TooMany));
    }
}
