//! Root credentials: taken from the environment, read from the first data directory, or made there.
//!
//! The secret is shown once, by the start that made it, and on a terminal alone: what is no terminal is a
//! journal or a log that others read. It stands in one file that its owner alone can read, and never in a
//! log: [`Secret`] does not print itself.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::private_file;
use crate::auth::directory::change::Refusal;
use crate::auth::directory::names;

pub use crate::base::secret::Secret;

/// Name of the file in the first data directory.
pub const FILE_NAME: &str = "root-credentials.toml";

/// The file while it is written; renamed when it is whole.
pub const FILE_NAME_NEW: &str = "root-credentials.toml.new";

/// Access key id of the root account, as in the environment.
pub const USER_VARIABLE: &str = "RINGCASK_ROOT_USER";

/// Secret of the root account, as in the environment.
pub const PASSWORD_VARIABLE: &str = "RINGCASK_ROOT_PASSWORD";

/// As AWS makes them: 20 characters.
const ACCESS_KEY_ID_LENGTH: usize = 20;

/// An access key id and its secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Secret,
}

/// Where the credentials came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Given by [`USER_VARIABLE`] and [`PASSWORD_VARIABLE`]; not stored.
    Environment,
    /// Read from this file.
    File(PathBuf),
    /// Made by this start and stored in this file.
    Made(PathBuf),
}

/// Finds the root credentials, or makes them.
///
/// `environment` looks a variable up; `directory` is the first data directory, locked by this process.
///
/// # Errors
///
/// One sentence for the person at the prompt.
pub fn obtain(
    environment: impl Fn(&str) -> Option<String>,
    directory: &Path,
) -> Result<(Credentials, Origin), String> {
    let given = |name: &str| environment(name).filter(|value| !value.is_empty());
    match (given(USER_VARIABLE), given(PASSWORD_VARIABLE)) {
        (Some(user), Some(password)) => {
            let credentials = Credentials { access_key_id: user, secret_access_key: Secret::new(password) };
            check(&credentials, USER_VARIABLE, PASSWORD_VARIABLE)?;
            return Ok((credentials, Origin::Environment));
        }
        (Some(_), None) => return Err(format!("{USER_VARIABLE} is set but {PASSWORD_VARIABLE} is not")),
        (None, Some(_)) => return Err(format!("{PASSWORD_VARIABLE} is set but {USER_VARIABLE} is not")),
        (None, None) => {}
    }
    let path = directory.join(FILE_NAME);
    match read(&path)? {
        Some(credentials) => Ok((credentials, Origin::File(path))),
        None => {
            let credentials = make()?;
            store(&credentials, directory).map_err(|error| {
                format!("cannot store the root credentials in {}: {error}", path.display())
            })?;
            Ok((credentials, Origin::Made(path)))
        }
    }
}

/// What can neither be signed with nor typed is refused.
fn check(credentials: &Credentials, user_name: &str, password_name: &str) -> Result<(), String> {
    let blame = |name: &str, refusal: Refusal| format!("{name}: {}", refusal.message);
    names::check_access_key_id(&credentials.access_key_id).map_err(|refusal| blame(user_name, refusal))?;
    let secret = credentials.secret_access_key.reveal();
    names::check_secret(secret).map_err(|refusal| blame(password_name, refusal))
}

/// Reads credentials from a file; `None` if it is not there.
pub fn read(path: &Path) -> Result<Option<Credentials>, String> {
    let Some(text) = private_file::read(path, "the root credentials")? else { return Ok(None) };
    let shown = path.display();
    // The parser's message may quote the line, and the line may hold the secret.
    let credentials: Credentials = toml::from_str(&text)
        .map_err(|_| format!("{shown} does not hold access_key_id and secret_access_key as TOML strings"))?;
    check(&credentials, &format!("{shown}: access_key_id"), &format!("{shown}: secret_access_key"))?;
    Ok(Some(credentials))
}

fn make() -> Result<Credentials, String> {
    // Randomness that fails is refused before it is used: what is made without it could be guessed.
    getrandom::u64().map_err(|error| format!("the kernel gave no random bytes: {error}"))?;
    let random = |bytes: &mut [u8]| getrandom::fill(bytes).expect("the kernel gave random bytes just now");
    Ok(Credentials {
        access_key_id: names::text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", ACCESS_KEY_ID_LENGTH, &random),
        secret_access_key: Secret::new(names::make_secret(&random)),
    })
}

fn store(credentials: &Credentials, directory: &Path) -> std::io::Result<()> {
    let text = Zeroizing::new(format!(
        "# Root credentials of this node. To change them, edit this file or set {USER_VARIABLE} and\n\
         # {PASSWORD_VARIABLE}, and start the node again.\n\
         access_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
        credentials.access_key_id,
        credentials.secret_access_key.reveal(),
    ));
    private_file::store(directory, FILE_NAME, FILE_NAME_NEW, &text)
}

/// What a start prints so that the node can be used from a shell: after the credentials were made or given,
/// three lines to paste; later, where they are. The secret is in it only if the credentials were just made and
/// `is_terminal`; elsewhere the line to paste reads it from its file.
pub fn instructions(
    credentials: &Credentials,
    origin: &Origin,
    region: &str,
    endpoint: &str,
    is_terminal: bool,
) -> String {
    let id = credentials.access_key_id.as_str();
    let (first, id, secret) = match origin {
        Origin::File(path) => return format!("the root credentials are in {}\n", path.display()),
        Origin::Environment => (
            format!("root credentials are taken from {USER_VARIABLE} and {PASSWORD_VARIABLE}"),
            format!("\"${USER_VARIABLE}\""),
            format!("\"${PASSWORD_VARIABLE}\""),
        ),
        Origin::Made(path) if is_terminal => (
            format!("made root credentials, shown this once and kept in {}", path.display()),
            id.to_owned(),
            credentials.secret_access_key.reveal().to_owned(),
        ),
        Origin::Made(path) => {
            (format!("made root credentials, kept in {}", path.display()), id.to_owned(), read_by_shell(path))
        }
    };
    format!(
        "{first}; to use them:\n\n\
         export AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret}\n\
         export AWS_DEFAULT_REGION={region} AWS_ENDPOINT_URL={endpoint}\n\
         aws s3 mb s3://my-bucket\n\n"
    )
}

/// What a shell replaces by the secret in the file, for whoever may read it.
fn read_by_shell(path: &Path) -> String {
    let quoted = path.display().to_string().replace('\'', r"'\''");
    format!(r#""$(sed -n 's/^secret_access_key = "\(.*\)"$/\1/p' '{quoted}')""#)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn given(user: &'static str, password: &'static str) -> impl Fn(&str) -> Option<String> {
        move |name| match name {
            USER_VARIABLE => Some(user.to_owned()),
            PASSWORD_VARIABLE => Some(password.to_owned()),
            _ => None,
        }
    }

    #[test]
    fn made_credentials_are_stored_for_the_owner_alone_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let (made, origin) = obtain(nothing, directory.path()).unwrap();
        let path = directory.path().join(FILE_NAME);
        assert_eq!(origin, Origin::Made(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!((made.access_key_id.len(), made.secret_access_key.reveal().len()), (20, 40));
        assert_eq!(obtain(nothing, directory.path()).unwrap(), (made, Origin::File(path)));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_two_nodes_make_the_same_credentials() {
        let [a, b] = [make().unwrap(), make().unwrap()];
        assert_ne!(a.access_key_id, b.access_key_id);
        assert_ne!(a.secret_access_key, b.secret_access_key);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        obtain(nothing, directory.path()).unwrap();
        let path = directory.path().join(FILE_NAME);
        for mode in [0o640, 0o604, 0o644, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = obtain(nothing, directory.path()).unwrap_err();
            assert!(error.ends_with(&format!("chmod 600 {}", path.display())), "{error}");
        }
    }

    #[test]
    fn a_start_that_died_while_writing_does_not_stop_the_next() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME_NEW), "access_key_id = \"A").unwrap();
        assert!(matches!(obtain(nothing, directory.path()), Ok((_, Origin::Made(_)))));
        assert!(!directory.path().join(FILE_NAME_NEW).exists());
    }

    #[test]
    fn a_damaged_file_is_refused_without_quoting_it() {
        let directory = tempfile::tempdir().unwrap();
        obtain(nothing, directory.path()).unwrap();
        let path = directory.path().join(FILE_NAME);
        fs::write(&path, "access_key_id = \"ABC\"\nsecret_access_key = \"topsecret").unwrap();
        let error = obtain(nothing, directory.path()).unwrap_err();
        assert!(error.contains(FILE_NAME) && !error.contains("topsecret"), "{error}");
    }

    #[test]
    fn the_environment_wins_and_is_not_stored() {
        let directory = tempfile::tempdir().unwrap();
        let (credentials, origin) = obtain(given("admin", "long enough"), directory.path()).unwrap();
        assert_eq!(credentials.access_key_id, "admin");
        assert_eq!(credentials.secret_access_key.reveal(), "long enough");
        assert_eq!(origin, Origin::Environment);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn half_or_unusable_credentials_from_the_environment_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let one = |name: &'static str| move |asked: &str| (asked == name).then(|| "something".to_owned());
        let error = obtain(one(USER_VARIABLE), directory.path()).unwrap_err();
        assert!(error.contains("RINGCASK_ROOT_PASSWORD is not"), "{error}");
        assert!(obtain(one(PASSWORD_VARIABLE), directory.path()).is_err());
        let bad = [("ab", "12345678"), ("abc", "1234567"), ("a/b", "12345678"), ("a b", "12345678")];
        for (user, password) in bad {
            assert!(obtain(given(user, password), directory.path()).is_err(), "{user} {password}");
        }
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        let credentials = make().unwrap();
        assert!(!format!("{credentials:?}").contains(credentials.secret_access_key.reveal()));
    }

    #[test]
    fn the_secret_is_shown_on_the_terminal_of_the_start_that_made_it_and_nowhere_else() {
        let credentials = make().unwrap();
        let secret = credentials.secret_access_key.reveal();
        let show = |origin, is_terminal| {
            instructions(&credentials, &origin, "us-east-1", "http://127.0.0.1:9000", is_terminal)
        };
        let path = PathBuf::from("/srv/root-credentials.toml");
        let made = show(Origin::Made(path.clone()), true);
        assert!(made.contains(secret));
        let to_journal = show(Origin::Made(path.clone()), false);
        assert!(!to_journal.contains(secret) && to_journal.contains("kept in /srv/root-credentials.toml"));
        for text in [made, to_journal] {
            let pasted = text.lines().filter(|l| l.starts_with("export ") || l.starts_with("aws "));
            assert_eq!(pasted.count(), 3, "{text}");
        }
        for is_terminal in [true, false] {
            assert!(!show(Origin::File(path.clone()), is_terminal).contains(secret));
            assert!(!show(Origin::Environment, is_terminal).contains(secret));
        }
    }
}
