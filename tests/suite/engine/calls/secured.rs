//! Who believes whom: the provider the signature and the project, the caller the certificate.

use std::fs;

use paybridge::provider::keys::generate_pem_pair;
use paybridge::server::tls::acceptor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;

#[test]
fn with_a_foreign_key_or_project_nothing_is_processed_and_the_right_one_is_in_force_at_the_next_call() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.pem");
    fs::write(&foreign, generate_pem_pair().unwrap().0.as_bytes()).unwrap();
    for way in [Way { private_key: foreign, ..Way::default() }, Way { project: "another", ..Way::default() }] {
        let setup = CallsSetup::with(way, simulator::SimulatorSettings::new(PROJECT, known_keys()));
        assert_eq!(setup.reply(Operation::Confirm, 1), Reply::NotProcessed);
        assert!(setup.simulator.session("ps_1").is_none());
        setup.api.store(Arc::new(session_api(&format!("http://{}", setup.simulator.address), &Way::default())));
        assert!(matches!(setup.reply(Operation::Confirm, 1), Reply::Ok(_)));
        assert_eq!(setup.applied(), [Operation::Confirm]);
    }
}

/// A certificate authority, and an acceptor for loopback whose certificate it has signed.
fn authority() -> (RootCertStore, Acceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(issuer.pem().as_bytes()).unwrap()).unwrap();
    (roots, acceptor(certificate.pem().as_bytes(), key.serialize_pem().as_bytes(), None).unwrap())
}

fn over_tls(roots: RootCertStore, tls: Acceptor) -> CallsSetup {
    let way = Way { roots, tls: Some(tls), ..Way::default() };
    CallsSetup::with(way, simulator::SimulatorSettings::new(PROJECT, known_keys()))
}

#[test]
fn with_a_certificate_that_nobody_known_signed_nothing_is_processed() {
    let (_, tls) = authority();
    let (others, _) = authority();
    for roots in [RootCertStore::empty(), others] {
        let setup = over_tls(roots, tls.clone());
        assert_eq!(setup.reply(Operation::Confirm, 1), Reply::NotProcessed);
        assert_eq!(setup.simulator.calls(), 0);
    }
}

#[test]
fn by_a_provider_without_tls_where_there_should_be_nothing_is_processed() {
    let (roots, _) = authority();
    let CallsSetup { simulator, runtime, .. } = CallsSetup::start();
    let base_url = format!("https://{}", simulator.address);
    let setup = CallsSetup::calling(&base_url, Way { roots, ..Way::default() }, simulator, runtime);
    assert_eq!(setup.reply(Operation::Confirm, 1), Reply::NotProcessed);
    assert_eq!(setup.simulator.calls(), 0);
}

#[test]
fn calls_go_over_tls_and_meet_the_same_faults() {
    let (roots, tls) = authority();
    let setup = over_tls(roots, tls);
    assert!(matches!(setup.reply(Operation::Confirm, 1), Reply::Ok(Some(_))));
    for fault in [Fault::LoseRequest, Fault::LoseAnswer, Fault::Huge] {
        setup.simulator.misbehave(fault.clone(), 1);
        assert_eq!(setup.reply(Operation::Status, 0), Reply::Unclear, "{fault:?}");
    }
    assert!(matches!(setup.reply(Operation::Status, 0), Reply::Ok(Some(_))));
    assert_eq!(setup.simulator.calls(), 5);
}

/// Passes connections on to an address. The first one falls silent at `silence`, and stays open.
async fn pass_on(listener: TcpListener, to: std::net::SocketAddr, silence: CancellationToken) {
    for number in 0.. {
        let (mut inward, _) = listener.accept().await.unwrap();
        let silence = if number == 0 { silence.clone() } else { CancellationToken::new() };
        tokio::spawn(async move {
            let mut outward = TcpStream::connect(to).await.unwrap();
            let passing = silence.run_until_cancelled(copy_bidirectional(&mut inward, &mut outward)).await;
            if passing.is_none() {
                std::future::pending::<()>().await;
            }
        });
    }
}

#[test]
fn a_connection_that_died_silently_fails_one_call_only() {
    let (roots, tls) = authority();
    let CallsSetup { simulator, runtime, .. } = over_tls(roots.clone(), tls);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let base_url = format!("https://{}", listener.local_addr().unwrap());
    let silence = CancellationToken::new();
    runtime.spawn(pass_on(listener, simulator.address, silence.clone()));
    let way = Way { roots, timeout: Duration::from_secs(4), ..Way::default() };
    let setup = CallsSetup::calling(&base_url, way, simulator, runtime);
    assert!(matches!(setup.reply(Operation::Status, 0), Reply::Ok(_)));
    silence.cancel();
    assert_eq!(setup.reply(Operation::Status, 0), Reply::Unclear);
    assert!(matches!(setup.reply(Operation::Status, 0), Reply::Ok(_)));
}
