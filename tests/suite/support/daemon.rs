//! `paybridge run` as a process, with a configuration file in a folder of its own, and a client that bears its end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::SignedDuration;
use paybridge::config::Config;
use paybridge::provider::SignedWebhook;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::bridge::{Answered, SOURCES, create_needed_topics, key_file, try_exchange, webhook_request};
use super::eventually::{ENDS_WITHIN, LIMIT, eventually};
use super::kafka::{Kafka, unique_prefix};
use super::ports::free_port;
use super::shifted_clock::ShiftedClock;

/// Environment variables.
pub type Variables = Vec<(&'static str, OsString)>;

/// Two sources whose answers tell the event's id: a cluster needs long to make the topics of all.
const FEW_SOURCES: &str = r#"
[sources.sg-main]
provider = "smart-glocal"
public_key_files = ["smart-glocal-public.pem"]
[sources.other]
provider = "standard-webhooks"
secret_files = ["standard-webhooks.key"]
"#;

/// What a test may set.
#[derive(Clone, Copy)]
pub struct Settings {
    /// `shutdown.drain_delay_ms`.
    pub drain_delay: Duration,
    /// `shutdown.grace_ms`.
    pub grace: Duration,
    /// `ingress.ack_timeout_ms`.
    pub ack_timeout: Duration,
    /// `kafka.replication_factor`.
    pub replicas: usize,
    /// Its sources.
    pub sources: &'static str,
}

impl Settings {
    /// On three nodes, with the sources of [`FEW_SOURCES`].
    pub fn on_three_nodes() -> Self {
        Self { replicas: 3, sources: FEW_SOURCES, ..Self::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let (drain_delay, grace, ack_timeout) = (Duration::ZERO, seconds(20), seconds(8));
        Self { drain_delay, grace, ack_timeout, replicas: 1, sources: SOURCES }
    }
}

/// A daemon's process. It is killed, if it still runs, when this value is dropped.
pub struct Daemon {
    /// Its configuration.
    pub config: Config,
    folder: TempDir,
    process: Child,
    clock: Option<ShiftedClock>,
    variables: Variables,
}

/// Talks to a daemon; each request on a connection of its own.
#[derive(Clone)]
pub struct Client {
    config: Config,
    http: Http<HttpConnector, Full<Bytes>>,
    runtime: Arc<Runtime>,
}

/// How a request ended.
#[derive(Debug)]
pub enum Exchange {
    /// With an answer.
    Answered(Answered),
    /// Nobody listened.
    Refused,
    /// The connection ended before the answer.
    Broken(String),
}

impl Daemon {
    /// A ready daemon with a source of each provider and topics of its own on `kafka`.
    #[track_caller]
    pub fn start(kafka: &Kafka, settings: Settings) -> Self {
        let text = configuration(kafka.bootstrap(), settings);
        create_needed_topics(kafka, &Config::from_toml(&text, []).unwrap());
        let daemon = Self::run(&text);
        daemon.await_ready();
        daemon
    }

    /// A daemon that may never become ready.
    pub fn launch(bootstrap: &str, settings: Settings) -> Self {
        Self::run(&configuration(bootstrap, settings))
    }

    /// A daemon that may never become ready, and whose log cannot be written.
    pub fn launch_unheard(bootstrap: &str, settings: Settings) -> Self {
        let mut daemon = Self::run(&configuration(bootstrap, settings));
        daemon.process.kill().unwrap();
        daemon.process.wait().unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        daemon.process = command(&daemon.folder, full).spawn().unwrap();
        daemon
    }

    /// A daemon with this configuration file.
    pub fn run(text: &str) -> Self {
        Self::start_process(text, None, Vec::new())
    }

    /// The same, by a clock that is wrong.
    pub fn run_with_clock(text: &str, clock: ShiftedClock) -> Self {
        Self::start_process(text, Some(clock), Vec::new())
    }

    /// The same, on a disk that may fail.
    pub fn run_with_disk(text: &str, variables: Variables) -> Self {
        Self::start_process(text, None, variables)
    }

    fn start_process(text: &str, clock: Option<ShiftedClock>, variables: Variables) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("paybridge.toml"), text).unwrap();
        let process = spawn(&folder, clock.as_ref(), &variables);
        Self { config: Config::from_toml(text, []).unwrap(), folder, process, clock, variables }
    }

    /// Starts it anew after its end, by the same clock, and waits until it is ready.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.start_anew();
        self.await_ready();
    }

    /// Starts it anew after its end; it may never become ready.
    pub fn start_anew(&mut self) {
        self.process = spawn(&self.folder, self.clock.as_ref(), &self.variables);
    }

    /// Waits until it answers, ready or not.
    #[track_caller]
    pub fn await_listening(&self) {
        let client = self.client();
        eventually(LIMIT, || match client.admin("/livez") {
            Exchange::Answered(_) => Ok(()),
            other => Err(format!("not listening: {other:?}\n{}", self.log())),
        });
    }

    /// Shifts its clock while it runs: ahead of the true time by so much, or behind where it is negative.
    #[track_caller]
    pub fn shift_clock(&self, shift: SignedDuration) {
        self.clock.as_ref().expect("it was started with a clock of its own").shift(shift);
    }

    /// Waits until `/readyz` says yes.
    #[track_caller]
    pub fn await_ready(&self) {
        let client = self.client();
        eventually(LIMIT, || match client.admin("/readyz") {
            Exchange::Answered(answered) if answered.status == 200 => Ok(()),
            other => Err(format!("not ready: {other:?}\n{}", self.log())),
        });
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name}: {status}");
    }

    /// Waits for its end, and gives its exit code, if it was not killed.
    #[track_caller]
    pub fn await_end(&mut self) -> Option<i32> {
        eventually(ENDS_WITHIN, || self.process.try_wait().unwrap().ok_or_else(|| "it does not end".to_owned())).code()
    }

    /// All that it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(log_file(&self.folder)).unwrap()
    }

    /// What it shows Prometheus.
    #[track_caller]
    pub fn exposition(&self) -> String {
        match self.client().admin("/metrics") {
            Exchange::Answered(shown) => shown.text,
            other => panic!("{other:?}"),
        }
    }

    /// A client of this daemon and its successors.
    pub fn client(&self) -> Client {
        Client {
            config: self.config.clone(),
            // A connection that is kept may be closed at any time: its end would tell nothing.
            http: Http::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http(),
            runtime: Arc::new(
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
            ),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it is gone, or has had its time
        let _ = self.process.wait();
    }
}

impl Client {
    /// Sends one webhook to a source.
    pub fn post(&self, source: &str, webhook: &SignedWebhook) -> Exchange {
        let (name, settings) = self.config.sources.get_key_value(source).unwrap();
        let url = format!("http://{}{}", self.config.ingress.listen, settings.path(name));
        self.exchange(webhook_request(&url, webhook))
    }

    /// Asks the admin port.
    pub fn admin(&self, path: &str) -> Exchange {
        let url = format!("http://{}{path}", self.config.admin.listen);
        self.exchange(Request::builder().uri(url).body(Full::default()).unwrap())
    }

    /// A whole number of `/metrics`: a gauge or counter with its labels; none where it is not there, or nobody answers.
    pub fn metric(&self, series: &str) -> Option<u64> {
        let Exchange::Answered(answered) = self.admin("/metrics") else { return None };
        let line = answered.text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    fn exchange(&self, request: Request<Full<Bytes>>) -> Exchange {
        match self.runtime.block_on(try_exchange(self.http.clone(), request)) {
            Ok(answered) => Exchange::Answered(answered),
            Err(error) if error.is_connect() => Exchange::Refused,
            Err(error) => Exchange::Broken(format!("{error:?}")),
        }
    }
}

/// A configuration file with a source of each provider.
pub fn configuration(bootstrap: &str, settings: Settings) -> String {
    let (ingress, admin) = (free_port(), free_port());
    let sources = settings.sources.replace("_files = [\"", &format!("_files = [\"{}", key_file("").display()));
    format!(
        r#"
bridge_instance = "test"
[ingress]
listen = "127.0.0.1:{ingress}"
ack_timeout_ms = {ack_timeout}
[admin]
listen = "127.0.0.1:{admin}"
[shutdown]
drain_delay_ms = {drain_delay}
grace_ms = {grace}
{sources}
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
partitions = 3
replication_factor = {replicas}
"#,
        replicas = settings.replicas,
        ack_timeout = settings.ack_timeout.as_millis(),
        drain_delay = settings.drain_delay.as_millis(),
        grace = settings.grace.as_millis(),
        prefix = unique_prefix(),
    )
}

/// The program without the environment's own settings of it: the one that belongs to these tests, or, for figures, another build of it
/// that `PAYBRIDGE_BIN` names.
pub fn program() -> Command {
    let built = std::env::var_os("PAYBRIDGE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_paybridge").into());
    let mut command = Command::new(built);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PAYBRIDGE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn spawn(folder: &TempDir, clock: Option<&ShiftedClock>, variables: &Variables) -> Child {
    let log = File::options().create(true).append(true).open(log_file(folder)).unwrap();
    let mut command = command(folder, log);
    if let Some(clock) = clock {
        clock.set(&mut command);
    }
    command.envs(variables.iter().cloned());
    command.spawn().unwrap()
}

fn command(folder: &TempDir, log: File) -> Command {
    let mut command = program();
    command.args(["run", "--config"]).arg(folder.path().join("paybridge.toml"));
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

fn log_file(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}
