//! The client edge of HTTP: connections to other machines, with TLS where the URL asks for it.
//! Must not know what is sent over them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};

/// Opens a connection for an `https://` or `http://` URL.
pub type Connector = HttpsConnector<HttpConnector>;

/// Whose certificates are believed.
pub enum Roots {
    /// Those that the system's root certificates signed (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
    System,
    /// Those that these root certificates signed; of an empty store: nobody's, where no URL is encrypted.
    Only(RootCertStore),
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The cryptography does not know TLS 1.2 or 1.3. A fault of the build.
    #[error("this build's cryptography does not know TLS 1.2 and 1.3")]
    VersionsUnknown(#[source] rustls::Error),
    /// There are no root certificates to believe.
    #[error("the system's root certificates cannot be read: install them, or name a file of them in SSL_CERT_FILE")]
    RootsUnreadable(#[source] io::Error),
}

/// Makes a connector for HTTP/1.1 and, over TLS 1.2 or 1.3, HTTP/2. A TCP connection comes about within
/// `connect_timeout`, or fails; the TLS handshake has no limit of its own.
///
/// # Errors
/// There is no TLS, or nobody to believe.
pub fn connector(roots: Roots, connect_timeout: Duration) -> Result<Connector, HttpsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpsError::VersionsUnknown)?;
    let builder = match roots {
        Roots::System => builder.with_native_roots().map_err(HttpsError::RootsUnreadable)?,
        Roots::Only(store) => builder.with_root_certificates(store),
    };
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(connect_timeout));
    // Requests are small and complete: waiting for more to send with them would only delay them.
    tcp.set_nodelay(true);
    // Or it would refuse `https://`, which is the outer connector's.
    tcp.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(builder.with_no_client_auth());
    Ok(builder.https_or_http().enable_all_versions().wrap_connector(tcp))
}
