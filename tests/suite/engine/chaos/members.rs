//! The engines as processes: two that stay, and guests. Each has a name of its own that outlives its process.

use paybridge::config::Config;

use super::{LIMIT, eventually};
use crate::support::bridge::key_file;
use crate::support::daemon::{Client, Daemon};
use crate::support::engine_setup::{EngineSetup, sources};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;

/// Partitions of each input, as the setup makes them.
pub const PARTITIONS: u64 = 3;
const ASSIGNED: &str = "paybridge_confirmation_assigned_partitions";

/// One engine.
pub struct Member {
    /// Its process.
    pub daemon: Daemon,
    client: Client,
}

/// How an engine that wakes finds that its partitions are another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The group refused its transaction: it was fenced.
    Refused,
    /// Kafka had ended its open transaction, and refuses its producer: it was fenced.
    Ended,
    /// Its open transaction was too old to go on, so it aborted that itself; then the group told it.
    Failed,
    /// The group told it before it wrote anything.
    Told,
}

/// How engines reach Kafka.
pub struct Access {
    /// Where they find it.
    pub bootstrap: String,
    /// The tables of their configuration with which they log in.
    pub tables: String,
}

/// All that run.
pub struct Members {
    /// Their Kafka.
    pub kafka: &'static Kafka,
    /// Those that stay.
    pub stay: Vec<Member>,
    configuration: String,
    guests: usize,
}

impl Members {
    /// Engines that share the work on a setup.
    pub fn start(setup: &EngineSetup, access: &Access, confirmation: &str, count: usize) -> Self {
        let configuration = configuration(setup, access, confirmation);
        let mut members = Self { kafka: setup.kafka, stay: Vec::new(), configuration, guests: 0 };
        members.stay = (0..count).map(|number| members.member(&format!("bridge-{number}"))).collect();
        members.stay.iter().for_each(|member| member.daemon.await_ready());
        members.await_all_assigned();
        members
    }

    /// One more engine, that is ready.
    pub fn guest(&mut self) -> Member {
        self.guests += 1;
        let guest = self.member(&format!("guest-{}", self.guests));
        guest.daemon.await_ready();
        guest
    }

    /// Waits until every partition is worked on.
    #[track_caller]
    pub fn await_all_assigned(&self) {
        eventually(LIMIT, || match self.assigned() {
            PARTITIONS => Ok(()),
            assigned => Err(format!("{assigned} partitions of {PARTITIONS} are worked on\n{}", self.logs())),
        });
    }

    /// Whether everything is read, and no call on its way.
    pub fn are_at_rest(&self) -> Result<(), String> {
        let of = |name: &str| self.stay.iter().map(|member| member.metric(name)).sum::<u64>();
        let standing = [
            ("assigned partitions too few", PARTITIONS.abs_diff(of(ASSIGNED))),
            ("open sessions", of("paybridge_confirmation_open_sessions")),
            ("records not read", of("paybridge_confirmation_lag_records")),
            ("calls on their way", of("paybridge_confirmation_calls_in_flight")),
        ];
        match standing.iter().find(|(_, count)| *count > 0) {
            None => Ok(()),
            Some((what, count)) => Err(format!("{count} {what}")),
        }
    }

    /// All that they said.
    pub fn logs(&self) -> String {
        self.stay.iter().map(|member| member.daemon.log()).collect::<Vec<_>>().join("\n--- the next engine:\n")
    }

    /// Ends them in order.
    pub fn stop(self) {
        for mut member in self.stay {
            member.daemon.signal("TERM");
            assert_eq!(member.daemon.await_end(), Some(0), "{}", member.daemon.log());
        }
    }

    /// How many partitions are worked on; must not be asked while one is frozen.
    pub fn assigned(&self) -> u64 {
        self.stay.iter().map(Member::assigned).sum()
    }

    fn member(&self, name: &str) -> Member {
        let own = format!("bridge_instance = \"{name}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n", free_port());
        let daemon = Daemon::run(&format!("{own}{}", self.configuration));
        Member { client: daemon.client(), daemon }
    }
}

impl Member {
    /// How many partitions it works on; must not be asked of a frozen one.
    pub fn assigned(&self) -> u64 {
        self.metric(ASSIGNED)
    }

    /// How it found, since its log was `mark` bytes long, that its partitions are another's; nothing while it has not.
    pub fn found_its_loss(&self, mark: usize) -> Option<Loss> {
        let log = self.daemon.log();
        let since = log.get(mark..).unwrap_or_default();
        if !since.contains("partitions were revoked from the confirmation engine") {
            return None;
        }
        Some(match () {
            () if since.contains("lost its partitions") => Loss::Refused,
            () if since.contains("it is unknown whether the transaction was committed") => Loss::Ended,
            () if since.contains("a transaction of the confirmation engine failed") => Loss::Failed,
            () => Loss::Told,
        })
    }

    /// A whole number of its metrics; 0 where it does not answer.
    pub fn metric(&self, series: &str) -> u64 {
        self.client.metric(series).unwrap_or_default()
    }
}

fn configuration(setup: &EngineSetup, access: &Access, confirmation: &str) -> String {
    let Config { kafka, .. } = &setup.config;
    let Access { bootstrap, tables } = access;
    let sources = sources(&format!("http://{}", setup.provider.address));
    let sources = sources.replace("_files = [\"", &format!("_files = [\"{}", key_file("").display()));
    format!(
        r#"
[ingress]
enabled = false
[shutdown]
drain_delay_ms = 0
grace_ms = 5000
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
partitions = {PARTITIONS}
replication_factor = {replicas}
{tables}
{sources}
[confirmation]
enabled = true
{confirmation}"#,
        replicas = kafka.replication_factor,
        prefix = kafka.topic_prefix.as_ref(),
    )
}
