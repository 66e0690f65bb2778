//! A certificate authority of the tests' own, and clients that trust it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// Files of a certificate and its key.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ca-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "ringcask tests");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        fs::write(folder.path().join("authority.pem"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(parameters, key) }
    }

    /// The file that clients are to trust.
    pub fn bundle(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Issues a certificate that is valid for so many days from now; what the files held before is replaced.
    pub fn issue_for(&self, stem: &str, names: &[&str], days: i64) -> Pair {
        let mut parameters =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, stem);
        parameters.use_authority_key_identifier_extension = true;
        parameters.not_before = OffsetDateTime::now_utc() - Duration::days(30);
        parameters.not_after = OffsetDateTime::now_utc() + Duration::days(days);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let at = |extension: &str| self.folder.path().join(format!("{stem}.{extension}"));
        let pair = Pair { certificate: at("crt"), key: at("key") };
        fs::write(&pair.certificate, certificate.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    /// Issues one for clients on this machine.
    pub fn issue(&self, stem: &str) -> Pair {
        self.issue_for(stem, &["localhost", "127.0.0.1"], 90)
    }

    /// How a client connects that trusts this authority.
    pub fn client(&self) -> Arc<ClientConfig> {
        trust(&self.bundle(), rustls::DEFAULT_VERSIONS)
    }
}

/// How a client connects that trusts what is in a file, and speaks these versions of TLS.
pub fn trust(bundle: &Path, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(bundle).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Pair {
    /// As the node is told of them.
    pub fn arguments(&self) -> Vec<String> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let options = ["--tls-certificate", "--tls-key"].map(str::to_owned);
        let [certificate, key] = options;
        vec![certificate, text(&self.certificate), key, text(&self.key)]
    }
}
