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
    Text(String),
    One,
    Many,
    Variable { key: ConditionKey, default: Option<String> },
}

impl Template {
    /// Reads a text; the error is the variable that nobody knows.
    pub(super) fn parse(text: &str, version: Version) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut rest = text;
        if version == Version::V2012 {
            while let Some((before, after)) = rest.split_once("${") {
                let Some((variable, after)) = after.split_once('}') else { return Err(rest.to_owned()) };
                segments.extend(plain(before));
                segments.push(variable_parse(variable).ok_or_else(|| format!("${{{variable}}}"))?);
                rest = after;
            }
        }
        segments.extend(plain(rest));
        Ok(Self::of(segments))
    }

    fn of(segments: Vec<Segment>) -> Self {
        let is_fixed = !segments.iter().any(|segment| matches!(segment, Segment::Variable { .. }));
        let fixed = is_fixed.then(|| Glob::of(segments.iter().map(|segment| segment.token(&[]))));
        Self { segments, fixed }
    }

    /// What follows `prefix`, if it begins with that text.
    pub(super) fn after(&self, prefix: &str) -> Option<Self> {
        let (first, rest) = self.segments.split_first()?;
        let Segment::Text(text) = first else { return None };
        let text = text.strip_prefix(prefix)?;
        let first = (!text.is_empty()).then(|| Segment::Text(text.to_owned()));
        Some(Self::of(first.into_iter().chain(rest.iter().cloned()).collect()))
    }

    /// Whether `text` fits for some values of the variables.
    pub(super) fn may_match(&self, text: &str) -> bool {
        self.widest().matches(text)
    }

    /// Whether a text that begins with `prefix`, and is longer, fits for some values of the variables.
    pub(super) fn may_match_under(&self, prefix: &str) -> bool {
        // The prefix is used up character by character by what may stand at the beginning; a `*` takes the
        // rest of it, and whatever follows in the pattern can follow in the text.
        let mut wanted = prefix.chars();
        for segment in &self.segments {
            let fits = match segment {
                Segment::Many | Segment::Variable { .. } => return true,
                Segment::One => wanted.next().is_some(),
                Segment::Text(text) => {
                    text.chars().all(|found| wanted.next().is_none_or(|wanted| wanted == found))
                }
            };
            if wanted.as_str().is_empty() && fits && self.is_longer_than(prefix) {
                return true;
            }
            if !fits {
                return false;
            }
        }
        false
    }

    fn is_longer_than(&self, prefix: &str) -> bool {
        let characters = |segment: &Segment| match segment {
            Segment::Text(text) => text.chars().count(),
            Segment::One => 1,
            Segment::Many | Segment::Variable { .. } => usize::MAX,
        };
        let total = self.segments.iter().map(characters).fold(0, usize::saturating_add);
        total > prefix.chars().count()
    }

    /// The pattern with `*` for every variable.
    fn widest(&self) -> Glob {
        Glob::of(self.segments.iter().map(|segment| match segment {
            Segment::Variable { .. } => Token::Many,
            segment => segment.token(&[]),
        }))
    }

    /// Whether it has neither wildcards nor variables.
    pub(super) fn is_literal(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Text(_)))
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
        let mut rest = values.as_slice();
        let tokens = self.segments.iter().map(|segment| {
            let token = segment.token(rest);
            if matches!(segment, Segment::Variable { .. }) {
                rest = &rest[1..];
            }
            token
        });
        Ok(Some(Cow::Owned(Glob::of(tokens))))
    }

    /// The text, with the variables filled in and wildcards as they stand; `None` if a variable has no value.
    pub(super) fn text(&self, attempt: &Attempt<'_>) -> Result<Option<String>, Undecided> {
        let Some(values) = self.values(attempt)? else { return Ok(None) };
        let mut values = values.iter();
        let mut text = String::new();
        for segment in &self.segments {
            text.push_str(match segment {
                Segment::Text(text) => text,
                Segment::One => "?",
                Segment::Many => "*",
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
            let Segment::Text(text) = segment else {
                parts.last_mut().expect("one part at least").push(segment.clone());
                continue;
            };
            for (index, piece) in text.splitn(count + 1 - parts.len(), ':').enumerate() {
                if index > 0 {
                    parts.push(Vec::new());
                }
                if !piece.is_empty() {
                    parts.last_mut().expect("one part at least").push(Segment::Text(piece.to_owned()));
                }
            }
        }
        parts.into_iter().map(Self::of).collect()
    }
}

impl Segment {
    /// Its token; that of a variable is the first of `values`.
    fn token<'a>(&'a self, values: &'a [String]) -> Token<'a> {
        match self {
            Self::Text(text) => Token::Text(text),
            Self::One => Token::One,
            Self::Many => Token::Many,
            Self::Variable { .. } => Token::Text(values.first().map_or("", String::as_str)),
        }
    }
}

fn plain(text: &str) -> impl Iterator<Item = Segment> {
    glob::tokens(text).map(|token| match token {
        Token::Text(text) => Segment::Text(text.to_owned()),
        Token::One => Segment::One,
        Token::Many => Segment::Many,
    })
}

/// Reads what stands between `${` and `}`.
fn variable_parse(text: &str) -> Option<Segment> {
    if matches!(text, "*" | "?" | "$") {
        return Some(Segment::Text(text.to_owned()));
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
