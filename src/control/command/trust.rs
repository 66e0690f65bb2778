//! Whom commands trust that reach the admin listener over TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::base::limits::CA_FILE_BYTES_MAX;

/// Where Linux distributions keep the authorities that their users trust: Debian's place and its relatives',
/// Red Hat's, Alpine's.
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A configuration that trusts the certificates in `ca`, or those that the system trusts.
///
/// # Errors
///
/// One sentence for the person at the prompt.
pub fn of(ca: Option<&Path>) -> Result<TlsConfig, String> {
    let path = match ca {
        Some(path) => path.to_owned(),
        None => SYSTEM_FILES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            "name a file with the certificates to trust with --ca: this system has none where they usually are"
                .to_owned()
        })?,
    };
    let shown = path.display();
    let bytes =
        std::fs::metadata(&path).map_err(|error| format!("--ca: cannot read {shown}: {error}"))?.len();
    if bytes > CA_FILE_BYTES_MAX {
        return Err(format!("--ca: {shown} has {bytes} bytes; that cannot be right"));
    }
    let pem = std::fs::read(&path).map_err(|error| format!("--ca: cannot read {shown}: {error}"))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|error| format!("--ca: {shown} is not a PEM file: {error}"))?
        {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(format!("--ca: {shown} holds no certificate (-----BEGIN CERTIFICATE-----)"));
    }
    let config = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&certificates));
    Ok(config.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_trusted_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refusal = |path: &Path| of(Some(path)).map(drop).unwrap_err();
        assert!(refusal(&path).contains("cannot read") && refusal(&path).contains("ca.pem"));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(refusal(&path).contains("holds no certificate"));
    }
}
