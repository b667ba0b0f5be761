//! `paybridge spool`: looks into the disk spool, and empties one that belongs to no daemon any more.
//! Must not know how files are laid out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::{ConfigFile, Environment, print, stop_on_signal};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::release::run::own_publisher;
use crate::spool::status::{self, DeadFile, SpoolStatus};
use crate::spool::{DiskSpool, SpoolOwner, SpoolSettings};

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge spool status --config config/local.toml\n  \
                           paybridge spool drain --directory /mnt/orphan/spool --config config/local.toml\n  \
                           paybridge spool retry-dead\n\n\
                           A running daemon empties its own spool: `drain` is for a folder that no daemon has any more.";

/// How long Kafka may take until records are published.
const KAFKA_WITHIN: Duration = Duration::from_secs(15);
/// Events of a dead file that are shown.
const EVENTS_SHOWN: usize = 10;
/// Files that are shown with why they cannot be read.
const FILES_SHOWN: usize = 10;

/// What to do.
#[derive(Subcommand)]
pub enum SpoolCommand {
    /// Say what waits on disk, and what cannot be delivered. A daemon may run meanwhile.
    Status(StatusOptions),
    /// Publish all records of a folder that no daemon has, and leave it empty. Exit code 1 if files are left, or dead.
    Drain(SpoolPlace),
    /// Let records be tried again that were larger than their topic takes. The daemon that has the folder does it, or the next one.
    RetryDead(SpoolPlace),
}

/// Which spool.
#[derive(Args)]
pub struct SpoolPlace {
    #[command(flatten)]
    config: ConfigFile,
    /// The folder; without it, spool.directory counts.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Of `status`.
#[derive(Args)]
pub struct StatusOptions {
    #[command(flatten)]
    place: SpoolPlace,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text")]
    format: StatusFormat,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl SpoolPlace {
    fn load(&self, environment: &Environment) -> anyhow::Result<(Config, PathBuf)> {
        let config = self.config.load(environment)?;
        let directory = self.directory.clone().unwrap_or_else(|| config.spool.directory.clone());
        Ok((config, directory))
    }
}

/// Does it.
///
/// # Errors
/// The configuration or the folder cannot be used, Kafka does not answer, or the output cannot be written.
pub async fn run(command: SpoolCommand, environment: &Environment) -> anyhow::Result<ExitCode> {
    match command {
        SpoolCommand::Status(options) => show_status(&options, environment),
        SpoolCommand::Drain(place) => drain(&place, environment).await,
        SpoolCommand::RetryDead(place) => retry_dead(&place, environment),
    }
}

fn show_status(options: &StatusOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let (_, directory) = options.place.load(environment)?;
    let status = status::of_folder(&directory).with_context(|| no_spool(&directory))?;
    print(&match options.format {
        StatusFormat::Text => text(&directory, &status),
        StatusFormat::Json => serde_json::to_string_pretty(&as_json(&status))? + "\n",
    })?;
    let is_whole = status.dead.is_empty() && status.unreadable.is_empty() && status.damaged == 0;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn retry_dead(place: &SpoolPlace, environment: &Environment) -> anyhow::Result<ExitCode> {
    let (_, directory) = place.load(environment)?;
    let names = status::retry_dead(&directory).with_context(|| no_spool(&directory))?;
    let text = match names.as_slice() {
        [] => "nothing to try again\n".to_owned(),
        names => format!("tried again: {}\n", names.join(", ")),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn drain(place: &SpoolPlace, environment: &Environment) -> anyhow::Result<ExitCode> {
    let (config, directory) = place.load(environment)?;
    let stop = stop_on_signal()?;
    let publisher = Arc::new(own_publisher(&config)?);
    let metrics = Metrics::new().context("metrics")?;
    let settings = SpoolSettings {
        directory: directory.clone(),
        bytes_max: config.spool.bytes_max,
        files_max: config.spool.files_max,
        engage_after: config.spool.engage_after(),
    };
    let nobody =
        SpoolOwner { drained: Box::new(|_| {}), lost: Box::new(|_| {}), memory_is_half_taken: Box::new(|| false) };
    // It makes no folder: a wrong name is no empty spool.
    status::lock_file(&directory).with_context(|| no_spool(&directory))?;
    let (spool, _) = DiskSpool::open(settings, Arc::clone(&publisher), nobody, metrics.spool())?;
    if timeout(KAFKA_WITHIN, publisher.has_producer_id()).await.is_err() {
        anyhow::bail!("Kafka gives no producer id within {} s: see `paybridge check`", KAFKA_WITHIN.as_secs());
    }
    let (left, drained) = tokio::task::spawn_blocking(move || drain_all(&spool, &stop)).await?;
    let status = status::of_folder(&directory)?;
    print(&format!("{drained} records published, {left} left\n{}", text(&directory, &status)))?;
    // A file that cannot be deleted counts, too, for its records would be published again; and what cannot be delivered.
    Ok(if left == 0 && status.files == 0 && status.dead.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn drain_all(spool: &DiskSpool, stop: &CancellationToken) -> (usize, usize) {
    let before = spool.records();
    let mut progress = Progress::new();
    let left = spool.drain_once(stop, &mut |left| progress.tell(|| format!("{left} of {before} records left")));
    progress.clear();
    (left, before.saturating_sub(left))
}

fn no_spool(directory: &Path) -> String {
    format!("{} is no spool that can be read", directory.display())
}

fn text(directory: &Path, status: &SpoolStatus) -> String {
    let SpoolStatus { is_in_use, files, bytes, oldest, records, damaged, unreadable, dead } = status;
    let mut text = String::new();
    let owner = if *is_in_use { "in use by a process" } else { "in use by no process" };
    let age = oldest.and_then(|oldest| oldest.elapsed().ok()).map_or(0, |age| age.as_secs());
    // Writing to a string cannot fail.
    let _written = writeln!(text, "{}: {owner}", directory.display());
    let _written = writeln!(
        text,
        "waiting: {files} files, {bytes} bytes, {} records, oldest {age} s",
        records.values().sum::<usize>()
    );
    for (topic, count) in records {
        let _written = writeln!(text, "  {topic}: {count}");
    }
    if *damaged > 0 {
        let _written = writeln!(text, "  damaged records: {damaged}");
    }
    for file in unreadable.iter().take(FILES_SHOWN) {
        let _written = writeln!(text, "  cannot be read: {file}");
    }
    let _written = writeln!(text, "dead: {} files", dead.len());
    for file in dead {
        let DeadFile { name, bytes, records, damage } = file;
        let _written = writeln!(text, "  {name}: {bytes} bytes, {} records that can be read", records.len());
        for (topic, event_id) in records.iter().take(EVENTS_SHOWN) {
            let event = event_id.map_or_else(|| "without event id".to_owned(), |id| id.to_string());
            let _written = writeln!(text, "    {topic} {event}");
        }
        for damage in damage.iter().take(EVENTS_SHOWN) {
            let _written = writeln!(text, "    {damage}");
        }
    }
    text
}

fn as_json(status: &SpoolStatus) -> Value {
    let oldest = status.oldest.and_then(|oldest| oldest.elapsed().ok()).map(|age| age.as_secs());
    let dead = status.dead.iter().map(|file| {
        let events = file.records.iter().filter_map(|(_, id)| id.map(|id| id.to_string()));
        json!({
            "name": file.name,
            "bytes": file.bytes,
            "records": file.records.len(),
            "event_ids": events.collect::<Vec<_>>(),
            "damage": file.damage.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    json!({
        "in_use": status.is_in_use,
        "files": status.files,
        "bytes": status.bytes,
        "oldest_age_s": oldest,
        "records": status.records.iter().map(|(topic, count)| (topic.to_string(), json!(count))).collect::<serde_json::Map<_, _>>(),
        "damaged_records": status.damaged,
        "unreadable": status.unreadable,
        "dead": dead.collect::<Vec<_>>(),
    })
}
