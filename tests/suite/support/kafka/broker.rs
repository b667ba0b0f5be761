//! One node of Kafka as a process: fetched, configured, started, sent signals, and never outliving the tests.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;

use super::java::{Java, Life, NODE};
use super::properties::{Place, Ports, server_properties};
use super::security::Security;
use super::{Login, announce};
use crate::support::cache;
use crate::support::eventually::{LIMIT, try_eventually};
use crate::support::system::announce_pauses;

/// How long one question for metadata may take.
pub const METADATA_LIMIT: Duration = Duration::from_secs(2);
/// Starts with new ports: another process may take a free port before the node does.
const PORT_ATTEMPTS_MAX: usize = 3;
/// Lines of the node's log that a failed start shows: from its first error on, and at its end.
const LOG_ERROR_LINES: usize = 5;
const LOG_TAIL_LINES: usize = 40;
/// Any 16 bytes, in base64 for URLs.
const CLUSTER_ID: &str = "cGF5YnJpZGdlLXRlc3Rzcw";

/// A node's process, or the possibility of it: the supervisor lives as long as this value.
pub struct Broker {
    java: Java,
    ports: Ports,
    security: Arc<Security>,
    folder: PathBuf,
    supervisor: Child,
    /// Its end is what makes the supervisor end the node.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Fetches Kafka if need be, and starts so many new nodes of one cluster.
pub fn launch(nodes: usize, life: Life, properties: &[(&str, &str)]) -> Result<Vec<Broker>, String> {
    static JAVA: OnceLock<Result<Java, String>> = OnceLock::new();
    let java = JAVA.get_or_init(|| Java::with_kafka(record_classes)).as_ref().map_err(Clone::clone)?;
    launch_by(java, nodes, life, properties)
}

/// Starts a node and ends it in order, which is when its Java machine writes down what classes it has loaded.
fn record_classes(java: &Java) -> Result<(), String> {
    for mut broker in launch_by(java, 1, Life::Short, &[])? {
        broker.order("TERM");
    }
    Ok(())
}

fn launch_by(java: &Java, nodes: usize, life: Life, properties: &[(&str, &str)]) -> Result<Vec<Broker>, String> {
    let mut attempt = 1;
    loop {
        let begin = Instant::now();
        let mut brokers = prepare(java, nodes, life, properties)?;
        // Together: one alone has no majority of the controllers.
        for broker in &mut brokers {
            broker.order("START");
        }
        match brokers.iter_mut().try_for_each(Broker::await_started) {
            Ok(()) => {
                brokers[0].announce_once(begin.elapsed());
                return Ok(brokers);
            }
            Err(error) if error.contains("Address already in use") && attempt < PORT_ATTEMPTS_MAX => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

fn prepare(java: &Java, nodes: usize, life: Life, properties: &[(&str, &str)]) -> Result<Vec<Broker>, String> {
    let all: Vec<Ports> = (0..nodes).map(|_| Ports::free()).collect();
    let security = Arc::new(Security::new());
    let one = &|number| Broker::prepare(java, Place { number, all: &all }, &security, life, properties);
    // At once: each runs a Java machine for its storage.
    thread::scope(|scope| {
        let nodes: Vec<_> = (1..=nodes).map(|number| scope.spawn(move || one(number))).collect();
        nodes.into_iter().map(|node| node.join().unwrap()).collect()
    })
}

impl Broker {
    /// Waits until the node's process, which was told to start, answers questions for metadata.
    pub fn await_started(&mut self) -> Result<(), String> {
        let prober = clients(&self.bootstrap()).create().map_err(|error| format!("making a client: {error}"))?;
        try_eventually(LIMIT, || {
            // the process first: one that is gone can have been answered for by nobody
            if self.order("ALIVE") == "gone" {
                return Ok(Err("Kafka ended".to_owned()));
            }
            ready(&prober).map(Ok)
        })
        .and_then(|outcome| outcome)
        .map_err(|complaint| format!("{complaint}; its log:\n{}", self.log_excerpt()))
    }

    /// Gives the supervisor an order, and its answer when it is carried out.
    pub fn order(&mut self, order: &str) -> String {
        let mut orders = self.orders.as_ref().unwrap();
        orders.write_all(format!("{order}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Where clients find it without authentication.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// Where users with a password find it.
    pub fn password_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.password)
    }

    /// Where encrypted clients find it that log in so.
    pub fn secured_bootstrap(&self, login: Login) -> String {
        let port = match login {
            Login::Scram => self.ports.scram,
            Login::Certificate => self.ports.certificate,
        };
        format!("127.0.0.1:{port}")
    }

    /// Who may trust whom.
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// Gives the user of SCRAM another password, by Kafka's own tool. Connections that are open stay so.
    pub fn change_scram_password(&self, password: &str) -> Result<(), String> {
        let mut command = self.tool("kafka.admin.ConfigCommand");
        command.args(["--alter", "--entity-type", "users"]);
        command.args(["--entity-name", Security::SCRAM_USER, "--add-config"]);
        cache::run(command.arg(format!("SCRAM-SHA-512=[password={password}]"))).map(drop)
    }

    /// Waits until somebody logs in with this password.
    pub fn await_scram_password(&self, password: &str) -> Result<(), String> {
        let user = clients(&self.secured_bootstrap(Login::Scram))
            .set("security.protocol", "sasl_ssl")
            .set("ssl.ca.pem", self.security.authority().pem())
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", Security::SCRAM_USER)
            .set("sasl.password", password)
            .create::<BaseConsumer>()
            .map_err(|error| format!("making a client: {error}"))?;
        // It tries again by itself.
        try_eventually(LIMIT, || {
            user.fetch_metadata(None, METADATA_LIMIT).map(drop).map_err(|error| format!("logging in: {error}"))
        })
    }

    /// One of Kafka's own tools, connected to this node.
    pub fn tool(&self, class: &str) -> Command {
        let mut command = self.java.command(class);
        command.args(["--bootstrap-server", &self.bootstrap()]);
        command
    }

    fn prepare(
        java: &Java,
        place: Place<'_>,
        security: &Arc<Security>,
        life: Life,
        properties: &[(&str, &str)],
    ) -> Result<Self, String> {
        let folder = TempDir::with_prefix("paybridge-kafka-").map_err(|error| format!("making a folder: {error}"))?;
        let file = folder.path().join("server.properties");
        security
            .write(folder.path())
            .and_then(|()| fs::write(&file, server_properties(folder.path(), place, properties)))
            .map_err(|error| format!("writing {}: {error}", folder.path().display()))?;
        let mut format = java.command("kafka.tools.StorageTool");
        format.args(["format", "-t", CLUSTER_ID, "--add-scram", &Security::first_scram_user()]);
        cache::run(format.arg("-c").arg(&file))?;
        let (supervisor, orders, answers) = supervise(java, life, folder.path(), &file)?;
        // from here on the supervisor removes it: it does so however this process ends
        let folder = folder.keep();
        let (ports, security) = (*place.ports(), Arc::clone(security));
        Ok(Self { java: java.clone(), ports, security, folder, supervisor, orders: Some(orders), answers })
    }

    fn announce_once(&self, took: Duration) {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            announce(&format!(
                "real Kafka: {} on {}, started in {:.1} s from {}",
                self.java.version(),
                self.bootstrap(),
                took.as_secs_f32(),
                self.java.jars().display(),
            ));
            // Where a pause matters, there is a Kafka.
            announce_pauses();
        });
    }

    /// Why a node ended stands first: what it logs while it ends is long.
    fn log_excerpt(&self) -> String {
        let log = fs::read_to_string(self.folder.join("kafka.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.len().saturating_sub(LOG_TAIL_LINES);
        let error = lines[..tail].iter().position(|line| line.contains(" ERROR ")).unwrap_or(tail);
        let error = &lines[error..tail.min(error + LOG_ERROR_LINES)];
        [error, &["…"], &lines[tail..]].concat().join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.supervisor.wait();
    }
}

/// Starts the supervisor of a node that it does not start yet.
fn supervise(
    java: &Java,
    life: Life,
    folder: &Path,
    properties: &Path,
) -> Result<(Child, ChildStdin, BufReader<ChildStdout>), String> {
    let errors = File::create(folder.join("supervisor.log")).map_err(|error| format!("making its log: {error}"))?;
    let node = java.living(life, NODE);
    let mut supervisor = Command::new("sh")
        .arg(Path::new(cache::CHECKOUT).join("tests/kafka/supervise.sh"))
        .arg(folder)
        .arg(node.get_program())
        .args(node.get_args())
        .arg(properties)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        // out of the terminal's reach: an interrupt ends the tests, and that ends the node
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot start the node's supervisor: {error}"))?;
    let orders = supervisor.stdin.take().unwrap();
    let answers = BufReader::new(supervisor.stdout.take().unwrap());
    Ok((supervisor, orders, answers))
}

/// What a client is made of that sees soon what has changed.
fn clients(bootstrap: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", bootstrap)
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "200");
    client
}

/// Whether the node is there and leads all its partitions.
fn ready(prober: &BaseConsumer) -> Result<(), String> {
    let metadata =
        prober.fetch_metadata(None, METADATA_LIMIT).map_err(|error| format!("Kafka does not answer: {error}"))?;
    if metadata.brokers().is_empty() {
        return Err("Kafka answers, but is not ready".to_owned());
    }
    let leaderless = |topic: &rdkafka::metadata::MetadataTopic| topic.partitions().iter().any(|p| p.leader() < 0);
    match metadata.topics().iter().find(|topic| leaderless(topic)) {
        Some(topic) => Err(format!("{} has a partition without a leader", topic.name())),
        None => Ok(()),
    }
}
