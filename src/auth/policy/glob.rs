//! Patterns with `*` (any characters, or none) and `?` (one character).
//!
//! Matching never goes back over a `*`: between two of them the leftmost fit of the text between is as good
//! as any other. Texts without `?` are searched for in linear time; one with `?` costs a 64th of its length
//! for each character of the text, and its length for each kind of character.

use std::collections::HashMap;

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
            Self::Loose(characters) => find_loose(characters, text),
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

/// Where the first run of the text ends that fits, where `None` fits any character.
///
/// One bit for each beginning of the run says whether the text before the place at hand ends with it (Baeza-Yates
/// and Gonnet, "A New Approach to Text Searching", 1992). Trying every place would cost the product of both lengths,
/// and a policy is asked for each of the thousand keys that a request may delete.
fn find_loose(characters: &[Option<char>], text: &str) -> Option<usize> {
    let words = characters.len().div_ceil(64);
    let (last_word, last_bit) = (words - 1, (characters.len() - 1) % 64);
    let mut masks: HashMap<char, Vec<u64>> = HashMap::new();
    let mut state = vec![0_u64; words];
    for (at, found) in text.char_indices() {
        let mask = masks.entry(found).or_insert_with(|| {
            let fits = |wanted: &Option<char>| wanted.is_none_or(|wanted| wanted == found);
            let word = |run: &[Option<char>]| {
                run.iter().rev().fold(0, |word, wanted| word << 1 | u64::from(fits(wanted)))
            };
            characters.chunks(64).map(word).collect()
        });
        let mut carry = 1;
        for (word, mask) in state.iter_mut().zip(mask) {
            let next = *word >> 63;
            *word = (*word << 1 | carry) & *mask;
            carry = next;
        }
        if state[last_word] >> last_bit & 1 == 1 {
            return Some(at + found.len_utf8());
        }
    }
    None
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

        #[test]
        fn long_runs_match_what_the_definition_says(
            run in "[a?]{50,140}",
            change in 0..140usize,
            before in "[ab]{0,20}",
            after in "[ab]{0,20}",
        ) {
            let fitting = run.replace('?', "b");
            let mut other = fitting.clone().into_bytes();
            let at = change % other.len();
            other[at] ^= 3;
            for middle in [fitting, String::from_utf8(other).unwrap()] {
                let text = [before.as_str(), &middle, &after].concat();
                let pattern = format!("*{run}*");
                prop_assert_eq!(Glob::new(&pattern).matches(&text), model(&pattern, &text));
            }
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
