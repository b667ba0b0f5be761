//! The commands as a person runs them: the binary itself, its output and its exit code, against a real Kafka.

mod checks;
mod demo;
mod exit_codes;
mod managed;
mod tail;
mod updates;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::bridge::{Bridge, SOURCES, key_file};
use crate::support::kafka::{Kafka, User, unique_prefix};
use crate::support::ports::free_port;

/// A folder with a configuration file.
struct Setup {
    folder: TempDir,
    prefix: String,
}

impl Setup {
    /// One broker's configuration with a source of each provider; `more` is put behind it.
    fn new(bootstrap: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prefix = unique_prefix();
        let sources = SOURCES.replace("_files = [\"", &format!("_files = [\"{}", key_file("").display()));
        let text = format!(
            "[kafka]\nbootstrap_servers = \"{bootstrap}\"\ntopic_prefix = \"{prefix}\"\npartitions = 3\n\
             replication_factor = 1\n{sources}\n{more}"
        );
        fs::write(folder.path().join("paybridge.toml"), text).unwrap();
        Self { folder, prefix }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("paybridge.toml")
    }

    /// A topic's full name.
    fn topic(&self, part: &str) -> String {
        format!("{}.{part}", self.prefix)
    }

    /// Connects as this user from now on.
    fn log_in(&self, kafka: &Kafka, user: User) {
        let text = fs::read_to_string(self.file()).unwrap();
        fs::write(self.file(), kafka.logged_in(&text, user)).unwrap();
    }

    /// Puts more behind the configuration.
    fn append(&self, more: &str) {
        let text = fs::read_to_string(self.file()).unwrap();
        fs::write(self.file(), text + more).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let file = self.file();
        run(&[arguments, &["--config", file.to_str().unwrap()]].concat())
    }

    /// The codes that `check` finds, with their severities and subjects, and its exit code.
    fn check(&self, arguments: &[&str]) -> (i32, BTreeSet<(String, String, String)>) {
        let ran = self.run(&[&["check", "--format", "json"], arguments].concat());
        let report: Value = serde_json::from_str(&ran.output).unwrap_or_else(|_| panic!("{ran:?}"));
        let findings = report["findings"].as_array().unwrap().iter();
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
        let found = findings
            .inspect(|finding| assert!(!text(finding, "message").is_empty() && !text(finding, "action").is_empty()))
            .map(|finding| (text(finding, "severity"), text(finding, "code"), text(finding, "subject")))
            .collect();
        assert_eq!(report["ok"], ran.code == 0);
        (ran.code, found)
    }
}

/// What a command printed, and its exit code.
#[derive(Debug)]
struct Ran {
    code: i32,
    output: String,
    errors: String,
}

fn run(arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_paybridge"))
        .args(arguments)
        .env_remove("PAYBRIDGE_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn assert_found(found: &BTreeSet<(String, String, String)>, severity: &str, code: &str, subject: &str) {
    let is_it = |(s, c, about): &(String, String, String)| s == severity && c == code && about.contains(subject);
    assert!(found.iter().any(is_it), "no {severity} {code} about {subject} in {found:#?}");
}

#[test]
fn topics_are_listed_made_once_and_then_found_good() {
    let kafka = Kafka::shared();
    let setup = Setup::new(kafka.bootstrap(), "");
    let (code, found) = setup.check(&[]);
    assert_eq!(code, 1);
    assert_found(&found, "error", "topic-missing", "smart-glocal.ready-to-confirm.v1");

    let missing = setup.run(&["topics"]);
    assert_eq!(missing.code, 1, "{missing:?}");
    let of_ready = |ran: &Ran| {
        let name = setup.topic("smart-glocal.ready-to-confirm.v1");
        ran.output.lines().find(|line| line.starts_with(&name)).unwrap().to_owned()
    };
    assert!(of_ready(&missing).contains(" MISSING "), "{missing:?}");
    assert!(missing.errors.contains("topics are missing: create them with `paybridge topics --create`"), "{missing:?}");
    let listed: Value = serde_json::from_str(&setup.run(&["topics", "--format", "json"]).output).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|topic| topic["name"].as_str().unwrap()).collect();
    assert!(names.contains(&format!("{}.unrecognized.v1", setup.prefix).as_str()), "{names:?}");

    let made = setup.run(&["topics", "--create"]);
    assert_eq!((made.code, made.output.matches("created").count()), (0, names.len()), "{made:?}");
    let there = setup.run(&["topics"]);
    assert!(there.code == 0 && of_ready(&there).contains(" exists "), "{there:?}");
    let again = setup.run(&["topics", "--create"]);
    assert_eq!((again.code, again.output.matches("exists").count()), (0, names.len()), "{again:?}");

    let (code, found) = setup.check(&[]);
    assert_eq!(code, 0, "{found:#?}");
    assert_found(&found, "info", "write-proven", "");
    assert_found(&found, "info", "read-proven", "");
    for name in names {
        assert_eq!(kafka.read_all(name), [], "check left a record on {name}");
    }
}

#[test]
fn topics_are_listed_without_a_kafka_too() {
    let setup = Setup::new(&format!("127.0.0.1:{}", free_port()), "");
    let offline = setup.run(&["topics", "--offline"]);
    assert!(offline.code == 0 && offline.errors.is_empty() && !offline.output.contains("STATE"), "{offline:?}");
    let asked = setup.run(&["topics"]);
    assert_eq!((asked.code, &asked.output), (1, &offline.output), "{asked:?}");
    for part in ["Kafka does not answer", "`paybridge topics --offline`"] {
        assert!(asked.errors.contains(part), "no {part} in {asked:?}");
    }
    for format in ["json", "strimzi"] {
        let ran = setup.run(&["topics", "--format", format]);
        assert!(ran.code == 0 && ran.errors.is_empty(), "{ran:?}");
    }
}

#[test]
fn topics_prints_manifests_for_strimzi() {
    let ran = Setup::new("localhost:1", "").run(&["topics", "--format", "strimzi", "--cluster", "main"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for line in ["kind: KafkaTopic", "strimzi.io/cluster: \"main\"", "partitions: 3"] {
        assert!(ran.output.contains(line), "no {line} in {}", ran.output);
    }
}

#[test]
fn check_finds_topics_that_are_not_as_they_should_be() {
    let kafka = Kafka::shared();
    let setup = Setup::new(kafka.bootstrap(), "");
    assert_eq!(setup.run(&["topics", "--create"]).code, 0);
    let text = fs::read_to_string(setup.file()).unwrap();
    let stricter =
        text.replace("partitions = 3", "partitions = 6").replace("replication_factor = 1", "replication_factor = 3");
    fs::write(setup.file(), stricter).unwrap();
    let (code, found) = setup.check(&[]);
    assert_eq!(code, 1);
    let subject = "smart-glocal.payment-finished.v1";
    assert_found(&found, "error", "topic-partitions-few", subject);
    assert_found(&found, "error", "topic-replicas-few", subject);
    assert_found(&found, "warning", "brokers-few", "");
}

#[test]
fn check_finds_a_principal_that_may_not_write() {
    let kafka = Kafka::shared();
    let setup = Setup::new(kafka.bootstrap(), "");
    assert_eq!(setup.run(&["topics", "--create"]).code, 0);
    // It waits until that user may read.
    let _reader = kafka.client_as(User::Reader);
    setup.log_in(kafka, User::Reader);
    let (_, password) = User::Reader.login();
    let (code, found) = setup.check(&[]);
    assert_eq!(code, 1);
    assert_found(&found, "error", "write-not-authorized", "");
    assert_found(&found, "info", "read-proven", "");

    let text = fs::read_to_string(setup.file()).unwrap();
    fs::write(setup.file(), text.replace(password, "not-the-password")).unwrap();
    let ran = setup.run(&["check"]);
    assert_eq!(ran.code, 1);
    assert!(ran.output.contains("kafka-authentication-failed") || ran.output.contains("credentials"), "{ran:?}");
    assert!(!(ran.output + &ran.errors).contains("not-the-password"));
}

#[test]
fn check_finds_what_is_wrong_without_a_kafka() {
    let nowhere = format!("127.0.0.1:{}", free_port());
    let (code, found) = Setup::new(&nowhere, "").check(&[]);
    assert_eq!(code, 1);
    assert_found(&found, "error", "kafka-unreachable", "");
    let (code, found) = Setup::new(&nowhere, "").check(&["--offline"]);
    assert_eq!(code, 0, "{found:#?}");

    let misspelt =
        "[ingress]\nlisten_adress = \"127.0.0.1:1\"\n[sources.more]\nprovider = \"unipaas\"\nsecret_filez = []\n";
    let ran = Setup::new(&nowhere, misspelt).run(&["check", "--offline"]);
    assert_eq!(ran.code, 1);
    for part in ["ingress.listen_adress", "did you mean `listen`?"] {
        assert!(ran.output.contains(part), "no {part} in {ran:?}");
    }

    let private = key_file("smart-glocal-private.pem");
    let wrong_keys = format!(
        "[sources.private]\nprovider = \"smart-glocal\"\npublic_key_files = [\"{}\"]\n\
         [sources.absent]\nprovider = \"unipaas\"\nsecret_files = [\"/nowhere/unipaas.key\"]\n\
         [sources.misspelt]\nprovider = \"unipaas\"\nsecret_filez = []\n",
        private.display()
    );
    let setup = Setup::new(&nowhere, &wrong_keys);
    let (code, found) = setup.check(&["--offline"]);
    assert_eq!(code, 1);
    assert_found(&found, "error", "key-file-unusable", "");
    assert_found(&found, "error", "key-file-unreadable", "");
    let ran = setup.run(&["check", "--offline"]);
    for part in [
        "holds an RSA private key, but needs the provider's public key",
        "/nowhere/unipaas.key",
        "sources.misspelt.secret_filez",
    ] {
        assert!(ran.output.contains(part), "no {part} in {ran:?}");
    }
    assert!(!ran.output.contains(fs::read_to_string(private).unwrap().lines().nth(1).unwrap()), "a key is shown");
}

#[test]
fn a_folder_that_keeps_nothing_safe_stops_the_start_and_says_so() {
    let spool = "[spool]\nenabled = true\ndirectory = \"/dev/shm/paybridge-spool-of-a-test\"\n";
    let ran = Setup::new("localhost:1", spool).run(&["run"]);
    fs::remove_dir("/dev/shm/paybridge-spool-of-a-test").unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.errors.contains("spool.directory") && ran.errors.contains("is on tmpfs"), "{ran:?}");
}

#[test]
fn send_says_what_there_is_when_asked_for_something_else() {
    let setup = Setup::new("localhost:1", "");
    let ran = setup.run(&["send", "nobody", "ready-to-confirm"]);
    assert!(ran.code == 2 && ran.errors.contains("sg-main"), "{ran:?}");
    let ran = setup.run(&["send", "sg-main", "nothing"]);
    assert!(ran.code == 2 && ran.errors.contains("ready-to-confirm"), "{ran:?}");
    let ran = setup.run(&["send", "sg-main", "ready-to-confirm"]);
    assert!(ran.code == 1 && ran.errors.contains("--signing-key"), "{ran:?}");
    let port = free_port();
    let nobody = format!("http://somebody:password@127.0.0.1:{port}");
    let ran = setup.run(&["send", "unipaas", "payout-update", "--url", &nobody]);
    let told = format!("http://127.0.0.1:{port} cannot be reached");
    assert!(ran.code == 1 && ran.errors.contains(&told), "{ran:?}");
    // A source's path may be a secret, too.
    assert!(!ran.errors.contains("/webhooks") && !ran.errors.contains("password"), "{ran:?}");
    let ran = setup.run(&["send", "unipaas", "payout-update", "--url", "http://not a host"]);
    assert!(ran.code == 2 && ran.errors.contains("is not a URL"), "{ran:?}");
}

/// Answers one request as a bridge does that has published, and has published nothing. Where it is.
fn liar() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let body = r#"{"status":"accepted","event_id":"0123456789abcdef0123456789abcdef"}"#;
        let read = connection.read(&mut [0; 16_384]).unwrap();
        assert!(read > 0);
        write!(connection, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    url
}

#[test]
fn send_reads_its_events_back_and_is_not_content_with_an_answer_alone() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start(kafka, &[]);
    let setup = Setup::new(kafka.bootstrap(), "");
    let text = fs::read_to_string(setup.file()).unwrap();
    fs::write(setup.file(), text.replace(&setup.prefix, bridge.config.kafka.topic_prefix.as_ref())).unwrap();
    let send = |url: &str, more: &[&str]| {
        setup.run(&[&["send", "unipaas", "payout-update", "--url", url, "--read-back"], more].concat())
    };

    let ran = send(&liar(), &["0s"]);
    assert!(ran.code == 1 && ran.output.contains("accepted"), "{ran:?}");
    let topic = bridge.topic("unipaas.payout-update.v1");
    for part in [&format!("read back 0 of 1 from {topic}"), "kafka.topic_prefix", kafka.bootstrap()] {
        assert!(ran.errors.contains(part), "no {part} in {ran:?}");
    }
    let ran = send(&bridge.url, &["-1s"]);
    assert!(ran.code == 2 && ran.output.is_empty(), "{ran:?}");
    let ran = send(&bridge.url, &["30s", "--count", "3"]);
    assert!(ran.code == 0 && ran.errors.contains("read back 3 of 3"), "{ran:?}");
}
