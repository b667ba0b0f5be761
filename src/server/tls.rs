//! TLS for the server: from PEM text to an acceptor whose certificate can be renewed while it runs.
//! Must not know where the PEM text comes from.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerSessionMemoryCache, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Sessions that clients may resume: a provider's few addresses, not the world.
const SESSIONS_MAX: usize = 1024;

/// Shakes hands by the certificate of the day. Clones share it.
#[derive(Clone)]
pub struct Acceptor(Arc<ArcSwap<ServerConfig>>);

/// Why a certificate, key or client CA cannot be used, and what to do. Tells nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate's text holds none.
    #[error(
        "the certificate file holds no PEM block `BEGIN CERTIFICATE`: give the server's certificate, then its intermediates"
    )]
    CertificateMissing,
    /// The certificate's text is damaged.
    #[error("the certificate file is not readable PEM: write it again, whole, as the certificate authority gave it")]
    CertificateUnreadable(#[source] rustls::pki_types::pem::Error),
    /// The key's text holds none, or a damaged one.
    #[error(
        "the key file holds no readable PEM block `BEGIN PRIVATE KEY`, `BEGIN RSA PRIVATE KEY` or `BEGIN EC PRIVATE KEY`: \
         give the key of the server's certificate; an encrypted one must be decrypted first"
    )]
    KeyMissing,
    /// Certificate and key are whole, but not usable together.
    #[error(
        "the certificate and the key cannot be used together: give the key that the first certificate in the file was made for"
    )]
    PairUnusable(#[source] rustls::Error),
    /// The client CA's text holds none.
    #[error(
        "the client CA file holds no PEM block `BEGIN CERTIFICATE`: give the certificates that sign clients' certificates"
    )]
    ClientCaMissing,
    /// The client CA's text is damaged.
    #[error("the client CA file is not readable PEM: write it again, whole")]
    ClientCaUnreadable(#[source] rustls::pki_types::pem::Error),
    /// A certificate of the client CA cannot be a trust anchor.
    #[error("a certificate in the client CA file cannot be trusted: give X.509 v3 CA certificates")]
    ClientCaUnusable(#[source] rustls::Error),
    /// No verifier can be made of the client CA.
    #[error("the client CA file cannot verify clients")]
    ClientCaUnverifiable(#[source] VerifierBuilderError),
    /// The cryptography does not know TLS 1.2 or 1.3. A fault of the build.
    #[error("this build's cryptography does not know TLS 1.2 and 1.3")]
    VersionsUnknown(#[source] rustls::Error),
}

/// Makes an acceptor from PEM text: the server's certificate chain, its key, and, where clients must show certificates,
/// the CA that signs them. Speaks TLS 1.2 and 1.3, and offers `h2` and `http/1.1`.
///
/// # Errors
/// Which of the three is unusable, and what to do.
pub fn acceptor(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Acceptor, TlsError> {
    let config = server_config(certificate, key, client_ca)?;
    Ok(Acceptor(Arc::new(ArcSwap::from_pointee(config))))
}

impl Acceptor {
    /// Puts new PEM text in force for the handshakes to come, in every clone. Open connections keep what they have;
    /// sessions of the old text are not resumed.
    ///
    /// # Errors
    /// Which of the three is unusable; the old stay in force.
    pub fn renew(&self, certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<(), TlsError> {
        let config = server_config(certificate, key, client_ca)?;
        self.0.store(Arc::new(config));
        Ok(())
    }

    /// Shakes hands. Sets no deadline.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.load_full()).accept(stream).await
    }
}

fn server_config(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<ServerConfig, TlsError> {
    // Named, so that another crate's feature cannot choose.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(certificate).map_err(TlsError::CertificateUnreadable)?;
    if chain.is_empty() {
        return Err(TlsError::CertificateMissing);
    }
    // Its error is dropped: it may hold a line of the key.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::KeyMissing)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::VersionsUnknown)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => builder.with_client_cert_verifier(client_verifier(pem, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::PairUnusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // In this process's memory, and new with each configuration: a renewed client CA is asked again.
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    // Early data can be replayed.
    config.max_early_data_size = 0;
    Ok(config)
}

/// When the first of the certificates in a PEM text expires, in seconds since 1970; none where one cannot be read.
pub fn first_expiry(pem: &[u8]) -> Option<i64> {
    let expiries = certificates(pem).ok()?.into_iter().map(|certificate| {
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    });
    expiries.collect::<Option<Vec<i64>>>()?.into_iter().min()
}

/// Clients without a certificate that `pem` signed are refused in the handshake.
fn client_verifier(
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).map_err(TlsError::ClientCaUnreadable)? {
        roots.add(certificate).map_err(TlsError::ClientCaUnusable)?;
    }
    if roots.is_empty() {
        return Err(TlsError::ClientCaMissing);
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(TlsError::ClientCaUnverifiable)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}
