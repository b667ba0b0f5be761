//! `paybridge demo`: the whole system in one process, with nothing to install: an in-memory Kafka, the bridge, and
//! simulated providers that sign webhooks of every kind. Ends with a table of what was sent, acknowledged and seen.

mod cluster;
mod providers;
mod show;
mod stage;
mod tally;
mod watch;

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
use cluster::Cluster;
use providers::Providers;
use stage::Stage;
use tally::Tally;
use watch::Watch;

/// How long the bridge may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long the last records may take to be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where and how long.
#[derive(Args)]
pub struct DemoArguments {
    /// Stop by itself after this time, such as `20s` or `2m`; without it, at Ctrl-C.
    #[arg(long, value_name = "TIME")]
    duration: Option<SignedDuration>,
    /// Use a real Kafka instead of the in-memory one, and make the topics there that are missing.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Where the bridge takes webhooks; port 0 takes any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// Runs the demonstration; good when everything that was sent was acknowledged and seen on its topic.
///
/// # Errors
/// A part cannot be made.
pub async fn demo(arguments: DemoArguments) -> anyhow::Result<ExitCode> {
    super::start_logging(&Log { format: LogFormat::Text, level: LogLevel::Warn });
    let stop = super::stop_on_signal()?;
    let ingress = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("{} cannot be bound: choose another with --listen", arguments.listen))?;
    let admin = TcpListener::bind("127.0.0.1:0").await.context("no free port for the admin server")?;

    let cluster = Cluster::start(arguments.kafka.as_deref())?;
    show::cluster(&cluster);
    let stage = Stage::prepare(&cluster, ingress.local_addr()?, admin.local_addr()?)?;
    cluster.make_topics(&stage.config).await?;
    let bridge = Bridge::start(&stage.config, Listeners { ingress: Some(ingress), admin });
    bridge.await_ready().await?;

    let tally = Arc::new(Tally::default());
    let watch = Watch::start(&stage.config, &cluster, Arc::clone(&tally)).await?;
    let providers = Providers::new(&stage)?;
    show::invitation(&stage, &providers.examples());
    let until = arguments.duration.map(Duration::try_from).transpose().context("--duration must be positive")?;
    providers.send_until(until.map(|duration| Instant::now() + duration), &stop, &tally).await?;

    let complete = all_seen(&tally).await;
    watch.stop().await?;
    bridge.stop().await?;
    show::table(&tally);
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until all that was acknowledged was seen, for a while.
async fn all_seen(tally: &Tally) -> bool {
    let seen = async {
        while !tally.is_complete() {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(SEEN_WITHIN, seen).await.is_ok()
}

/// The daemon as a task of this process.
struct Bridge {
    stop: CancellationToken,
    ready_url: String,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Bridge {
    fn start(config: &Config, listeners: Listeners) -> Self {
        let stop = CancellationToken::new();
        let ready_url = format!("http://{}/readyz", config.admin.listen);
        let task = tokio::spawn(app::serve(config.clone(), listeners, stop.clone()));
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
