//! The master key: from the environment, from a file that the operator names, or from a file in a data
//! directory, made at the first start.
//!
//! Everything that must not lie open on the drives is sealed with it: secrets of access keys, keys of
//! encrypted objects. Whoever loses it loses them; whoever has it and the drives has everything.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::data_directory::DataDirectory;
use super::private_file;
use crate::crypt::{Key, MasterKey};
use crate::engine::format::FileName;

/// Name of the file in a data directory.
pub const FILE_NAME: &str = "ringcask.master-key";

/// The file while it is written; renamed when it is whole.
pub const FILE_NAME_NEW: &str = "ringcask.master-key.new";

/// The key itself, as base64. There is no option for it: command lines can be seen by others.
pub const VARIABLE: &str = "RINGCASK_MASTER_KEY";

const WHAT: &str = "the master key";

/// Where the master key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Given by [`VARIABLE`]; not stored.
    Environment,
    /// Read from this file.
    File(PathBuf),
    /// Made by this start and stored in this file.
    Made(PathBuf),
}

/// Finds the master key, or makes it in the first data directory.
///
/// `file` is what `--master-key-file` names. The directories are locked by this process.
///
/// # Errors
///
/// One sentence for the person at the prompt; it never quotes the key.
pub fn obtain(
    environment: impl Fn(&str) -> Option<String>,
    file: Option<&Path>,
    directories: &[DataDirectory],
) -> Result<(MasterKey, Origin), String> {
    let given = environment(VARIABLE).filter(|text| !text.is_empty()).map(Zeroizing::new);
    match (given, file) {
        (Some(_), Some(_)) => Err(format!("both {VARIABLE} and --master-key-file are given; give one")),
        (Some(text), None) => Ok((parse(&text, VARIABLE)?, Origin::Environment)),
        (None, Some(path)) => {
            let shown = path.display().to_string();
            let text = private_file::read(path, WHAT)?.ok_or_else(|| {
                format!(
                    "there is no master key in {shown}; to make one: \
                     (umask 077; head -c 32 /dev/urandom | base64 > {shown})"
                )
            })?;
            Ok((parse(&text, &shown)?, Origin::File(path.to_owned())))
        }
        (None, None) => of_directories(directories),
    }
}

fn of_directories(directories: &[DataDirectory]) -> Result<(MasterKey, Origin), String> {
    // The order of the directories may have changed since the key was made.
    for directory in directories {
        let path = directory.path().join(FILE_NAME);
        if let Some(text) = private_file::read(&path, WHAT)? {
            return Ok((parse(&text, &path.display().to_string())?, Origin::File(path)));
        }
    }
    let directory = directories[0].path();
    let path = directory.join(FILE_NAME);
    if directories.iter().any(|directory| holds_log(directory.path())) {
        return Err(format!(
            "the node has data, and its master key is not in {}: put the copy back there (mode 600), or give it with \
             --master-key-file or {VARIABLE}",
            path.display()
        ));
    }
    let mut bytes = Zeroizing::new([0; Key::BYTES]);
    getrandom::fill(&mut *bytes).map_err(|error| format!("the kernel gave no random bytes: {error}"))?;
    let text = Zeroizing::new(format!("{}\n", &*Zeroizing::new(STANDARD.encode(*bytes))));
    private_file::store(directory, FILE_NAME, FILE_NAME_NEW, &text)
        .map_err(|error| format!("cannot store the master key in {}: {error}", path.display()))?;
    Ok((MasterKey::new(Key::new(*bytes)), Origin::Made(path)))
}

/// Whether a node has stored something in the directory: its log begins after the master key is there.
fn holds_log(directory: &Path) -> bool {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.file_name().into_string().ok())
        .any(|name| matches!(FileName::parse(&name), Some(FileName::Log(_))))
}

/// Reads base64 of exactly the key's length.
fn parse(text: &str, source: &str) -> Result<MasterKey, String> {
    let decoded = STANDARD.decode(text.trim()).map(Zeroizing::new);
    let key = decoded.ok().and_then(|bytes| Key::from_slice(&bytes));
    key.map(MasterKey::new)
        .ok_or_else(|| format!("{source} does not hold the base64 of a {}-byte master key", Key::BYTES))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::control::data_directory;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn directories(parent: &Path) -> Vec<DataDirectory> {
        let paths = ["a", "b"].map(|name| parent.join(name));
        data_directory::open_all(&paths, &["mark"], 0).unwrap()
    }

    #[test]
    fn a_key_is_made_once_for_the_owner_alone_and_found_in_any_order_of_directories() {
        let parent = tempfile::tempdir().unwrap();
        let mut directories = directories(parent.path());
        let (made, origin) = obtain(nothing, None, &directories).unwrap();
        let path = directories[0].path().join(FILE_NAME);
        assert_eq!(origin, Origin::Made(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        directories.reverse();
        let (found, origin) = obtain(nothing, None, &directories).unwrap();
        assert_eq!(origin, Origin::File(path));
        assert_eq!(found.reveal(), made.reveal());
    }

    #[test]
    fn no_key_is_made_for_data_that_was_written_under_another() {
        let parent = tempfile::tempdir().unwrap();
        let directories = directories(parent.path());
        fs::write(parent.path().join("b/log-00000001"), "").unwrap();
        let error = obtain(nothing, None, &directories).unwrap_err();
        assert!(error.contains("put the copy back") && error.contains("a/ringcask.master-key"), "{error}");
        assert!(!parent.path().join("a").join(FILE_NAME).exists());
        let given = |name: &str| (name == VARIABLE).then(|| STANDARD.encode([7; 32]));
        assert!(obtain(given, None, &directories).is_ok());
    }

    #[test]
    fn a_directory_with_nothing_but_a_key_is_still_ours() {
        let parent = tempfile::tempdir().unwrap();
        obtain(nothing, None, &directories(parent.path())).unwrap();
        directories(parent.path());
    }

    #[test]
    fn the_environment_and_a_named_file_are_not_copied_into_the_data() {
        let parent = tempfile::tempdir().unwrap();
        let directories = directories(parent.path());
        let text = STANDARD.encode([7; 32]);
        let given = |name: &str| (name == VARIABLE).then(|| text.clone());
        let (key, origin) = obtain(given, None, &directories).unwrap();
        assert_eq!((key.reveal(), origin), (&[7; 32], Origin::Environment));
        let file = parent.path().join("key");
        assert!(obtain(nothing, Some(&file), &directories).unwrap_err().contains("to make one"));
        fs::write(&file, format!("{text}\n")).unwrap();
        assert!(obtain(nothing, Some(&file), &directories).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let (key, _) = obtain(nothing, Some(&file), &directories).unwrap();
        assert_eq!(key.reveal(), &[7; 32]);
        assert!(obtain(given, Some(&file), &directories).unwrap_err().contains("give one"));
        assert!(!directories[0].path().join(FILE_NAME).exists());
    }

    #[test]
    fn what_is_no_key_is_refused_without_quoting_it() {
        let parent = tempfile::tempdir().unwrap();
        let directories = directories(parent.path());
        for text in ["dG9wc2VjcmV0", "topsecret!", &STANDARD.encode([1; 33])] {
            let error = obtain(|_| Some(text.to_owned()), None, &directories).unwrap_err();
            assert!(error.contains(VARIABLE) && !error.contains(text), "{error}");
        }
    }
}
