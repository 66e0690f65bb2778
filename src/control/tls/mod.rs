//! Certificates and keys: read from files at the start and again when the node is told to, and handed to each new
//! connection.

mod certificate;
mod names;
mod self_signed;
mod validity;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;

use super::Settings;
use super::data_directory::DataDirectory;
use crate::base::limits::TLS_CERTIFICATES_MAX;
use certificate::Certificate;
use names::Names;

pub use self_signed::FILE_NAMES as SELF_SIGNED_FILE_NAMES;

/// What connections are to begin with, now.
pub struct Tls {
    source: Source,
    current: RwLock<Arc<ServerConfig>>,
    in_use: RwLock<Vec<InUse>>,
    /// What a person has to know of a certificate that the node made; empty if there is none.
    instructions: String,
}

/// A certificate that new connections may get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    pub file: PathBuf,
    /// DNS names in lower case.
    pub names: Vec<String>,
    /// The end of its validity, in seconds since the epoch.
    pub not_after: i64,
}

/// Where certificates come from.
enum Source {
    /// As `--tls-certificate` and `--tls-key` name them: directories may have changed since.
    Files { certificates: Vec<PathBuf>, keys: Vec<PathBuf> },
    /// Made by this node.
    SelfSigned,
}

impl Tls {
    /// Reads what the settings name; `None` if they name nothing. The directories are locked by this process.
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt.
    pub fn start(settings: &Settings, directories: &[DataDirectory]) -> Result<Option<Arc<Self>>, String> {
        let (certificates, keys) = (&settings.tls_certificates, &settings.tls_keys);
        let (source, loaded, instructions) = if settings.tls_self_signed {
            let certificate = self_signed::obtain(directories[0].path(), settings)?;
            let instructions = self_signed::instructions(directories[0].path(), &certificate);
            (Source::SelfSigned, vec![certificate], instructions)
        } else if certificates.is_empty() {
            return Ok(None);
        } else {
            let source = Source::Files { certificates: certificates.clone(), keys: keys.clone() };
            (source, read(certificates, keys)?, String::new())
        };
        let current = RwLock::new(Arc::new(config(&loaded)?));
        loaded.iter().for_each(Certificate::describe);
        let in_use = RwLock::new(loaded.iter().map(Certificate::in_use).collect());
        Ok(Some(Arc::new(Self { source, current, in_use, instructions })))
    }

    /// What new connections begin with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificates that new connections may get.
    pub fn in_use(&self) -> Vec<InUse> {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a person has to know who tries the node out; may be empty.
    pub fn instructions(&self) -> &str {
        &self.instructions
    }

    /// Reads the files again. If something is wrong with them, what is in use stays in use. Connections that
    /// there are go on with what they began with.
    pub fn reload(&self) {
        let Source::Files { certificates, keys } = &self.source else {
            tracing::warn!(
                "asked to read the certificates again: one that the node signed itself has no file to change"
            );
            return;
        };
        let loaded = read(certificates, keys).and_then(|loaded| Ok((config(&loaded)?, loaded)));
        match loaded {
            Ok((config, loaded)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                let in_use = loaded.iter().map(Certificate::in_use).collect();
                *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = in_use;
                tracing::info!("read the certificates again: new connections get them");
                loaded.iter().for_each(Certificate::describe);
            }
            Err(why) => tracing::error!("the certificates in use stay in use: {why}"),
        }
    }
}

/// A configuration for these certificates, the first of which is for whoever names none of theirs. Tickets of the
/// one before it are worth nothing, so that nobody resumes a session under a certificate that was taken away.
fn config(certificates: &[Certificate]) -> Result<ServerConfig, String> {
    let failed = |error: rustls::Error| format!("cannot set TLS up: {error}");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Names::of(certificates)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // What a client needs to resume its session it keeps itself, sealed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new().map_err(failed)?;
    Ok(config)
}

/// Reads all certificates with their keys.
fn read(certificates: &[PathBuf], keys: &[PathBuf]) -> Result<Vec<Certificate>, String> {
    let pairs = pairs(certificates, keys)?;
    if pairs.len() > TLS_CERTIFICATES_MAX {
        return Err(format!(
            "--tls-certificate: {} certificates are more than {TLS_CERTIFICATES_MAX}",
            pairs.len()
        ));
    }
    pairs.iter().map(|(certificate, key)| Certificate::read(certificate, key)).collect()
}

/// Which key is whose: those of files in the order they were given, those in directories by their names.
fn pairs(certificates: &[PathBuf], keys: &[PathBuf]) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let mut pairs = Vec::new();
    let mut keys_left = keys.iter();
    for certificate in certificates {
        if certificate.is_dir() {
            let found = pairs_in(certificate)?;
            if found.is_empty() {
                return Err(format!(
                    "--tls-certificate: in {} is no NAME.crt or NAME.pem with a NAME.key, and no fullchain.pem with \
                     a privkey.pem",
                    certificate.display()
                ));
            }
            pairs.extend(found);
        } else if let Some(key) = keys_left.next() {
            pairs.push((certificate.clone(), key.clone()));
        } else {
            return Err(format!("--tls-certificate: {} has no --tls-key", certificate.display()));
        }
    }
    match keys_left.next() {
        Some(key) => Err(format!("--tls-key: {} has no --tls-certificate", key.display())),
        None => Ok(pairs),
    }
}

/// The pairs in a directory and in those right below it, in the order of their names.
fn pairs_in(directory: &Path) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let mut pairs = Vec::new();
    for path in entries(directory)? {
        if path.is_dir() {
            pairs.extend(entries(&path)?.into_iter().filter_map(with_key));
        } else {
            pairs.extend(with_key(path));
        }
    }
    Ok(pairs)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", directory.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        // Volumes of Kubernetes have each file twice: under its name and in a hidden directory.
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A certificate's file and that of its key, if it is one and has one.
fn with_key(certificate: PathBuf) -> Option<(PathBuf, PathBuf)> {
    let extension = certificate.extension()?;
    if extension != "crt" && extension != "pem" {
        return None;
    }
    // As ACME clients name them.
    let is_full_chain = certificate.file_name().is_some_and(|name| name == "fullchain.pem");
    let key = if is_full_chain {
        certificate.with_file_name("privkey.pem")
    } else {
        certificate.with_extension("key")
    };
    key.is_file().then_some((certificate, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn directories_give_what_has_its_key_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [
            "b.crt",
            "b.key",
            "a.pem",
            "a.key",
            "lonely.crt",
            "notes.txt",
            "c/fullchain.pem",
            "c/privkey.pem",
        ] {
            touch(&at(name));
        }
        touch(&at("c/chain.pem"));
        touch(&at(".hidden/x.crt"));
        touch(&at(".hidden/x.key"));
        let found = pairs(&[folder.path().to_owned()], &[]).unwrap();
        let expected = [("a.pem", "a.key"), ("b.crt", "b.key"), ("c/fullchain.pem", "c/privkey.pem")];
        assert_eq!(found, expected.map(|(certificate, key)| (at(certificate), at(key))));
    }

    #[test]
    fn files_have_their_keys_in_order_and_none_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        touch(&folder.path().join("d.crt"));
        touch(&folder.path().join("d.key"));
        let path = |name: &str| PathBuf::from(name);
        let given = [path("x.pem"), folder.path().to_owned(), path("y.pem")];
        let found = pairs(&given, &[path("x.key"), path("y.key")]).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!((&found[0].1, &found[2].1), (&path("x.key"), &path("y.key")));
        assert!(pairs(&given, &[path("x.key")]).unwrap_err().contains("y.pem has no --tls-key"));
        assert!(pairs(&[], &[path("x.key")]).unwrap_err().contains("x.key has no --tls-certificate"));
        std::fs::remove_file(folder.path().join("d.key")).unwrap();
        assert!(pairs(&given[1..2], &[]).unwrap_err().contains("no NAME.crt"));
    }
}
