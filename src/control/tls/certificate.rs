//! One certificate with its chain and its key, checked as far as the node can.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use super::InUse;
use super::validity::Validity;
use crate::base::limits::{TLS_EXPIRY_WARNING_DAYS, TLS_FILE_BYTES_MAX};
use crate::http::date;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// A certificate that can be used.
pub(super) struct Certificate {
    path: PathBuf,
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names in lower case; `*.` in front of one stands for one label.
    pub(super) names: Vec<String>,
    pub(super) validity: Validity,
}

impl Certificate {
    /// Reads a certificate and its key, both PEM.
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt: what is wrong with which file. It never quotes them.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(&bytes(certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("{} is not a PEM file: {error}", certificate.display()))?;
        if chain.is_empty() {
            return Err(format!(
                "{} holds no certificate (-----BEGIN CERTIFICATE-----)",
                certificate.display()
            ));
        }
        warn_if_open(key);
        let private = PrivateKeyDer::from_pem_slice(&bytes(key)?)
            .map_err(|error| format!("{} holds no private key in PEM: {error}", key.display()))?;
        Self::of(certificate, chain, key, private)
    }

    fn of(
        path: &Path,
        chain: Vec<CertificateDer<'static>>,
        key: &Path,
        private: PrivateKeyDer<'static>,
    ) -> Result<Self, String> {
        let shown = path.display();
        let leaf = chain[0].clone();
        let parsed = EndEntityCert::try_from(&leaf)
            .map_err(|error| format!("{shown} holds no certificate for a server: {error:?}"))?;
        let names = parsed.valid_dns_names().map(str::to_ascii_lowercase).collect();
        let validity = Validity::of(&leaf)
            .ok_or_else(|| format!("{shown}: the time for which its certificate is valid cannot be read"))?;
        let certified = CertifiedKey::from_der(chain, private, &ring::default_provider());
        let certified = certified.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("{} is not the key of the certificate in {shown}", key.display())
            }
            error => format!("{} cannot be used with the certificate in {shown}: {error}", key.display()),
        })?;
        let now = now();
        if validity.not_after < now {
            return Err(format!("the certificate in {shown} expired at {}", moment(validity.not_after)));
        }
        if validity.not_before > now {
            return Err(format!(
                "the certificate in {shown} is not valid before {}",
                moment(validity.not_before)
            ));
        }
        Ok(Self { path: path.to_owned(), key: Arc::new(certified), names, validity })
    }

    /// Writes to the log what is in use.
    pub(super) fn describe(&self) {
        tracing::info!(
            names = ?self.names,
            expires = moment(self.validity.not_after),
            sha256 = self.fingerprint(),
            "TLS certificate {}",
            self.path.display(),
        );
        let days = self.days_left();
        if days < TLS_EXPIRY_WARNING_DAYS {
            tracing::warn!("the certificate in {} expires in {days} days", self.path.display());
        }
    }

    /// What there is to tell of it.
    pub(super) fn in_use(&self) -> InUse {
        InUse { file: self.path.clone(), names: self.names.clone(), not_after: self.validity.not_after }
    }

    /// Whole days until it expires.
    pub(super) fn days_left(&self) -> i64 {
        (self.validity.not_after - now()) / DAY_SECONDS
    }

    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` shows it.
    pub(super) fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.key.cert[0]);
        let mut text = String::new();
        for (index, byte) in digest.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            let _ = write!(text, "{separator}{byte:02X}");
        }
        text
    }
}

fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() || metadata.len() > TLS_FILE_BYTES_MAX {
        return Err(format!("{} is no PEM file: it is no plain file, or much too long", path.display()));
    }
    std::fs::read(path).map(Zeroizing::new).map_err(cannot)
}

fn warn_if_open(key: &Path) {
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o007 != 0 {
        tracing::warn!("everybody on this machine can read the key in {0}; run: chmod o= {0}", key.display());
    }
}

fn moment(seconds: i64) -> String {
    date::iso8601(u64::try_from(seconds).unwrap_or_default().saturating_mul(1000))
}

/// Seconds since the epoch.
pub(super) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the main thread is outside of any simulation")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Writes a certificate for `names` that ends so many days from now, and its key.
    pub(in super::super) fn write(
        folder: &Path,
        stem: &str,
        names: &[&str],
        days: i64,
    ) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = rcgen::CertificateParams::new(names).unwrap();
        let moment = |seconds: i64| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        parameters.not_before = moment(now() - 30 * DAY_SECONDS);
        parameters.not_after = moment(now() + days * DAY_SECONDS);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let paths = (folder.join(format!("{stem}.crt")), folder.join(format!("{stem}.key")));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    fn refusal(certificate: &Path, key: &Path) -> String {
        Certificate::read(certificate, key).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_certificate_says_its_names_and_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = write(folder.path(), "a", &["A.example", "*.a.example", "127.0.0.1"], 20);
        let read = Certificate::read(&certificate, &key).unwrap();
        assert_eq!(read.names, ["a.example", "*.a.example"]);
        assert!((19..=20).contains(&read.days_left()));
        assert_eq!(read.fingerprint().len(), 95);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_file_that_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = write(folder.path(), "a", &["a"], 20);
        let (_, other_key) = write(folder.path(), "b", &["b"], 20);
        let (old, old_key) = write(folder.path(), "old", &["a"], -1);
        let missing = folder.path().join("missing");
        assert!(refusal(&certificate, &other_key).contains("b.key is not the key of the certificate in"));
        assert!(refusal(&old, &old_key).contains("old.crt expired at 20"));
        assert!(refusal(&missing, &key).contains("cannot read"));
        assert!(refusal(&key, &key).contains("a.key holds no certificate"));
        assert!(refusal(&certificate, &certificate).contains("a.crt holds no private key"));
        assert!(refusal(folder.path(), &key).contains("no plain file"));
        std::fs::write(&missing, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(refusal(&missing, &key).contains("no certificate for a server"));
    }
}
