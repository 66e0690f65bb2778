//! Patterns with `*` (any characters, or none) and `?` (one character).
//!
//! Matching never goes back over a `*`: between two of them the leftmost fit of the text between is as good
//! as any other. Texts without `?` are searched for in linear time; one with `?` costs at most its length
//! for each character of the text.

/// A pattern that was taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// What stands between the stars: one piece if there is none.
    pieces: Vec<Piece>,
}

/// Characters in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Exactly these.
    Exact(String),
    /// These, where `None` is any character.
    Loose(Vec<Option<char>>),
}

/// A token of a pattern, for those that are put together from literal text and wildcards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    Text(&'a str),
    /// `?`
    One,
    /// `*`
    Many,
}

impl Glob {
    /// Reads a pattern in which every `*` and `?` is a wildcard.
    pub fn new(pattern: &str) -> Self {
        Self::of(tokens(pattern))
    }

    /// Puts a pattern together.
    pub fn of<'a>(tokens: impl Iterator<Item = Token<'a>>) -> Self {
        let mut pieces = Vec::new();
        let mut piece: Vec<Option<char>> = Vec::new();
        for token in tokens {
            match token {
                Token::Text(text) => piece.extend(text.chars().map(Some)),
                Token::One => piece.push(None),
                // Many stars in a row are one.
                Token::Many if piece.is_empty() && !pieces.is_empty() => {}
                Token::Many => pieces.push(Piece::of(std::mem::take(&mut piece))),
            }
        }
        pieces.push(Piece::of(piece));
        Self { pieces }
    }

    /// Whether the whole text fits.
    pub fn matches(&self, text: &str) -> bool {
        let (first, rest) = self.pieces.split_first().expect("a pattern has a piece");
        let Some(at) = first.fit(text) else { return false };
        let Some((last, between)) = rest.split_last() else { return at == text.len() };
        let mut text = &text[at..];
        for piece in between {
            match piece.find(text) {
                Some(end) => text = &text[end..],
                None => return false,
            }
        }
        last.fit_end(text)
    }
}

/// The tokens of a pattern without any escapes.
pub fn tokens(pattern: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = pattern;
    std::iter::from_fn(move || {
        let (token, bytes) = match rest.as_bytes().first()? {
            b'*' => (Token::Many, 1),
            b'?' => (Token::One, 1),
            _ => {
                let bytes = rest.find(['*', '?']).unwrap_or(rest.len());
                (Token::Text(&rest[..bytes]), bytes)
            }
        };
        rest = &rest[bytes..];
        Some(token)
    })
}

impl Piece {
    fn of(characters: Vec<Option<char>>) -> Self {
        match characters.iter().copied().collect::<Option<String>>() {
            Some(text) => Self::Exact(text),
            None => Self::Loose(characters),
        }
    }

    /// Where the piece ends if the text begins with it.
    fn fit(&self, text: &str) -> Option<usize> {
        match self {
            Self::Exact(exact) => text.starts_with(exact.as_str()).then_some(exact.len()),
            Self::Loose(characters) => {
                let mut rest = text.chars();
                for wanted in characters {
                    let found = rest.next()?;
                    if wanted.is_some_and(|wanted| wanted != found) {
                        return None;
                    }
                }
                Some(text.len() - rest.as_str().len())
            }
        }
    }

    /// Where the piece ends at its first place in the text.
    fn find(&self, text: &str) -> Option<usize> {
        match self {
            Self::Exact(exact) => text.find(exact.as_str()).map(|at| at + exact.len()),
            Self::Loose(_) => text.char_indices().find_map(|(at, _)| Some(at + self.fit(&text[at..])?)),
        }
    }

    /// Whether the text ends with the piece.
    fn fit_end(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text.ends_with(exact.as_str()),
            Self::Loose(characters) => {
                let mut rest = text.chars().rev();
                characters.iter().rev().all(|wanted| {
                    rest.next().is_some_and(|found| wanted.is_none_or(|wanted| wanted == found))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition of the wildcards, as a table over all ends of pattern and text.
    fn model(pattern: &str, text: &str) -> bool {
        let pattern: Vec<char> = pattern.chars().collect();
        let text: Vec<char> = text.chars().collect();
        let mut fits = vec![vec![false; text.len() + 1]; pattern.len() + 1];
        fits[0][0] = true;
        for row in 1..=pattern.len() {
            for column in 0..=text.len() {
                fits[row][column] = match pattern[row - 1] {
                    '*' => fits[row - 1][column] || column > 0 && fits[row][column - 1],
                    '?' => column > 0 && fits[row - 1][column - 1],
                    wanted => column > 0 && wanted == text[column - 1] && fits[row - 1][column - 1],
                };
            }
        }
        fits[pattern.len()][text.len()]
    }

    proptest! {
        #[test]
        fn it_matches_what_the_definition_says(pattern in "[ab*?€]{0,12}", text in "[ab€]{0,14}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), model(&pattern, &text));
        }
    }

    #[test]
    fn stars_cost_no_time_to_speak_of() {
        assert_eq!(Glob::new(&format!("a{}b", "*".repeat(5000))), Glob::new("a*b"));
        let pattern = "a*".repeat(5000);
        assert!(!Glob::new(&format!("{pattern}b")).matches(&"a".repeat(1024)));
        assert!(Glob::new(&pattern).matches(&"a".repeat(5000)));
    }

    #[test]
    fn text_that_was_put_in_is_no_wildcard() {
        let glob = Glob::of([Token::Text("a*"), Token::Many, Token::Text("?")].into_iter());
        assert!(glob.matches("a*bc?"));
        assert!(!glob.matches("axbc?"));
        assert!(!glob.matches("a*bcd"));
    }
}
