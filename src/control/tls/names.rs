//! Which certificate a client gets: by the name that it says it wants (SNI, RFC 6066), and by the signatures that it
//! understands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;

/// Certificates by name. For one name there may be several, with keys of different kinds.
pub(super) struct Names {
    by_name: BTreeMap<String, Vec<Arc<CertifiedKey>>>,
    /// For whoever names nothing that is here: those for the names of the first.
    others: Vec<Arc<CertifiedKey>>,
}

impl Names {
    pub(super) fn of(certificates: &[Certificate]) -> Self {
        let mut by_name: BTreeMap<String, Vec<Arc<CertifiedKey>>> = BTreeMap::new();
        for certificate in certificates {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_default().push(certificate.key.clone());
            }
        }
        let mut others: Vec<_> = certificates.iter().take(1).map(|first| first.key.clone()).collect();
        let names_of_first = certificates.first().map(|first| first.names.as_slice()).unwrap_or_default();
        let alike = certificates.iter().skip(1).filter(|other| other.names == names_of_first);
        others.extend(alike.map(|other| other.key.clone()));
        Self { by_name, others }
    }

    /// The first certificate for `name` whose key can sign in a way that the client understands. A wildcard
    /// stands for exactly one label (RFC 9525, section 6.3).
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        let wildcard = name.split_once('.').map(|(_, domain)| format!("*.{domain}")).unwrap_or_default();
        let named = self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard));
        let choice = named.unwrap_or(&self.others);
        choice.iter().find(|certified| certified.key.choose_scheme(schemes).is_some()).cloned()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.by_name.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::write;
    use super::*;

    #[test]
    fn the_name_decides_and_the_first_is_for_everybody_else() {
        let folder = tempfile::tempdir().unwrap();
        let read = |stem: &str, names: &[&str]| {
            let (certificate, key) = write(folder.path(), stem, names, 20);
            Certificate::read(&certificate, &key).unwrap()
        };
        let certificates = [read("a", &["a.example"]), read("b", &["b.example", "*.b.example"])];
        let names = Names::of(&certificates);
        let chosen = |name: Option<&str>| {
            let chosen = names.choose(name, &[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
            certificates.iter().position(|certificate| Arc::ptr_eq(&certificate.key, &chosen)).unwrap()
        };
        assert_eq!(chosen(Some("a.example")), 0);
        assert_eq!(chosen(Some("B.Example")), 1);
        assert_eq!(chosen(Some("bucket.b.example")), 1);
        assert_eq!(chosen(Some("x.bucket.b.example")), 0);
        assert_eq!(chosen(Some("elsewhere")), 0);
        assert_eq!(chosen(None), 0);
        assert!(names.choose(None, &[SignatureScheme::RSA_PSS_SHA256]).is_none());
    }
}
