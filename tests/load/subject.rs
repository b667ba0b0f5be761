//! The three programs that are measured: the daemon, the floor, and the echo.
//! Must not know what load they get.

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use paybridge::config::Config;
use tempfile::TempDir;

use crate::process::{Process, free_addresses, without_settings};
use crate::support::authority::Pair;
use crate::support::cache;
use crate::support::eventually::eventually;
use crate::webhooks::Kind;

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Partitions of every topic.
pub const PARTITIONS: Range<i32> = 0..12;

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Reads a body and answers.
    Echo,
    /// The same with one signature check and one record that Kafka acknowledges.
    Floor,
    /// `paybridge run`.
    Daemon,
}

/// What a program is started with.
#[derive(Clone)]
pub struct Setting {
    /// Where Kafka is.
    pub bootstrap: String,
    /// How many nodes it has, and so how many replicas a topic.
    pub nodes: usize,
    /// Whose webhooks come.
    pub kind: &'static Kind,
    /// How many sources are configured.
    pub sources: u64,
    /// How long a record waits for others to share its request.
    pub linger_ms: u32,
    /// The certificate of a daemon that speaks TLS.
    pub certificate: Option<Arc<Pair>>,
}

/// A program that runs and is ready.
pub struct Running {
    /// Its process.
    pub process: Process,
    /// Where it takes webhooks.
    pub address: SocketAddr,
}

impl Subject {
    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Floor => "floor",
            Self::Daemon => "daemon",
        }
    }

    /// Starts it, and waits until it is ready.
    pub fn start(self, setting: &Setting) -> Running {
        let [address, admin] = free_addresses();
        let folder = tempfile::tempdir().unwrap();
        let command = match self {
            Self::Daemon => setting.daemon(address, admin, &folder),
            Self::Floor | Self::Echo => self.role(setting, address),
        };
        let running = Running { process: Process::start(&command, folder), address };
        eventually(START_LIMIT, || {
            match self {
                Self::Daemon => is_ready(admin),
                Self::Floor | Self::Echo => TcpStream::connect(address).map(drop).map_err(|error| error.to_string()),
            }
            .map_err(|complaint| format!("the {} is not ready: {complaint}\n{}", self.name(), running.process.log()))
        });
        running
    }

    /// This very program in another role.
    fn role(self, setting: &Setting, address: SocketAddr) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--role", self.name(), "--listen", &address.to_string()]);
        command.args(["--bootstrap", &setting.bootstrap, "--topic", &setting.topic()]);
        command.args(["--provider", setting.kind.provider, "--linger-ms", &setting.linger_ms.to_string()]);
        command
    }
}

impl Setting {
    /// The topic that the webhooks' records are on: the daemon's. The floor's are there too, so both have the same
    /// partitions, leaders and replicas.
    pub fn topic(&self) -> String {
        format!("{}.{}.{}.v1", self.prefix(), self.kind.provider, self.kind.event)
    }

    /// Makes the topics, as a user would.
    pub fn create_topics(&self) {
        let folder = tempfile::tempdir().unwrap();
        let file = self.write(&folder, free_addresses());
        let mut command = daemon();
        without_settings(&mut command).args(["topics", "--create", "--config"]).arg(file);
        cache::run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    }

    fn daemon(&self, address: SocketAddr, admin: SocketAddr, folder: &TempDir) -> Command {
        let file = self.write(folder, [address, admin]);
        let mut command = daemon();
        command.args(["run", "--config"]).arg(file);
        command
    }

    fn prefix(&self) -> String {
        format!("load-{}", self.kind.provider)
    }

    fn write(&self, folder: &TempDir, addresses: [SocketAddr; 2]) -> PathBuf {
        let text = self.configuration(addresses, &self.tls(folder));
        if let Err(errors) = Config::from_toml(&text, []) {
            panic!("{errors}");
        }
        let file = folder.path().join("paybridge.toml");
        fs::write(&file, text).unwrap();
        file
    }

    /// The files of a daemon that speaks TLS, and their section.
    fn tls(&self, folder: &TempDir) -> String {
        let Some(pair) = &self.certificate else { return String::new() };
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
        fs::write(&certificate, &pair.certificate).unwrap();
        fs::write(&key, &pair.key).unwrap();
        format!("[ingress.tls]\ncert_file = '{}'\nkey_file = '{}'", certificate.display(), key.display())
    }

    /// The daemon's configuration: the defaults, but for what a measurement needs.
    fn configuration(&self, [listen, admin]: [SocketAddr; 2], tls: &str) -> String {
        format!(
            r#"
bridge_instance = "load"
[ingress]
listen = "{listen}"
{tls}
[admin]
listen = "{admin}"
[log]
level = "warn"
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
partitions = {partitions}
replication_factor = {nodes}
[kafka.ingress.properties]
linger.ms = {linger}
[dedup]
mode = "local"
{sources}"#,
            bootstrap = self.bootstrap,
            prefix = self.prefix(),
            partitions = PARTITIONS.len(),
            nodes = self.nodes,
            linger = self.linger_ms,
            sources = self.kind.sources(self.sources),
        )
    }
}

fn daemon() -> Command {
    Command::new(env!("CARGO_BIN_EXE_paybridge"))
}

/// Whether `/readyz` says yes.
fn is_ready(admin: SocketAddr) -> Result<(), String> {
    let ask = || {
        let mut stream = TcpStream::connect(admin)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    match ask() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => Ok(()),
        Ok(answer) => Err(answer),
        Err(error) => Err(error.to_string()),
    }
}
