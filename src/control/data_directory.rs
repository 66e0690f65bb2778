//! Data directories: made if missing, locked for this process, refused if they are not ours.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{credentials, master_key, tls};

/// Name of the file whose lock says that a node uses the directory; it holds that node's process id.
pub const LOCK_NAME: &str = "ringcask.lock";

/// Names in a data directory that are neither the engine's nor somebody else's.
pub const KNOWN_NAMES: [&str; 10] = [
    tls::SELF_SIGNED_FILE_NAMES[0],
    tls::SELF_SIGNED_FILE_NAMES[1],
    tls::SELF_SIGNED_FILE_NAMES[2],
    tls::SELF_SIGNED_FILE_NAMES[3],
    LOCK_NAME,
    credentials::FILE_NAME,
    credentials::FILE_NAME_NEW,
    master_key::FILE_NAME,
    master_key::FILE_NAME_NEW,
    "lost+found",
];

/// The lock of one data directory, held until dropped or the process ends.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Absolute path, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes, checks and locks all data directories, in the order given. A directory is ours if it holds a file
/// with one of the names `marks`, and may become ours if it is empty and its drive has `bytes_free_min` left.
///
/// # Errors
///
/// One sentence for the person at the prompt, naming the directory.
pub fn open_all(
    paths: &[PathBuf],
    marks: &[&str],
    bytes_free_min: u64,
) -> Result<Vec<DataDirectory>, String> {
    let mut seen = HashMap::new();
    let mut directories = Vec::with_capacity(paths.len());
    for path in paths {
        make(path).map_err(|error| format!("cannot make the data directory {}: {error}", path.display()))?;
        let metadata = fs::metadata(path)
            .map_err(|error| format!("cannot use the data directory {}: {error}", path.display()))?;
        if !metadata.is_dir() {
            return Err(format!("the data directory {} is not a directory", path.display()));
        }
        if let Some(other) = seen.insert((metadata.dev(), metadata.ino()), path) {
            let (one, two) = (other.display(), path.display());
            return Err(format!("--data names the same directory twice: {one} and {two}"));
        }
        directories.push(open(path, marks, bytes_free_min)?);
    }
    Ok(directories)
}

fn make(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn open(path: &Path, marks: &[&str], bytes_free_min: u64) -> Result<DataDirectory, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("cannot use the data directory {shown}: {error}");
    // Before the lock file is made, so that a directory of somebody else's stays untouched.
    let ours = check(path, marks).map_err(cannot)?;
    let path = fs::canonicalize(path).map_err(cannot)?;
    match ours {
        Owner::Other(name) => {
            let mark = marks.first().copied().unwrap_or_default();
            return Err(format!(
                "the data directory {shown} is not ours: it holds '{name}' but no {mark}; \
                 give an empty directory or one that a node has used"
            ));
        }
        Owner::Nobody => {
            let space = rustix::fs::statvfs(&path).map_err(|errno| cannot(errno.into()))?;
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            if free < bytes_free_min {
                return Err(format!(
                    "the drive of the new data directory {shown} is full: {} MiB are free, \
                     {} MiB are needed to begin",
                    free >> 20,
                    bytes_free_min.div_ceil(1 << 20),
                ));
            }
        }
        Owner::Us => {}
    }
    let lock = lock(&path)?;
    Ok(DataDirectory { path, _lock: lock })
}

enum Owner {
    Us,
    Nobody,
    /// Somebody who left this file.
    Other(String),
}

fn check(path: &Path, marks: &[&str]) -> std::io::Result<Owner> {
    let mut other = None;
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if marks.contains(&name.as_ref()) {
            return Ok(Owner::Us);
        }
        // A mark with something after it: a superblock that a start was writing when it died.
        let is_begun = marks.iter().any(|mark| name.starts_with(mark));
        if !KNOWN_NAMES.contains(&name.as_ref()) && !is_begun {
            other = Some(name.into_owned());
        }
    }
    Ok(other.map_or(Owner::Nobody, Owner::Other))
}

/// Takes the lock. It is the kernel's, on the open file: it ends with the process, however that ends, and
/// the file itself may stay.
fn lock(directory: &Path) -> Result<File, String> {
    let shown = directory.display();
    let cannot = |error: std::io::Error| format!("cannot lock the data directory {shown}: {error}");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(LOCK_NAME))
        .map_err(cannot)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let holder = holder(&mut file);
            return Err(format!(
                "the data directory {shown} is in use by another node{holder}, or is being checked"
            ));
        }
        Err(errno) => return Err(cannot(errno.into())),
    }
    // Only a help for people: a stale or torn number does no harm, the lock itself decides.
    let write =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    match write {
        Err(error) if error.kind() != std::io::ErrorKind::StorageFull => Err(cannot(error)),
        _ => Ok(file),
    }
}

/// Whose process id a lock file holds, in words.
fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    let read = file.take(20).read_to_string(&mut holder);
    match (read, holder.trim()) {
        (Ok(1..), pid) if pid.bytes().all(|byte| byte.is_ascii_digit()) => format!(" (process {pid})"),
        _ => String::new(),
    }
}

/// The process that holds, or held, a data directory's lock, as it wrote it down.
pub fn node_of(directory: &Path) -> Option<u32> {
    let file = OpenOptions::new().read(true).open(directory.join(LOCK_NAME)).ok()?;
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Keeps nodes from starting on a directory while it is looked at: a shared lock, as long as the file lives.
/// Nothing is made or written; a directory without a lock file has none to take.
///
/// # Errors
///
/// One sentence for the person at the prompt, if a node runs on the directory.
pub fn lock_for_reading(directory: &Path) -> Result<Option<File>, String> {
    let Ok(mut file) = OpenOptions::new().read(true).open(directory.join(LOCK_NAME)) else { return Ok(None) };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => {
            let (shown, holder) = (directory.display(), holder(&mut file));
            Err(format!("a node runs on the data directory {shown}{holder}: stop it first"))
        }
        // Some file systems know no locks.
        Err(_) => Ok(None),
        Ok(()) => Ok(Some(file)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const MARK: &str = "mark";

    fn refusal(paths: &[PathBuf]) -> String {
        open_all(paths, &[MARK], 0).unwrap_err()
    }

    #[test]
    fn a_missing_directory_is_made_for_the_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let directories = open_all(std::slice::from_ref(&path), &[MARK], 0).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(directories[0].path(), fs::canonicalize(&path).unwrap());
    }

    #[test]
    fn a_directory_in_use_is_refused_with_the_process_that_has_it() {
        let parent = tempfile::tempdir().unwrap();
        let paths = [parent.path().to_owned()];
        let held = open_all(&paths, &[MARK], 0).unwrap();
        let error = refusal(&paths);
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        assert!(error.contains(parent.path().to_str().unwrap()), "{error}");
        drop(held);
        open_all(&paths, &[MARK], 0).unwrap();
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused_and_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("thesis.tex"), "").unwrap();
        let error = refusal(&[directory.path().to_owned()]);
        assert!(error.contains("is not ours") && error.contains("thesis.tex"), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_only_just_began_or_is_marked_is_ours() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("lost+found")).unwrap();
        fs::write(directory.path().join(credentials::FILE_NAME), "").unwrap();
        fs::write(directory.path().join(LOCK_NAME), "77").unwrap();
        open_all(&[directory.path().to_owned()], &[MARK], 0).unwrap();
        fs::write(directory.path().join("segment"), "").unwrap();
        fs::write(directory.path().join(MARK), "").unwrap();
        open_all(&[directory.path().to_owned()], &[MARK], 0).unwrap();
    }

    #[test]
    fn the_same_directory_twice_is_refused_whatever_its_spelling() {
        let directory = tempfile::tempdir().unwrap();
        let error = refusal(&[directory.path().to_owned(), directory.path().join(".")]);
        assert!(error.contains("twice"), "{error}");
    }

    #[test]
    fn a_new_directory_on_a_full_drive_is_refused_and_an_old_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [directory.path().to_owned()];
        let error = open_all(&paths, &[MARK], u64::MAX).unwrap_err();
        assert!(error.contains("is full") && error.contains("MiB are free"), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        fs::write(directory.path().join(MARK), "").unwrap();
        open_all(&paths, &[MARK], u64::MAX).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(refusal(&[path]).contains("is not a directory"));
    }
}
