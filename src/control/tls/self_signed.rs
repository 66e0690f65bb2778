//! A certificate for trying out, which the node signs itself and keeps in its first data directory, so that clients
//! need to be told once.

use std::fmt::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use rcgen::{CertificateParams, DnType, KeyPair, string::Ia5String};
use rustls::pki_types::ServerName;
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use super::certificate::{Certificate, now};
use crate::control::{Settings, private_file};

const CERTIFICATE: &str = "ringcask.self-signed.crt";
const CERTIFICATE_NEW: &str = "ringcask.self-signed.crt.new";
const KEY: &str = "ringcask.self-signed.key";
const KEY_NEW: &str = "ringcask.self-signed.key.new";

/// The files in a data directory.
pub const FILE_NAMES: [&str; 4] = [CERTIFICATE, CERTIFICATE_NEW, KEY, KEY_NEW];

/// How long it is valid: some systems trust none for longer than 398 days.
const DAYS: i64 = 365;

/// A start makes a new one for the last days of the old.
const DAYS_LEFT_MIN: i64 = 30;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The certificate of an earlier start, or a new one if that will not do.
///
/// # Errors
///
/// One sentence for the person at the prompt.
pub(super) fn obtain(directory: &Path, settings: &Settings) -> Result<Certificate, String> {
    let (path, key) = (directory.join(CERTIFICATE), directory.join(KEY));
    let names = names(settings);
    if path.exists()
        && let Ok(certificate) = Certificate::read(&path, &key)
        && certificate.days_left() >= DAYS_LEFT_MIN
        && covers(&certificate, &names)
    {
        return Ok(certificate);
    }
    make(directory, &names)
        .map_err(|error| format!("cannot make a certificate in {}: {error}", directory.display()))?;
    Certificate::read(&path, &key)
}

/// What a person has to do so that clients trust it.
pub(super) fn instructions(directory: &Path, certificate: &Certificate) -> String {
    let path = directory.join(CERTIFICATE);
    format!(
        "TLS with a certificate that this node signed itself, for trying out. Clients must be told to trust\n{}\n\
         after they have got a copy by a safe way. SHA-256 fingerprint:\n{}\n\
         export AWS_CA_BUNDLE={}\n\n",
        path.display(),
        certificate.fingerprint(),
        path.display(),
    )
}

/// By which names and addresses clients may reach this node.
fn names(settings: &Settings) -> Vec<String> {
    let listen = settings.listen.ip();
    let own = if listen.is_unspecified() { outward_address() } else { Some(listen) };
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let domains = settings.domains.iter().flat_map(|domain| [domain.clone(), format!("*.{domain}")]);
    names.extend(own.map(|address| address.to_string()).into_iter().chain([host]).chain(domains));
    // What is neither an address nor a DNS name can be in no certificate.
    names.retain(|name| is_name(name));
    names.sort();
    names.dedup();
    names
}

fn is_name(name: &str) -> bool {
    ServerName::try_from(name.strip_prefix("*.").unwrap_or(name).to_owned()).is_ok()
}

/// The address with which this machine would send to others. Nothing is sent: the socket only looks for a way.
fn outward_address() -> Option<IpAddr> {
    // RFC 5737: an address that is nobody's.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn covers(certificate: &Certificate, names: &[String]) -> bool {
    let Ok(parsed) = EndEntityCert::try_from(&certificate.key.cert[0]) else { return false };
    names.iter().all(|name| {
        certificate.names.contains(name)
            || ServerName::try_from(name.clone())
                .is_ok_and(|name| parsed.verify_is_valid_for_subject_name(&name).is_ok())
    })
}

fn make(directory: &Path, names: &[String]) -> Result<(), String> {
    let failed = |error: rcgen::Error| error.to_string();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "ringcask, self-signed");
    for name in names {
        parameters.subject_alt_names.push(match name.parse() {
            Ok(address) => rcgen::SanType::IpAddress(address),
            Err(_) => rcgen::SanType::DnsName(Ia5String::try_from(name.as_str()).map_err(failed)?),
        });
    }
    let moment =
        |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| error.to_string());
    // Clients' clocks may be behind.
    parameters.not_before = moment(now() - DAY_SECONDS)?;
    parameters.not_after = moment(now() + DAYS * DAY_SECONDS)?;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    let secret = Zeroizing::new(key.serialize_pem());
    let mut text = String::new();
    let _ = write!(text, "{}", certificate.pem());
    private_file::store(directory, KEY, KEY_NEW, &secret)
        .and_then(|()| private_file::store(directory, CERTIFICATE, CERTIFICATE_NEW, &text))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::config::Layer;

    fn settings(toml: &str) -> Settings {
        Layer::from_toml(toml).unwrap().settle().unwrap()
    }

    #[test]
    fn it_stays_the_same_until_the_node_has_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let fingerprint = |settings: &Settings| obtain(folder.path(), settings).unwrap().fingerprint();
        let plain = settings("");
        let first = fingerprint(&plain);
        assert_eq!(fingerprint(&plain), first);
        let named = settings("domain = 's3.example.com'");
        let second = fingerprint(&named);
        assert_ne!(second, first);
        let names = obtain(folder.path(), &named).unwrap().names;
        assert!(
            ["localhost", "s3.example.com", "*.s3.example.com"]
                .iter()
                .all(|n| names.contains(&(*n).to_owned()))
        );
        std::fs::write(folder.path().join(KEY), "cut short").unwrap();
        assert_ne!(fingerprint(&named), second, "what an interrupted start left is made anew");
    }
}
