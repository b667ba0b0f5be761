//! `paybridge demo`: the whole system in one process, with nothing to install: an in-memory Kafka, the bridge, simulated
//! providers that sign webhooks of every kind, one that asks for the merchant's confirmation, and a team that gives it.
//! It tells this as a story, then lets its watcher take part, and ends with tables of what was sent, acknowledged and seen.

mod cluster;
mod commands;
mod decision_writer;
mod output;
mod providers;
mod record_reader;
mod session_counts;
mod sessions;
mod setup;
mod step_printer;
mod story;
mod webhook_counts;
mod webhook_sender;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{closed_output, sender};
use crate::app::{self, Listeners};
use crate::config::{Config, Log, LogFormat, LogLevel};
use crate::kafka::broker_clock::Broker;
use cluster::DemoCluster;
use commands::Commands;
use decision_writer::DecisionWriter;
use providers::Providers;
use record_reader::RecordReader;
use session_counts::{SessionCount, SessionCounts};
use sessions::Sessions;
use setup::{Addresses, Setup};
use step_printer::{DemoFormat, StepPrinter};
use story::{Pace, Story};
use webhook_counts::WebhookCounts;
use webhook_sender::Numbers;

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge demo\n  paybridge demo --duration 20s\n  paybridge demo --json | jq .topic\n\n\
                           The story takes about a minute. Then you can take part: the demo prints commands that send webhooks, read\n\
                           topics, and decide on a session that waits for you. Exit code 1 when something was not acknowledged, not\n\
                           seen on its topic, or decided otherwise than its one outcome says.";

/// How long the bridge may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long the last records may take to be seen, and the last sessions to end: their deadline is some seconds away.
const SEEN_WITHIN: Duration = Duration::from_mins(1);
/// The metric of the partitions that the engine decides on.
const ASSIGNED_PARTITIONS: &str = "paybridge_confirmation_assigned_partitions ";
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where and how long.
#[derive(Args)]
pub struct DemoArguments {
    /// Stop after this time, such as `20s` or `2m`: the story is told faster to fit. Without it, stop at Ctrl-C.
    #[arg(long, value_name = "TIME")]
    duration: Option<SignedDuration>,
    /// Use this Kafka instead of the in-memory one, and create missing topics there.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// The address for webhooks. Port 0 means any free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Milliseconds of one beat of the story: for tests, which do not read it.
    #[arg(long, hide = true, default_value_t = story::BEAT_MS)]
    beat_ms: u64,
    /// Print each record as one JSON object per line, as `paybridge tail` does, and all else on standard error.
    #[arg(long)]
    json: bool,
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

/// Everything that has to be there before the bridge starts.
struct Stage {
    cluster: DemoCluster,
    setup: Setup,
    listeners: Listeners,
    /// Where the simulated provider's session API is served.
    api: TcpListener,
}

/// Runs the demonstration; good when everything that was sent was acknowledged and seen on its topic, and every session
/// ended as its one outcome says. `called_as` is how this program was called.
///
/// # Errors
/// A part cannot be made.
pub async fn demo(arguments: DemoArguments, called_as: &OsStr) -> anyhow::Result<ExitCode> {
    // Warnings are about what the story shows, and would fall into it.
    super::start_logging(&Log { format: LogFormat::Text, level: LogLevel::Error });
    let stop = super::stop_on_signal()?;
    let duration = arguments.duration.map(Duration::try_from).transpose().context("--duration must be positive")?;
    let stage = Stage::build(&arguments).await?;
    let format = if arguments.json { DemoFormat::Json } else { DemoFormat::Steps };
    let numbers = Arc::new(Numbers::of(&stage.cluster));
    let pace = Pace { duration, beat: Duration::from_millis(arguments.beat_ms) };
    let (printer, queue) = StepPrinter::new(format, numbers.columns(), pace.line_gap(), stop.clone());
    let commands = Commands::new(called_as, &stage.setup.config_file);
    let shown = async {
        let result = show(stage, (&printer, &commands), &numbers, (pace, &stop)).await;
        printer.end().await;
        result
    };
    let (result, ()) = tokio::join!(shown, queue.print());
    Ok(result?.exit_code())
}

/// The demonstration from the start of the bridge to its end.
async fn show(
    stage: Stage,
    (printer, commands): (&StepPrinter, &Commands),
    numbers: &Arc<Numbers>,
    (pace, stop): (Pace, &CancellationToken),
) -> anyhow::Result<DemoResult> {
    let Stage { cluster, setup, listeners, api } = stage;
    printer.say(output::introduction(&cluster, &setup)).await;
    let (sessions, finishing) = Sessions::start(&setup, api, numbers, printer)?;
    let bridge = RunningBridge::start(&setup.config, listeners, cluster.broker());
    bridge.await_ready().await?;

    let counts = Arc::new(WebhookCounts::default());
    let session_counts = Arc::new(SessionCounts::new(setup.config.kafka.topic_prefix.as_ref()));
    let counting = (Arc::clone(&counts), Arc::clone(&session_counts));
    let reader = RecordReader::start(&setup.config, &cluster, counting, printer.clone()).await?;
    let team = DecisionWriter::start(&setup.config)?;
    let providers = Providers::new(&setup, numbers, printer)?;
    if let Some(text) = output::first_example(&providers.examples()) {
        printer.say(text).await;
    }
    let story = Story {
        providers: &providers,
        sessions: &sessions,
        team: &team,
        counts: &counts,
        session_counts: &session_counts,
        printer,
        commands,
        stop,
        pace,
    };
    let played = async {
        story.tell().await?;
        story.close().await;
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

    team.stop().await?;
    reader.stop().await?;
    bridge.stop().await?;
    let session_counts = session_counts.rows(&sessions.api.sessions());
    let result = DemoResult::of(&counts, &session_counts);
    printer.say(output::tables(&counts, &session_counts, result)).await;
    Ok(result)
}

/// Waits until all that was acknowledged was seen, and every session has ended, for a while, or until somebody is impatient.
async fn all_seen(counts: &WebhookCounts, session_counts: &SessionCounts) {
    let seen = async {
        let is_complete = || counts.is_complete() && session_counts.is_complete();
        while !is_complete() && !closed_output::nobody_reads() {
            sleep(LOOK_EVERY).await;
        }
    };
    // What is missing then, the tables tell.
    tokio::select! {
        _in_time = timeout(SEEN_WITHIN, seen) => {}
        _impatient = tokio::signal::ctrl_c() => {}
    }
}

impl Stage {
    async fn build(arguments: &DemoArguments) -> anyhow::Result<Self> {
        let ingress = TcpListener::bind(arguments.listen)
            .await
            .with_context(|| format!("{} cannot be bound: choose another with --listen", arguments.listen))?;
        let admin = TcpListener::bind("127.0.0.1:0").await.context("no free port for the admin server")?;
        let api = TcpListener::bind("127.0.0.1:0").await.context("no free port for the simulated provider")?;
        let cluster = DemoCluster::start(arguments.kafka.as_deref())?;
        let addresses =
            Addresses { ingress: ingress.local_addr()?, admin: admin.local_addr()?, api: api.local_addr()? };
        let setup = Setup::prepare(&cluster, &addresses)?;
        cluster.make_topics(&setup.config).await?;
        Ok(Self { cluster, setup, listeners: Listeners { ingress: Some(ingress), admin }, api })
    }
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
    admin: SocketAddr,
    task: JoinHandle<anyhow::Result<()>>,
}

impl RunningBridge {
    fn start(config: &Config, listeners: Listeners, broker: Broker) -> Self {
        let stop = CancellationToken::new();
        let admin = config.admin.listen;
        let task = tokio::spawn(app::serve(config.clone(), listeners, broker, stop.clone()));
        Self { stop, admin, task }
    }

    /// Waits until it takes webhooks, and its engine has partitions: a group's first member is let in after seconds, in which
    /// the story would stand still.
    async fn await_ready(&self) -> anyhow::Result<()> {
        let ready = async {
            while !self.task.is_finished() {
                if self.takes_webhooks().await && self.decides().await {
                    break;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(READY_WITHIN, ready).await.context("the bridge did not become ready")?;
        if self.task.is_finished() {
            bail!("the bridge ended at its start");
        }
        Ok(())
    }

    async fn takes_webhooks(&self) -> bool {
        sender::ok_body(&format!("http://{}/readyz", self.admin)).await.is_some()
    }

    async fn decides(&self) -> bool {
        let metrics = sender::ok_body(&format!("http://{}/metrics", self.admin)).await.unwrap_or_default();
        metrics.lines().filter_map(|line| line.strip_prefix(ASSIGNED_PARTITIONS)).any(|count| count.trim() != "0")
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await.context("the bridge panicked")?
    }
}
