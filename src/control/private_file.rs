//! Small files that hold a secret: their owner alone may read them, and they are written whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::webhook;
use crate::base::secret::Secret;

/// Reads a file; `None` if it is not there. `what` says in messages what it holds: "the master key".
///
/// # Errors
///
/// One sentence for the person at the prompt.
pub fn read(path: &Path, what: &str) -> Result<Option<Zeroizing<String>>, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("cannot read {what} in {shown}: {error}");
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    if !metadata.is_file() {
        return Err(format!("{shown} is not a plain file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!("others can read {what}; run: chmod 600 {shown}"));
    }
    fs::read_to_string(path).map(Zeroizing::new).map(Some).map_err(cannot)
}

/// Reads a token: what stands after `Authorization: Bearer`. `option` named the file, `what` says what the token is
/// of: "the audit webhook".
///
/// # Errors
///
/// One sentence for the person at the prompt.
pub fn read_token(option: &str, path: &Path, what: &str) -> Result<Secret, String> {
    let refuse = |why: &str| format!("{option}: {why}: {}", path.display());
    let text = read(path, &format!("the token of {what}"))
        .map_err(|why| format!("{option}: {why}"))?
        .ok_or_else(|| refuse("there is no such file"))?;
    let token = Secret::new(text.trim());
    match webhook::is_token(&token) {
        true => Ok(token),
        false => Err(refuse("the token must be visible ASCII without spaces")),
    }
}

/// Writes a file that is not there. The caller holds the directory's lock, so that `name_new`, the file
/// while it is written, can only be left over from a start that died.
pub fn store(directory: &Path, name: &str, name_new: &str, text: &str) -> std::io::Result<()> {
    let new = directory.join(name_new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, directory.join(name))?;
    OpenOptions::new().read(true).open(directory)?.sync_all()
}
