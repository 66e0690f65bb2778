//! Files of a host, read below a root directory.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::base::limits::{HOST_ENTRIES_MAX, HOST_FILE_BYTES_MAX};

/// The machine, or a tree of files that looks like one.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The host whose `/proc` and `/sys` lie in `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file without white space around it; `None` if it cannot be read.
    pub fn read(&self, path: &str) -> Option<String> {
        let path = self.path(path);
        // Neither a pipe, which would have us wait, nor a directory.
        if !std::fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let file = OpenOptions::new().read(true).open(&path).ok()?;
        let mut bytes = Vec::new();
        file.take(HOST_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    pub fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.read(path)?.parse().ok()
    }

    /// Names in a directory, in order; none if it cannot be read.
    pub fn list(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else { return Vec::new() };
        let names =
            entries.take(HOST_ENTRIES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        // As people count: node2 before node10.
        names.sort_by_key(|name| {
            let stem = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
            (stem, name.len(), name.clone())
        });
        names
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Whether a directory has the entry, even if that is a link to nowhere (links of a copied tree are).
    pub fn has_entry(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// The name of the device that a directory of attributes is about: the last one of its real path.
    pub fn name_of_device(&self, path: &str) -> Option<String> {
        let real = std::fs::canonicalize(self.path(path)).ok()?;
        Some(real.file_name()?.to_str()?.to_owned())
    }

    /// Whether this is the machine that we run on.
    pub fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// An absolute path without symbolic links, `.` and `..`. What does not exist yet is taken as it is written.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        if !self.is_live() {
            return plain(path);
        }
        let mut rest = Vec::new();
        let mut place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        loop {
            if let Ok(resolved) = std::fs::canonicalize(&place) {
                return rest.iter().rev().fold(resolved, |path, name| path.join(name));
            }
            match place.file_name().map(ToOwned::to_owned) {
                Some(name) => rest.push(name),
                None => return plain(path),
            }
            place.pop();
        }
    }
}

fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

/// CPUs of a list as the kernel writes it: `0-3,8`. `None` if it is none.
pub fn cpu_list(text: &str) -> Option<BTreeSet<usize>> {
    const CPUS_MAX: usize = 1 << 14;
    let mut cpus = BTreeSet::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= CPUS_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// CPUs of a mask as the kernel writes it: `ff,00000001`. `None` if it is none.
pub fn cpu_mask(text: &str) -> Option<BTreeSet<usize>> {
    let mut cpus = BTreeSet::new();
    for (place, word) in text.trim().rsplit(',').enumerate() {
        let word = u32::from_str_radix(word, 16).ok()?;
        cpus.extend((0..32).filter(|bit| word >> bit & 1 == 1).map(|bit| place * 32 + bit));
    }
    Some(cpus)
}

/// CPUs as a list: `0-3,8`.
pub fn as_list(cpus: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => ranges.push((*cpu, *cpu)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// CPUs as a mask: `ff,00000001`.
pub fn as_mask(cpus: &BTreeSet<usize>) -> String {
    let words = cpus.last().map_or(1, |last| last / 32 + 1);
    let mut mask = vec![0_u32; words];
    cpus.iter().for_each(|cpu| mask[cpu / 32] |= 1 << (cpu % 32));
    let mut out = format!("{:x}", mask[words - 1]);
    mask[..words - 1].iter().rev().for_each(|word| out.push_str(&format!(",{word:08x}")));
    out
}

/// The choice of a file of sysfs that shows all, with brackets around the one in force: `[none] mq-deadline`.
pub fn chosen(text: &str) -> &str {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']')).unwrap_or(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_read_and_written_as_the_kernel_does() {
        for (list, mask) in [("0-3,8", "10f"), ("0", "1"), ("31-33", "3,80000000"), ("", "0")] {
            let cpus = cpu_list(list).unwrap();
            assert_eq!((as_list(&cpus).as_str(), as_mask(&cpus).as_str()), (list, mask));
            assert_eq!(cpu_mask(mask), Some(cpus));
        }
        for garbage in ["x", "3-1", "0-99999999999", "1-2-3", "-"] {
            assert_eq!(cpu_list(garbage), None, "{garbage}");
            assert_eq!(cpu_mask("fffffffff"), None);
        }
    }

    #[test]
    fn paths_stay_below_the_root() {
        let host = Host::new("/nowhere");
        assert_eq!(host.resolve(Path::new("/srv/../a/./b")), Path::new("/a/b"));
        assert_eq!(host.resolve(Path::new("../../x")), Path::new("/x"));
        assert_eq!(host.read("/proc/version"), None);
    }

    #[test]
    fn a_directory_that_does_not_exist_yet_lies_where_its_parent_does() {
        let parent = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(parent.path()).unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(Host::new("/").resolve(&real.join("link/a/b")), real.join("a/b"));
    }

    #[test]
    fn the_choice_in_brackets_is_the_one_in_force() {
        assert_eq!(chosen("none [mq-deadline] kyber"), "mq-deadline");
        assert_eq!(chosen("none"), "none");
        assert_eq!(chosen(""), "");
    }
}
