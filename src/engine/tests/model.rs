//! The reference model of histories: what keys hold, version by version, and what changes make of it.

use std::collections::BTreeMap;

use super::*;

/// A bucket of the model, and a key in it.
pub type Name = (usize, Vec<u8>);

/// What a key may hold: one state if its last change was acknowledged, else any of several.
pub type Model = BTreeMap<Name, Vec<State>>;

/// The versions of a key, newest first.
pub type State = Vec<Held>;

/// A version, without its name: which one a change makes is known only once it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// None for a delete marker.
    pub bytes: Option<Vec<u8>>,
    pub is_null: bool,
    pub legal_hold: bool,
    pub tag: u64,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, is_null, legal_hold, tag } = self;
        let null = if *is_null { "null " } else { "" };
        let hold = if *legal_hold { " held" } else { "" };
        match bytes {
            Some(bytes) => write!(out, "{null}object of {} tagged {tag}{hold}", bytes.len()),
            None => write!(out, "{null}marker"),
        }
    }
}

/// A change of one key.
#[derive(Clone, Debug)]
pub enum Change {
    Put {
        bytes: Vec<u8>,
    },
    /// If nothing is there.
    Create {
        bytes: Vec<u8>,
    },
    Delete,
    Copy {
        from: Name,
        bytes: Vec<u8>,
    },
    /// Its first part is stored twice, and a last one is not named.
    Multipart {
        parts: Vec<Vec<u8>>,
    },
    /// The completion of an upload that was begun before, perhaps before a restart.
    Complete {
        id: UploadId,
        parts: BTreeMap<u16, Vec<u8>>,
    },
    /// The end of an upload that was begun before.
    AbortBegun {
        id: UploadId,
    },
    /// An upload with a part that is given up.
    Abort {
        bytes: Vec<u8>,
    },
    /// Of the version at this place among those that were there.
    DeleteVersion {
        place: usize,
    },
    Tag {
        place: usize,
        tag: u64,
    },
    Hold {
        place: usize,
        legal_hold: bool,
    },
}

impl Change {
    /// What the key holds after the change.
    pub fn outcome(&self, before: &State, versioning: Versioning) -> State {
        let is_object = before.first().is_some_and(|held| held.bytes.is_some());
        match self {
            Self::Put { bytes } | Self::Copy { bytes, .. } => with(before, Some(bytes.clone()), versioning),
            Self::Create { .. } if is_object => before.clone(),
            Self::Create { bytes } => with(before, Some(bytes.clone()), versioning),
            Self::Multipart { parts } => with(before, Some(parts.concat()), versioning),
            Self::Complete { parts, .. } => {
                let bytes = parts.values().flatten().copied().collect();
                with(before, Some(bytes), versioning)
            }
            Self::Abort { .. } | Self::AbortBegun { .. } => before.clone(),
            Self::Delete if versioning == Versioning::Unversioned => Vec::new(),
            Self::Delete => with(before, None, versioning),
            Self::DeleteVersion { place } if before[*place].legal_hold => before.clone(),
            Self::DeleteVersion { place } => {
                let mut after = before.clone();
                after.remove(*place);
                after
            }
            Self::Tag { place, tag } => {
                let mut after = before.clone();
                after[*place].tag = *tag;
                after
            }
            Self::Hold { place, legal_hold } => {
                let mut after = before.clone();
                after[*place].legal_hold = *legal_hold;
                after
            }
        }
    }
}

/// What a key holds once a version is made, unless it would replace what is held.
fn with(before: &State, bytes: Option<Vec<u8>>, versioning: Versioning) -> State {
    let is_null = versioning != Versioning::Enabled;
    if is_null && before.iter().any(|held| held.is_null && held.legal_hold) {
        return before.clone();
    }
    let made = Held { bytes, is_null, legal_hold: false, tag: 0 };
    let kept = before.iter().filter(|held| !(is_null && held.is_null)).cloned();
    std::iter::once(made).chain(kept).collect()
}

/// Objects, other versions and bytes of what a bucket holds.
pub fn usage_of<'a>(states: impl Iterator<Item = &'a State>) -> Usage {
    let mut usage = Usage::default();
    for state in states {
        let is_object = state.first().is_some_and(|held| held.bytes.is_some());
        usage.objects += u64::from(is_object);
        usage.versions += state.len() as u64 - u64::from(is_object);
        let bytes = state.iter().filter_map(|held| held.bytes.as_ref());
        usage.bytes += bytes.map(|bytes| bytes.len() as u64).sum::<u64>();
    }
    usage
}

/// Headers that say `tag`.
pub fn tagged(tag: u64) -> Headers {
    if tag == 0 { Vec::new() } else { vec![(":tag".to_owned(), tag.to_string().into_bytes())] }
}
