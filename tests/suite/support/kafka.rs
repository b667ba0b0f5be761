//! A real Apache Kafka for the tests, as jars from Maven: one node, shared by the tests of a process, or a test's own
//! (one node, or a cluster) that it may kill, freeze and start again.
//!
//! Each node listens four times: without authentication, where everybody may do everything; for users with a password,
//! where access is controlled; and encrypted, for one with a password by SCRAM and for one with a certificate. It makes
//! no topic by itself.

mod broker;
mod cluster;
mod java;
mod leaders;
mod properties;
mod rights;
mod security;
mod topics;

use std::env;
use std::fs::OpenOptions;
use std::io::{Write as _, stderr};
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{MutexGuard, OnceLock};
use std::thread;
use std::time::SystemTime;

use rdkafka::ClientConfig;

use super::authority::Pair;
use broker::{Broker, launch};
use cluster::Node;
use java::Life;
pub use leaders::COORDINATORS;
use rights::Change;
pub use security::Security;
pub use topics::{Record, Topic, read_all};

/// Names the file to which every test that takes a Kafka appends its name.
const TESTS_FILE_VARIABLE: &str = "PAYBRIDGE_KAFKA_TESTS";

/// Who may log in where access is controlled.
#[derive(Clone, Copy, Debug)]
pub enum User {
    /// May do everything.
    Admin,
    /// May read and describe every topic and group, and write nothing.
    Reader,
    /// May do what [`Kafka::allow`] says, and nothing else.
    Limited,
}

/// How a client logs in over an encrypted connection.
#[derive(Clone, Copy, Debug)]
pub enum Login {
    /// With the password of [`Security::SCRAM_USER`], by SCRAM-SHA-512.
    Scram,
    /// With a certificate of that name.
    Certificate,
}

/// Running nodes of one cluster, often only one. They end, and their data with them, when this value or the test process does.
pub struct Kafka {
    nodes: Vec<Node>,
    bootstrap: String,
    password_bootstrap: String,
    reader_allowed: OnceLock<()>,
}

impl Kafka {
    /// The node that the tests of this process share, started by the first that asks. Not to be harmed: see
    /// [`Kafka::start`] for that.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Kafka, String>> = OnceLock::new();
        // Nobody kills it, so it need not be missed soon. On a busy machine it was taken for dead after 4 s, and its thousands of
        // partitions were without a leader for a minute.
        match SHARED.get_or_init(|| Self::launch(1, Life::Short, &[("broker.session.timeout.ms", "60000")])) {
            Ok(kafka) => {
                count_this_test();
                kafka
            }
            Err(error) => panic!("no Kafka to test against: {error}"),
        }
    }

    /// A node of the test's own, with broker properties beside or instead of the usual.
    #[track_caller]
    pub fn start(properties: &[(&str, &str)]) -> Self {
        Self::launched(1, Life::Short, properties)
    }

    /// A cluster of so many nodes, each a broker and a controller, of the test's own. It is started for a longer life than
    /// one node: its Java machines become fast.
    #[track_caller]
    pub fn start_cluster(nodes: usize, properties: &[(&str, &str)]) -> Self {
        Self::launched(nodes, Life::Long, properties)
    }

    #[track_caller]
    fn launched(nodes: usize, life: Life, properties: &[(&str, &str)]) -> Self {
        match Self::launch(nodes, life, properties) {
            Ok(kafka) => {
                count_this_test();
                kafka
            }
            Err(error) => panic!("no Kafka to test against: {error}"),
        }
    }

    /// A node of the test's own that refuses topics, new ones and altered ones, with these settings.
    #[track_caller]
    pub fn refusing(settings: &[&str]) -> Self {
        Self::start(&[
            ("create.topic.policy.class.name", "RefuseSettings"),
            ("alter.config.policy.class.name", "RefuseSettings"),
            ("refused.topic.settings", &settings.join(",")),
        ])
    }

    /// Where clients find it: `host:port` of each node, joined by commas, without authentication.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Settings of a client that may do everything and makes no topic by accident.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap).set("allow.auto.create.topics", "false");
        client
    }

    /// Settings of a client that logs in as `user`.
    pub fn client_as(&self, user: User) -> ClientConfig {
        let (name, password) = user.login();
        let mut client = self.client();
        client
            .set("bootstrap.servers", &self.password_bootstrap)
            .set("security.protocol", "SASL_PLAINTEXT")
            .set("sasl.mechanism", "PLAIN")
            .set("sasl.username", name)
            .set("sasl.password", password);
        if let User::Reader = user {
            let reading = ["--operation", "Read", "--operation", "Describe", "--topic", "*", "--group", "*"];
            self.reader_allowed.get_or_init(|| self.allow(user, &[&reading]));
        }
        client
    }

    /// A configuration for this node as `user` has it, who logs in with a password.
    pub fn logged_in(&self, text: &str, user: User) -> String {
        let (name, password) = user.login();
        let login = format!(
            "\n[kafka.properties]\nsecurity.protocol = \"sasl_plaintext\"\nsasl.mechanism = \"PLAIN\"\n\
             sasl.username = \"{name}\"\nsasl.password = \"{password}\"\n"
        );
        text.replace(&self.bootstrap, &self.password_bootstrap) + &login
    }

    /// Lets a user do something: each of `rights` is arguments of Kafka's own tool for access control.
    pub fn allow(&self, user: User, rights: &[&[&str]]) {
        Change::Allow.make(&self.broker(), user.login().0, rights).unwrap();
    }

    /// Forbids a user something, whatever it is allowed.
    pub fn forbid(&self, user: User, rights: &[&str]) {
        Change::Forbid.make(&self.broker(), user.login().0, &[rights]).unwrap();
    }

    /// Forbids it no more.
    pub fn forbid_no_more(&self, user: User, rights: &[&str]) {
        Change::ForbidNoMore.make(&self.broker(), user.login().0, &[rights]).unwrap();
    }

    /// Where encrypted clients find it that log in so.
    pub fn secured_bootstrap(&self, login: Login) -> String {
        joined(&self.nodes, |broker| broker.secured_bootstrap(login))
    }

    /// What clients trust who connect encrypted, as PEM text.
    pub fn authority_pem(&self) -> String {
        self.broker().security().authority().pem()
    }

    /// A new client certificate and its key that the node takes.
    pub fn client_certificate(&self) -> Pair {
        self.certificate_of(Security::SCRAM_USER)
    }

    /// The same until a moment.
    pub fn client_certificate_until(&self, end: SystemTime) -> Pair {
        self.broker().security().authority().sign_until(Security::SCRAM_USER, end)
    }

    /// A certificate of whom the node believes, and who may do nothing.
    pub fn certificate_of(&self, name: &str) -> Pair {
        self.broker().security().authority().sign(name)
    }

    /// Gives the user of SCRAM another password, and returns when it alone is in force. Connections that are open stay so.
    pub fn change_scram_password(&self, password: &str) {
        self.broker().change_scram_password(password).unwrap();
        // The controller answers first, and brokers hear of it a little later.
        self.nodes.iter().try_for_each(|node| node.broker().await_scram_password(password)).unwrap();
    }

    fn launch(nodes: usize, life: Life, properties: &[(&str, &str)]) -> Result<Self, String> {
        let nodes: Vec<Node> = launch(nodes, life, properties)?.into_iter().map(Node::new).collect();
        let kafka = Self {
            bootstrap: joined(&nodes, Broker::bootstrap),
            password_bootstrap: joined(&nodes, Broker::password_bootstrap),
            nodes,
            reader_allowed: OnceLock::new(),
        };
        kafka.await_whole()?;
        Ok(kafka)
    }

    /// The node that is asked where any would do.
    fn broker(&self) -> MutexGuard<'_, Broker> {
        self.nodes[0].broker()
    }
}

/// Addresses of all nodes, as clients are given them.
fn joined(nodes: &[Node], address: impl Fn(&Broker) -> String) -> String {
    nodes.iter().map(|node| address(&node.broker())).collect::<Vec<_>>().join(",")
}

impl User {
    /// Every user's name and password.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Reader, Self::Limited];

    /// Name and password.
    pub fn login(self) -> (&'static str, &'static str) {
        match self {
            Self::Admin => ("admin", "admin-password"),
            Self::Reader => ("reader", "reader-password"),
            Self::Limited => ("limited", "limited-password"),
        }
    }
}

/// A topic prefix that no other test of this process has: the running test's name and a number.
pub fn unique_prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let thread = thread::current();
    let path = thread.name().unwrap_or("test");
    let test = path.rsplit("::").next().unwrap_or(path);
    let name: String = test.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let name = name.get(..50).unwrap_or(&name).trim_matches('-').to_ascii_lowercase();
    format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Says past the capturing of tests' output that something happened once.
fn announce(text: &str) {
    let _ = writeln!(stderr().lock(), "{text}");
}

/// Notes the running test's name where the summary counts the tests that had a real Kafka.
#[track_caller]
fn count_this_test() {
    let Some(path) = env::var_os(TESTS_FILE_VARIABLE) else { return };
    let thread = thread::current();
    let name = match thread.name() {
        // with one test thread they all run on the main one: the place of the call tells them apart
        None | Some("main") => Location::caller().to_string(),
        Some(name) => name.to_owned(),
    };
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("{name}\n").as_bytes()).unwrap();
}
