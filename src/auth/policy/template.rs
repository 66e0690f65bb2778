//! Text of a policy that may hold policy variables and wildcards.
//!
//! Source: AWS, "IAM policy elements: variables and tags". Variables exist since version 2012-10-17; before,
//! `${` is ordinary text. What a variable stands for is never a wildcard.

use std::borrow::Cow;

use crate::auth::policy::glob::{self, Glob, Token};
use crate::auth::policy::key::ConditionKey;
use crate::auth::policy::{Attempt, Undecided, Value, Version};

/// A text that was taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    segments: Vec<Segment>,
    /// The pattern, if there are no variables.
    fixed: Option<Glob>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// Text in which `*` and `?` are wildcards.
    Pattern(String),
    /// Text without wildcards, whatever it holds.
    Literal(&'static str),
    Variable {
        key: ConditionKey,
        default: Option<String>,
    },
}

impl Template {
    /// Reads a text; the error is the variable that nobody knows.
    pub(super) fn parse(text: &str, version: Version) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut rest = text;
        if version == Version::V2012 {
            while let Some((before, after)) = rest.split_once("${") {
                let Some((variable, after)) = after.split_once('}') else { return Err(rest.to_owned()) };
                segments.extend(pattern(before));
                segments.push(variable_parse(variable).ok_or_else(|| format!("${{{variable}}}"))?);
                rest = after;
            }
        }
        segments.extend(pattern(rest));
        Ok(Self::of(segments))
    }

    fn of(segments: Vec<Segment>) -> Self {
        let is_fixed = !segments.iter().any(|segment| matches!(segment, Segment::Variable { .. }));
        let fixed = is_fixed.then(|| Glob::of(tokens(&segments, |_| Token::Many)));
        Self { segments, fixed }
    }

    /// What follows `prefix`, if it begins with that text.
    pub(super) fn after(&self, prefix: &str) -> Option<Self> {
        let (first, rest) = self.segments.split_first()?;
        let Segment::Pattern(text) = first else { return None };
        let first = pattern(text.strip_prefix(prefix)?);
        Some(Self::of(first.into_iter().chain(rest.iter().cloned()).collect()))
    }

    /// Whether `text` fits for some values of the variables.
    pub(super) fn may_match(&self, text: &str) -> bool {
        Glob::of(self.widest()).matches(text)
    }

    /// Whether a text that begins with `prefix`, and is longer, fits for some values of the variables.
    pub(super) fn may_match_under(&self, prefix: &str) -> bool {
        // The prefix is used up character by character by what may stand at the beginning; a `*` takes the
        // rest of it, and whatever follows in the pattern can follow in the text.
        let mut wanted = prefix.chars();
        let mut has_more = false;
        for token in self.widest() {
            match token {
                Token::Many => return true,
                Token::One => has_more |= wanted.next().is_none(),
                Token::Text(text) => {
                    for found in text.chars() {
                        match wanted.next() {
                            Some(wanted) if wanted != found => return false,
                            Some(_) => {}
                            None => has_more = true,
                        }
                    }
                }
            }
            if has_more {
                return true;
            }
        }
        false
    }

    /// The tokens, with `*` for every variable.
    fn widest(&self) -> impl Iterator<Item = Token<'_>> {
        tokens(&self.segments, |_| Token::Many)
    }

    /// Whether it has neither wildcards nor variables.
    pub(super) fn is_literal(&self) -> bool {
        self.widest().all(|token| matches!(token, Token::Text(_)))
    }

    pub(super) fn has_variables(&self) -> bool {
        self.fixed.is_none()
    }

    /// The pattern, with the variables filled in; `None` if one has no value.
    pub(super) fn glob(&self, attempt: &Attempt<'_>) -> Result<Option<Cow<'_, Glob>>, Undecided> {
        if let Some(fixed) = &self.fixed {
            return Ok(Some(Cow::Borrowed(fixed)));
        }
        let Some(values) = self.values(attempt)? else { return Ok(None) };
        let tokens = tokens(&self.segments, |variable| Token::Text(&values[variable]));
        Ok(Some(Cow::Owned(Glob::of(tokens))))
    }

    /// The text, with the variables filled in and wildcards as they stand; `None` if a variable has no value.
    pub(super) fn text(&self, attempt: &Attempt<'_>) -> Result<Option<String>, Undecided> {
        let Some(values) = self.values(attempt)? else { return Ok(None) };
        let mut values = values.iter();
        let mut text = String::new();
        for segment in &self.segments {
            text.push_str(match segment {
                Segment::Pattern(text) => text,
                Segment::Literal(text) => text,
                Segment::Variable { .. } => values.next().map_or("", String::as_str),
            });
        }
        Ok(Some(text))
    }

    /// What the variables stand for, in order.
    fn values(&self, attempt: &Attempt<'_>) -> Result<Option<Vec<String>>, Undecided> {
        let mut values = Vec::new();
        for segment in &self.segments {
            let Segment::Variable { key, default } = segment else { continue };
            match (attempt.value(key)?, default) {
                (Value::One(value), _) => values.push(value.into_owned()),
                (_, Some(default)) => values.push(default.clone()),
                // A key with several values is no text.
                (_, None) => return Ok(None),
            }
        }
        Ok(Some(values))
    }

    /// The parts between the first `count - 1` colons outside of variables: those of an ARN are six.
    pub(super) fn split(&self, count: usize) -> Vec<Self> {
        let mut parts = vec![Vec::new()];
        for segment in &self.segments {
            let Segment::Pattern(text) = segment else {
                parts.last_mut().expect("one part at least").push(segment.clone());
                continue;
            };
            for (index, piece) in text.splitn(count + 1 - parts.len(), ':').enumerate() {
                if index > 0 {
                    parts.push(Vec::new());
                }
                parts.last_mut().expect("one part at least").extend(pattern(piece));
            }
        }
        parts.into_iter().map(Self::of).collect()
    }
}

/// The tokens of a row of segments; `value` gives those of its variables, which are numbered from 0.
fn tokens<'a>(
    segments: &'a [Segment],
    value: impl Fn(usize) -> Token<'a> + 'a,
) -> impl Iterator<Item = Token<'a>> {
    let mut variables = 0;
    segments.iter().flat_map(move |segment| {
        let (pattern, token) = match segment {
            Segment::Pattern(text) => (text.as_str(), None),
            Segment::Literal(text) => ("", Some(Token::Text(text))),
            Segment::Variable { .. } => {
                variables += 1;
                ("", Some(value(variables - 1)))
            }
        };
        glob::tokens(pattern).chain(token)
    })
}

/// A segment of a text that has something.
fn pattern(text: &str) -> Option<Segment> {
    (!text.is_empty()).then(|| Segment::Pattern(text.to_owned()))
}

/// Reads what stands between `${` and `}`.
fn variable_parse(text: &str) -> Option<Segment> {
    if let Some(character) = ["*", "?", "$"].into_iter().find(|character| *character == text) {
        return Some(Segment::Literal(character));
    }
    let (name, default) = match text.split_once(',') {
        None => (text, None),
        Some((name, default)) => {
            let default = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (name, Some(default.to_owned()))
        }
    };
    Some(Segment::Variable { key: ConditionKey::parse(name.trim())?, default })
}
