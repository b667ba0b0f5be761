//! Kafka's credentials: every client logs in with a password or a certificate over an encrypted connection,
//! and goes on with others when those change.

mod engine;
mod exchange;
mod rotation;

use std::fs;
use std::process::Output;

use paybridge::message::confirmation::v1::{Action, Result};
use paybridge::simulator::SimulatorSettings;

use crate::support::bridge::ready_to_confirm;
use crate::support::daemon::{self, Daemon, Exchange, configuration, program};
use crate::support::engine_setup::{EngineSetup, OUTCOME, PROJECT, READY, known_keys};
use crate::support::kafka::{Kafka, Login, Security};
use crate::support::volume::Volume;

/// A volume with all that a client needs to log in.
pub fn volume(kafka: &Kafka, login: Login) -> Volume {
    let (authority, client) = (kafka.authority_pem(), kafka.client_certificate());
    match login {
        Login::Scram => Volume::mount(&[("ca.crt", &authority), ("password", Security::SCRAM_PASSWORD)]),
        Login::Certificate => {
            Volume::mount(&[("ca.crt", &authority), ("tls.crt", &client.certificate), ("tls.key", &client.key)])
        }
    }
}

/// The tables of a configuration that logs in with the files of a volume.
pub fn tables(login: Login, volume: &Volume) -> String {
    let path = |name| volume.path(name).display().to_string();
    let authority = path("ca.crt");
    match login {
        Login::Scram => format!(
            "[kafka.properties]\nsecurity.protocol = \"sasl_ssl\"\nsasl.mechanism = \"SCRAM-SHA-512\"\n\
             sasl.username = \"{}\"\nssl.ca.location = \"{authority}\"\n\
             [kafka.property_files]\nsasl.password = \"{}\"\n",
            Security::SCRAM_USER,
            path("password"),
        ),
        Login::Certificate => format!(
            "[kafka.properties]\nsecurity.protocol = \"ssl\"\nssl.ca.location = \"{authority}\"\n\
             ssl.certificate.location = \"{}\"\nssl.key.location = \"{}\"\n",
            path("tls.crt"),
            path("tls.key"),
        ),
    }
}

/// Runs a command of the program with this configuration.
pub fn command(text: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("paybridge.toml");
    fs::write(&file, text).unwrap();
    program().args(arguments).arg("--config").arg(file).output().unwrap()
}

/// Its output; it must not fail.
#[track_caller]
pub fn succeeds(text: &str, arguments: &[&str]) -> String {
    let output = command(text, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// From the topics to an outcome: everything that talks to Kafka does so over encrypted connections.
fn works_over(login: Login) {
    let kafka = Kafka::shared();
    let volume = volume(kafka, login);
    let (setup, text) =
        EngineSetup::for_process(kafka, "default = \"hold\"", SimulatorSettings::new(PROJECT, known_keys()));
    let text = text.replace(kafka.bootstrap(), &kafka.secured_bootstrap(login)) + &tables(login, &volume);

    assert!(succeeds(&text, &["topics", "--create"]).contains("created"));
    works(&setup, &text);
}

/// From existing topics to an outcome, with the clients that this configuration makes.
pub fn works(setup: &EngineSetup, text: &str) {
    let checked = succeeds(text, &["check"]);
    assert!(checked.contains("write-proven") && checked.contains("read-proven"), "{checked}");
    // The ledger and the group, among all else.
    assert!(!checked.contains("not-checked"), "{checked}");

    let mut daemon = Daemon::run(text);
    daemon.await_ready();
    let Exchange::Answered(answered) = daemon.client().post("sg-main", &ready_to_confirm(&daemon.config, 1)) else {
        panic!("no answer:\n{}", daemon.log());
    };
    assert_eq!(answered.status, 200, "{answered:?}\n{}", daemon.log());
    let [record] = setup.records(READY).try_into().unwrap();
    let session = String::from_utf8(record.key.unwrap()).unwrap();
    succeeds(text, &["decide", "sg-main", &session, "cancel", "--reason", "a test"]);
    let outcome = setup.await_outcome(&session);
    assert_eq!((outcome.result(), outcome.action()), (Result::Accepted, Action::Cancel));
    let told = succeeds(text, &["tail", &setup.topic(OUTCOME), "--from-beginning", "--count", "1"]);
    assert!(told.contains(&session), "{told}");
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
}

#[test]
fn everything_works_with_a_password_by_scram_over_tls() {
    works_over(Login::Scram);
}

#[test]
fn everything_works_with_a_client_certificate() {
    works_over(Login::Certificate);
}

#[test]
fn check_names_a_password_that_kafka_knows_no_more() {
    let kafka = Kafka::start(&[]);
    let volume = volume(&kafka, Login::Scram);
    let text = configuration(&kafka.secured_bootstrap(Login::Scram), daemon::Settings::default());
    let text = text + &tables(Login::Scram, &volume);
    succeeds(&text, &["topics", "--create"]);
    kafka.change_scram_password("the-second-password");
    let refused = command(&text, &["check"]);
    let told = String::from_utf8(refused.stdout).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("kafka-authentication-failed") && !told.contains(Security::SCRAM_PASSWORD), "{told}");
    volume.replace(&[("ca.crt", &kafka.authority_pem()), ("password", "the-second-password")]);
    succeeds(&text, &["check"]);

    // Whoever looks at the topics logs in, and only whoever publishes does not.
    let text = text + "[kafka.ingress.properties]\nsasl.username = \"nobody\"\n";
    let refused = command(&text, &["check"]);
    let told = String::from_utf8(refused.stdout).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    let refusal = |line: &str| line.contains("kafka-authentication-failed") && line.ends_with("kafka.ingress");
    assert!(told.lines().any(refusal) && told.contains("read-proven"), "{told}");
    assert!(!told.contains("idempotence-unavailable") && !told.contains("may write"), "{told}");
}
