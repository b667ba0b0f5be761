//! TLS, with and without clients' certificates, and certificates renewed while it runs.

use std::net::IpAddr;

use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::tls::{TlsError, acceptor};
use super::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM text.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        Pair { certificate: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}

impl Pair {
    fn acceptor(&self, client_ca: Option<&Authority>) -> super::super::tls::Acceptor {
        let client_ca = client_ca.map(Authority::pem);
        acceptor(self.certificate.as_bytes(), self.key.as_bytes(), client_ca.as_ref().map(String::as_bytes)).unwrap()
    }
}

async fn connect(
    edge: &Edge,
    trusts: &Authority,
    shows: Option<&Pair>,
    offers: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusts.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = offers.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(edge.address).await?;
    let name = ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into());
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
}

/// One HTTP/1 request for `/certificate`. A client that is refused may notice only when it reads.
async fn certificate_seen(stream: std::io::Result<TlsStream<TcpStream>>) -> std::io::Result<String> {
    let (mut stream, mut answer) = (stream?, String::new());
    stream.write_all(b"GET /certificate HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await?;
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap()?;
    Ok(answer.rsplit("\r\n").next().unwrap().to_owned())
}

#[tokio::test]
async fn serves_http_1_and_http_2_as_the_client_chooses() {
    let authority = Authority::new();
    let edge = Edge::start_with(limits(), Some(authority.sign().acceptor(None)), PATIENCE).await;
    let plain = connect(&edge, &authority, None, &["http/1.1"]).await;
    assert_eq!(plain.as_ref().unwrap().get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    assert_eq!(certificate_seen(plain).await.unwrap(), "false");

    let stream = connect(&edge, &authority, None, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://127.0.0.1/a").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn refuses_clients_without_a_certificate_of_the_client_ca() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let edge = Edge::start_with(limits(), Some(authority.sign().acceptor(Some(&clients))), PATIENCE).await;
    assert!(certificate_seen(connect(&edge, &authority, None, &[]).await).await.is_err());
    assert!(certificate_seen(connect(&edge, &authority, Some(&strangers.sign()), &[]).await).await.is_err());
    until(|| edge.count(ConnectionEvent::TlsFailed) == 2).await;
    assert!(!edge.saw("/certificate"));
    assert_eq!(certificate_seen(connect(&edge, &authority, Some(&clients.sign()), &[]).await).await.unwrap(), "true");
}

#[tokio::test]
async fn a_renewed_certificate_is_in_force_without_a_restart() {
    let (before, after) = (Authority::new(), Authority::new());
    let acceptor = before.sign().acceptor(None);
    let edge = Edge::start_with(limits(), Some(acceptor.clone()), PATIENCE).await;
    assert!(connect(&edge, &before, None, &[]).await.is_ok());
    assert!(acceptor.renew(b"damaged", b"damaged", None).is_err());
    assert!(connect(&edge, &before, None, &[]).await.is_ok());
    let pair = after.sign();
    acceptor.renew(pair.certificate.as_bytes(), pair.key.as_bytes(), None).unwrap();
    assert!(connect(&edge, &before, None, &[]).await.is_err());
    assert_eq!(certificate_seen(connect(&edge, &after, None, &[]).await).await.unwrap(), "false");
}

#[tokio::test]
async fn cuts_a_client_that_does_not_shake_hands() {
    let limits = Limits { header_read_timeout: SHORT, ..limits() };
    let edge = Edge::start_with(limits, Some(Authority::new().sign().acceptor(None)), PATIENCE).await;
    assert_eq!(edge.connect().await.rest().await, "");
    edge.until_event(ConnectionEvent::HeadTimedOut).await;
}

#[tokio::test]
async fn cuts_a_client_that_is_silent_after_the_handshake() {
    let authority = Authority::new();
    let limits = Limits { header_read_timeout: SHORT, ..limits() };
    let edge = Edge::start_with(limits, Some(authority.sign().acceptor(None)), PATIENCE).await;
    let mut stream = connect(&edge, &authority, None, &[]).await.unwrap();
    let _ = timeout(PATIENCE, stream.read_u8()).await.expect("the server closes");
    edge.until_event(ConnectionEvent::HeadTimedOut).await;
}

#[tokio::test]
async fn a_connection_ends_with_a_word() {
    let authority = Authority::new();
    let acceptor = authority.sign().acceptor(None);
    let idling = Limits { keep_alive_timeout: SHORT, ..limits() };
    for (limits, ended) in [(idling, Some(ConnectionEvent::IdleTimedOut)), (limits(), None)] {
        let edge = Edge::start_with(limits, Some(acceptor.clone()), PATIENCE).await;
        let mut stream = connect(&edge, &authority, None, &["http/1.1"]).await.unwrap();
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"GET /hello ") {
            answer.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        match ended {
            Some(event) => edge.until_event(event).await,
            None => edge.stop.cancel(),
        }
        // Without the word this would be an error.
        assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
        edge.stop.cancel();
        edge.ends().await;
    }
}

#[tokio::test]
async fn ends_while_a_client_shakes_hands() {
    let edge = Edge::start_with(limits(), Some(Authority::new().sign().acceptor(None)), PATIENCE).await;
    let mut client = edge.connect().await;
    edge.until_event(ConnectionEvent::Accepted).await;
    edge.stop.cancel();
    assert_eq!(client.rest().await, "");
    edge.ends().await;
}

#[test]
fn says_what_is_wrong_with_pem_text() {
    let check = |certificate: &str, key: &str, client_ca: Option<&str>, expect: &str| {
        let error = acceptor(certificate.as_bytes(), key.as_bytes(), client_ca.map(str::as_bytes)).err().unwrap();
        assert!(error.to_string().starts_with(expect), "{error}");
        error
    };
    let (good, other) = (Authority::new().sign(), Authority::new().sign());
    let damaged = good.certificate.replacen("MI", "!!", 1);
    check("", &good.key, None, "the certificate file holds no PEM block");
    check(&good.key, &good.key, None, "the certificate file holds no PEM block");
    check(&damaged, &good.key, None, "the certificate file is not readable PEM");
    check(&good.certificate, &good.certificate, None, "the key file holds no readable PEM block");
    check(&good.certificate, &good.key.replacen("MI", "!!", 1), None, "the key file holds no readable PEM block");
    let mismatch = check(&good.certificate, &other.key, None, "the certificate and the key cannot be used together");
    assert!(matches!(mismatch, TlsError::PairUnusable(_)));
    check(&good.certificate, &good.key, Some(""), "the client CA file holds no PEM block");
    check(&good.certificate, &good.key, Some(&damaged), "the client CA file is not readable PEM");
}
