//! `paybridge demo`: the whole system in one process, with nothing to install: an in-memory Kafka, the bridge, simulated
//! providers that sign webhooks of every kind, one that asks for the merchant's confirmation, and a team that gives it.
//! Ends with tables of what was sent, acknowledged and seen, and of how sessions ended.

mod cluster;
mod decision_writer;
mod output;
mod providers;
mod record_reader;
mod session_counts;
mod sessions;
mod setup;
mod webhook_counts;
mod webhook_sender;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::{self, Listeners};
use crate::config::{Config, Log, LogFormat, LogLevel};
use crate::kafka::broker_clock::Broker;
use cluster::DemoCluster;
use decision_writer::DecisionWriter;
use providers::Providers;
use record_reader::RecordReader;
use session_counts::{SessionCount, SessionCounts};
use sessions::Sessions;
use setup::{Addresses, Setup};
use webhook_counts::WebhookCounts;

/// How long the bridge may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long the last records may take to be seen, and the last sessions to end: their deadline is some seconds away.
const SEEN_WITHIN: Duration = Duration::from_mins(1);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where and how long.
#[derive(Args)]
pub struct DemoArguments {
    /// Stop after this time, such as `20s` or `2m`. Without it, stop at Ctrl-C.
    #[arg(long, value_name = "TIME")]
    duration: Option<SignedDuration>,
    /// Use this Kafka instead of the in-memory one, and create missing topics there.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// The address for webhooks. Port 0 means any free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// How the demonstration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DemoResult {
    /// As it should.
    Good,
    /// Something was not acknowledged or not seen.
    Missing,
    /// A session has no outcome or two, or its provider did something else.
    Disagreement,
}

/// Runs the demonstration; good when everything that was sent was acknowledged and seen on its topic, and every session
/// ended as its one outcome says.
///
/// # Errors
/// A part cannot be made.
pub async fn demo(arguments: DemoArguments) -> anyhow::Result<ExitCode> {
    super::start_logging(&Log { format: LogFormat::Text, level: LogLevel::Warn });
    let stop = super::stop_on_signal()?;
    let until = arguments.duration.map(Duration::try_from).transpose().context("--duration must be positive")?;
    let ingress = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("{} cannot be bound: choose another with --listen", arguments.listen))?;
    let admin = TcpListener::bind("127.0.0.1:0").await.context("no free port for the admin server")?;
    let api = TcpListener::bind("127.0.0.1:0").await.context("no free port for the simulated provider")?;

    let cluster = DemoCluster::start(arguments.kafka.as_deref())?;
    output::cluster(&cluster);
    let addresses = Addresses { ingress: ingress.local_addr()?, admin: admin.local_addr()?, api: api.local_addr()? };
    let setup = Setup::prepare(&cluster, &addresses)?;
    cluster.make_topics(&setup.config).await?;
    let (sessions, finishing) = Sessions::start(&setup, api)?;
    let bridge = RunningBridge::start(&setup.config, Listeners { ingress: Some(ingress), admin }, cluster.broker());
    bridge.await_ready().await?;

    let counts = Arc::new(WebhookCounts::default());
    let session_counts = Arc::new(SessionCounts::new(setup.config.kafka.topic_prefix.as_ref()));
    let reader =
        RecordReader::start(&setup.config, &cluster, (Arc::clone(&counts), Arc::clone(&session_counts))).await?;
    let decisions = DecisionWriter::start(&setup.config)?;
    let providers = Providers::new(&setup)?;
    output::invitation(&setup, &providers.examples());
    let until = until.map(|duration| Instant::now() + duration);
    let played = async {
        providers.send_until(until, &stop, &counts, (&sessions, &decisions)).await?;
        output::waiting();
        all_seen(&counts, &session_counts).await;
        anyhow::Ok(())
    };
    tokio::select! {
        played = played => played?,
        told = sessions.tell_ends(finishing, &counts) => {
            told?;
            bail!("the simulated provider ended");
        }
    }

    decisions.stop().await?;
    reader.stop().await?;
    bridge.stop().await?;
    let session_counts = session_counts.rows(&sessions.api.sessions());
    let result = DemoResult::of(&counts, &session_counts);
    output::tables(&counts, &session_counts, result);
    Ok(result.exit_code())
}

/// Waits until all that was acknowledged was seen, and every session has ended, for a while.
async fn all_seen(counts: &WebhookCounts, session_counts: &SessionCounts) {
    let seen = async {
        while !(counts.is_complete() && session_counts.is_complete()) {
            sleep(LOOK_EVERY).await;
        }
    };
    // What is missing then, the tables tell.
    let _in_time = timeout(SEEN_WITHIN, seen).await;
}

impl DemoResult {
    fn of(counts: &WebhookCounts, session_counts: &[(String, SessionCount)]) -> Self {
        match (counts.is_complete(), session_counts.iter().all(|(_, row)| row.agrees())) {
            (true, true) => Self::Good,
            (false, _) => Self::Missing,
            (true, false) => Self::Disagreement,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Good => {
                "All that was sent was acknowledged and seen, and every session ended as its one outcome says."
            }
            Self::Missing => "Something is missing.",
            Self::Disagreement => "A session has no outcome or two, or its provider did something else.",
        }
    }

    fn exit_code(self) -> ExitCode {
        match self {
            Self::Good => ExitCode::SUCCESS,
            Self::Missing | Self::Disagreement => ExitCode::FAILURE,
        }
    }
}

/// The daemon as a task of this process.
struct RunningBridge {
    stop: CancellationToken,
    ready_url: String,
    task: JoinHandle<anyhow::Result<()>>,
}

impl RunningBridge {
    fn start(config: &Config, listeners: Listeners, broker: Broker) -> Self {
        let stop = CancellationToken::new();
        let ready_url = format!("http://{}/readyz", config.admin.listen);
        let task = tokio::spawn(app::serve(config.clone(), listeners, broker, stop.clone()));
        Self { stop, ready_url, task }
    }

    async fn await_ready(&self) -> anyhow::Result<()> {
        let ready = async {
            while !self.task.is_finished() && !super::sender::is_ok(&self.ready_url).await {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(READY_WITHIN, ready).await.context("the bridge did not become ready")?;
        if self.task.is_finished() {
            bail!("the bridge ended at its start");
        }
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await.context("the bridge panicked")?
    }
}
