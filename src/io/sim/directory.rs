//! The directory of a simulated drive: names of files, and changes of them that are not durable yet.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::content::Content;

/// A file, under whatever names.
pub(super) type File = Rc<RefCell<Content>>;

/// The directory, with the files.
#[derive(Default)]
pub(super) struct Names {
    pub current: BTreeMap<String, File>,
    pub durable: BTreeMap<String, File>,
    /// What is not durable yet, oldest first.
    pub changes: Vec<(u64, NameChange)>,
}

#[derive(Clone)]
pub(super) enum NameChange {
    Create(String, File),
    Rename(String, String, File),
    Remove(String),
}

impl Names {
    /// A copy with files of its own.
    pub fn copy(&self) -> Self {
        // A file may stand under several names, and in changes that are not durable.
        let mut copies: HashMap<*const RefCell<Content>, File> = HashMap::new();
        let mut copy = |file: &File| {
            let made = || Rc::new(RefCell::new(file.borrow().clone()));
            copies.entry(Rc::as_ptr(file)).or_insert_with(made).clone()
        };
        Self {
            current: self.current.iter().map(|(name, file)| (name.clone(), copy(file))).collect(),
            durable: self.durable.iter().map(|(name, file)| (name.clone(), copy(file))).collect(),
            changes: self.changes.iter().map(|(at, change)| (*at, change.with_file(&mut copy))).collect(),
        }
    }
}

impl NameChange {
    fn with_file(&self, copy: &mut impl FnMut(&File) -> File) -> Self {
        match self {
            Self::Create(name, file) => Self::Create(name.clone(), copy(file)),
            Self::Rename(from, to, file) => Self::Rename(from.clone(), to.clone(), copy(file)),
            Self::Remove(name) => Self::Remove(name.clone()),
        }
    }

    pub fn apply(self, names: &mut BTreeMap<String, File>) {
        match self {
            Self::Create(name, file) => {
                names.insert(name, file);
            }
            Self::Rename(from, to, file) => {
                names.remove(&from);
                names.insert(to, file);
            }
            Self::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}
