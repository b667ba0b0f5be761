//! The webhook port with TLS: client certificates that are required, and a certificate renewed without a restart.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::support::authority::{Authority, Pair};
use crate::support::bridge::{Bridge, ready_to_confirm};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;
use crate::support::wire::{SMART_GLOCAL, head};

const LIMIT: Duration = Duration::from_secs(30);

/// The files of `[ingress.tls]`.
struct Files(TempDir);

impl Files {
    fn new(pair: &Pair, clients: Option<&Authority>) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(pair);
        if let Some(clients) = clients {
            fs::write(files.path("client-ca.pem"), clients.pem()).unwrap();
        }
        files
    }

    fn write(&self, pair: &Pair) {
        fs::write(self.path("cert.pem"), &pair.certificate).unwrap();
        fs::write(self.path("key.pem"), &pair.key).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn start(&self) -> Bridge {
        self.start_with(SMART_GLOCAL)
    }

    fn start_with(&self, sources: &str) -> Bridge {
        let (certificate, key, clients) = (self.path("cert.pem"), self.path("key.pem"), self.path("client-ca.pem"));
        let mut settings =
            vec![("INGRESS__TLS__CERT_FILE", certificate.as_str()), ("INGRESS__TLS__KEY_FILE", key.as_str())];
        if Path::new(&clients).exists() {
            settings.push(("INGRESS__TLS__CLIENT_CA_FILE", &clients));
        }
        Bridge::start_with(Kafka::shared(), sources, &settings)
    }
}

/// Sends a webhook over TLS, and gives the answer's first line.
fn post(bridge: &Bridge, trusts: &Authority, shows: Option<&Pair>, number: u64) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusts.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match shows {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()).unwrap()
        }
    };
    let name = ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into());
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(bridge.url.trim_start_matches("http://"))?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut stream = StreamOwned::new(connection, socket);
    let webhook = ready_to_confirm(&bridge.config, number);
    let framing = format!("Connection: close\r\nContent-Length: {}", webhook.body.len());
    stream.write_all(head(&bridge.path("sg-main"), &webhook, &framing).as_bytes())?;
    stream.write_all(&webhook.body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn a_client_without_a_certificate_of_the_client_authority_does_not_get_through_the_handshake() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let bridge = Files::new(&authority.sign("somebody"), Some(&clients)).start();
    assert!(post(&bridge, &authority, None, 1).is_err());
    assert!(post(&bridge, &authority, Some(&strangers.sign("somebody")), 2).is_err());
    assert_eq!(post(&bridge, &authority, Some(&clients.sign("somebody")), 3).unwrap(), "HTTP/1.1 200 OK");
    let failed = r#"paybridge_ingress_connection_events_total{event="tls_failed"}"#;
    eventually(LIMIT, || match format!("{}", bridge.metric(failed)).as_str() {
        "2" => Ok(()),
        other => Err(format!("{other} handshakes failed")),
    });
}

/// Any certificate of the authority connects; a source that names its own takes no other.
#[test]
fn a_source_takes_only_certificates_with_a_name_of_its_own() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let sources = format!("{SMART_GLOCAL}client_cert_names = [\"sg.example.com\", \"backup.example.com\"]");
    let bridge = Files::new(&authority.sign("somebody"), Some(&clients)).start_with(&sources);
    let status = |pair: Pair, number| post(&bridge, &authority, Some(&pair), number).unwrap();
    for (number, name) in [(1, "other.example.com"), (2, "sg.example.com.evil.example"), (3, "example.com")] {
        assert_eq!(status(clients.sign_for(name), number), "HTTP/1.1 403 Forbidden", "{name}");
    }
    // A common name is no subject alternative name.
    assert_eq!(status(clients.sign("sg.example.com"), 4), "HTTP/1.1 403 Forbidden");
    assert_eq!(status(clients.sign_for("sg.example.com"), 5), "HTTP/1.1 200 OK");
    assert_eq!(status(clients.sign_for("backup.example.com"), 6), "HTTP/1.1 200 OK");
}

#[test]
fn a_renewed_certificate_is_in_force_without_a_restart_and_an_unusable_one_is_not() {
    let (before, after) = (Authority::new(), Authority::new());
    let files = Files::new(&before.sign("somebody"), None);
    let bridge = files.start();
    assert_eq!(post(&bridge, &before, None, 1).unwrap(), "HTTP/1.1 200 OK");
    fs::write(files.path("cert.pem"), "damaged").unwrap();
    await_reloads(&bridge, "unusable");
    assert_eq!(post(&bridge, &before, None, 2).unwrap(), "HTTP/1.1 200 OK");
    files.write(&after.sign("somebody"));
    await_reloads(&bridge, "used");
    assert_eq!(post(&bridge, &after, None, 3).unwrap(), "HTTP/1.1 200 OK");
    assert!(post(&bridge, &before, None, 4).is_err(), "the old certificate is gone");
}

#[test]
fn a_certificate_that_expires_soon_has_an_alert() {
    let in_ten_days = SystemTime::now() + Duration::from_hours(240);
    let files = Files::new(&Authority::new().sign_until("somebody", in_ten_days), None);
    files.start().assert_fires("PaybridgeCertificateExpires");
}

#[track_caller]
fn await_reloads(bridge: &Bridge, result: &str) {
    let series = format!(r#"paybridge_key_reloads_total{{source="_tls",result="{result}"}}"#);
    eventually(LIMIT, || match bridge.metric(&series) {
        none if none < 1.0 => Err(format!("no reload is {result}")),
        _ => Ok(()),
    });
}
