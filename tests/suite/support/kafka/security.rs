//! Encrypted connections to a node: its authority and certificate, and who logs in there with a password or a certificate.
//! Both are the same principal to a test: each may do everything.

use std::fs;
use std::io;
use std::path::Path;

use crate::support::authority::{Authority, Pair};

/// The node's certificate and key, and the authority of its clients, in its folder.
const KEY_STORE: &str = "node.pem";
const TRUST_STORE: &str = "clients.pem";

/// Who may trust whom.
pub struct Security {
    authority: Authority,
}

impl Security {
    /// Who logs in by SCRAM, and the common name of clients' certificates.
    pub const SCRAM_USER: &str = "bridge";
    /// The user's password in a new node.
    pub const SCRAM_PASSWORD: &str = "the-first-password";

    pub(super) fn new() -> Self {
        Self { authority: Authority::new() }
    }

    /// What the node trusts.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Puts the node's files into its folder.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let Pair { certificate, key } = self.authority.sign("127.0.0.1");
        fs::write(folder.join(KEY_STORE), key + &certificate)?;
        fs::write(folder.join(TRUST_STORE), self.authority.pem())
    }

    /// How the storage is told of the user before the first start.
    pub(super) fn first_scram_user() -> String {
        format!("SCRAM-SHA-512=[name={},password={}]", Self::SCRAM_USER, Self::SCRAM_PASSWORD)
    }

    /// The lines of the two listeners.
    pub(super) fn server_properties(folder: &Path) -> String {
        format!(
            "\
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.certificate.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={key_store}
ssl.truststore.type=PEM
ssl.truststore.location={trust_store}
",
            key_store = folder.join(KEY_STORE).display(),
            trust_store = folder.join(TRUST_STORE).display(),
        )
    }
}
