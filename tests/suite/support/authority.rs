//! A certificate authority of a test's own, for servers on loopback and for their clients.

use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType};

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM text.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key, in PKCS#8.
    pub key: String,
}

impl Authority {
    /// A new one, which nobody trusts yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate with a key of its own, for a server on 127.0.0.1 or a client; `name` is its common name and nothing else.
    pub fn sign(&self, name: &str) -> Pair {
        self.sign_with(name, |_| {})
    }

    /// The same until a moment.
    pub fn sign_until(&self, name: &str, end: SystemTime) -> Pair {
        self.sign_with(name, |params| params.not_after = end.into())
    }

    /// The same, for a client of this DNS name.
    pub fn sign_for(&self, dns_name: &str) -> Pair {
        let name = SanType::DnsName(dns_name.try_into().unwrap());
        self.sign_with("somebody", |params| params.subject_alt_names.push(name))
    }

    fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        Pair { certificate: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }

    /// Its own certificate, as PEM text: what those have who trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }
}
