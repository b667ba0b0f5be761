//! `paybridge quarantine release`: says what would become of held records, and with `--yes` publishes their events.
//! Must not know how a record is judged.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::filter_arguments::FilterArguments;
use super::list::{object, place, table};
use super::{CHUNK, HeldFormat, MARKERS_WITHIN, OPEN_WITHIN};
use crate::cli::progress::Progress;
use crate::cli::{ConfigFile, Environment, WrongUsage, closed_output, print, stop_on_signal, tell};
use crate::config::files::FileReader;
use crate::config::{ClientSide, Config, SourceConfig, SourceName};
use crate::kafka::client;
use crate::message::release::v1::ReleaseVerdict;
use crate::provider;
use crate::release::filter::HeldFilter;
use crate::release::held::HeldRecord;
use crate::release::judge::{Judge, PresentKeys};
use crate::release::marker::{ReleaseAuthor, ReleasedEvents};
use crate::release::reading::{self, ChunkBounds, HeldReader};
use crate::release::run::{ReleaseMode, ReleaseRun, own_publisher};
use crate::release::verdict::Tally;
use crate::short_line::printable;

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge quarantine release --source sg-main --since 3h --config config/local.toml\n  \
                           paybridge quarantine release --from rejected --source sg-main --yes --reason 'new key'\n\n\
                           Without --yes nothing is written: a line says what would become of each record. Each webhook is authenticated\n\
                           again with the present keys, as of its receipt, and becomes the event that this version makes of it, with its\n\
                           original received_at. What was released before is skipped. Ctrl-C stops it in order; run it again to go on.\n\
                           Exit code 1 when a webhook stays where it is, or when the command did not come to its end.";

/// The longest wait without a look for a signal.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the chunk that a signal came into may take to its end.
const STOP_WITHIN: Duration = Duration::from_mins(1);
/// The longest name or reason in a marker, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What the user wants.
#[derive(Args)]
pub struct ReleaseOptions {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    filter: FilterArguments,
    /// Only records that are held for this reason, such as `wrong_shape`, `signature_mismatch` or `unknown_type`.
    #[arg(long, value_name = "REASON")]
    with_reason: Option<String>,
    /// Publish the events. Without it nothing is written.
    #[arg(long)]
    yes: bool,
    /// Release also what was released before. Subscribers get the same event id again.
    #[arg(long)]
    again: bool,
    /// The most records per second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Who releases. The marker of each event repeats it.
    #[arg(long, value_name = "NAME", default_value = "paybridge quarantine")]
    released_by: String,
    /// Why, for people. The marker of each event repeats it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// How to answer; `json` is one object per record that is told, and a last one with the counts.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = HeldFormat::Text)]
    format: HeldFormat,
}

/// Releases.
///
/// # Errors
/// The arguments, the configuration or a key file cannot be used, the topics cannot be read, or Kafka takes no record.
pub async fn run(options: ReleaseOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    for (name, text, least) in [("--released-by", &options.released_by, 1), ("--reason", &options.reason, 0)] {
        if text.len() < least || text.len() > TEXT_BYTES_MAX {
            return Err(WrongUsage(format!("{name} must have {least} to {TEXT_BYTES_MAX} bytes")).into());
        }
    }
    let config = options.config.load(environment)?;
    let stop = stop_on_signal()?;
    let task = ReleaseTask { config, options: Wishes::of(options), stop: stop.clone() };
    let mut releasing = tokio::task::spawn_blocking(move || task.release());
    tokio::select! {
        ended = &mut releasing => ended?,
        () = stop.cancelled() => {
            let ended = tokio::time::timeout(STOP_WITHIN, releasing).await;
            ended.context("stopped by a signal before it was done; run it again to go on")??
        }
    }
}

/// What is asked for, apart from the configuration.
struct Wishes {
    filter: HeldFilter,
    yes: bool,
    again: bool,
    rate: Option<u32>,
    author: ReleaseAuthor,
    format: HeldFormat,
}

impl Wishes {
    fn of(options: ReleaseOptions) -> Self {
        let ReleaseOptions { filter, with_reason, yes, again, rate, released_by, reason, format, .. } = options;
        let author = ReleaseAuthor { released_by, reason };
        Self { filter: filter.filter(with_reason), yes, again, rate, author, format }
    }
}

struct ReleaseTask {
    config: Config,
    options: Wishes,
    stop: CancellationToken,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReleaseEnd {
    Complete,
    Stopped,
}

impl ReleaseTask {
    /// Reads, judges and publishes, chunk by chunk. Blocks.
    fn release(&self) -> anyhow::Result<ExitCode> {
        let Self { config, options, .. } = self;
        let client = client::base(&config.kafka, ClientSide::Common)?;
        let prefix = config.kafka.topic_prefix.as_ref();
        let judge = Judge::new(config, self.keys()?);
        let mut reader = HeldReader::scan(&client, prefix, options.filter.clone(), OPEN_WITHIN)?;
        let mut run = ReleaseRun {
            judge: &judge,
            mode: if options.yes {
                ReleaseMode::Publish(Arc::new(own_publisher(config)?))
            } else {
                ReleaseMode::DryRun
            },
            prefix: prefix.to_owned(),
            author: options.author.clone(),
            released: self.released_before(&client)?,
            tally: Tally::default(),
        };
        let ended = self.each_chunk(&mut reader, &mut run);
        // Also where it failed: what was done is done.
        self.print_table(&run.tally, ended.as_ref().ok().copied())?;
        let ended = ended.context("it did not come to its end: run it again to go on")?;
        Ok(if ended == ReleaseEnd::Complete && run.tally.left() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The keys that the files hold now, of the sources that are meant. Where all are, one whose files cannot be used does not stop the
    /// others: its records stay.
    fn keys(&self) -> anyhow::Result<BTreeMap<SourceName, PresentKeys>> {
        let wanted = self.options.filter.source.as_deref();
        let mut keys: BTreeMap<SourceName, PresentKeys> = BTreeMap::new();
        for (name, settings) in &self.config.sources {
            if wanted.is_some_and(|wanted| wanted != name.as_ref()) {
                continue;
            }
            match present_keys(name, settings) {
                Ok(present) => drop(keys.insert(name.clone(), present)),
                Err(error) if wanted.is_some() => return Err(error),
                Err(error) => tell(&format!("records of a source stay, because its keys cannot be used: {error:#}")),
            }
        }
        Ok(keys)
    }

    fn released_before(&self, client: &rdkafka::ClientConfig) -> anyhow::Result<ReleasedEvents> {
        if self.options.again {
            return Ok(ReleasedEvents::default());
        }
        let markers = reading::released(client, self.config.kafka.topic_prefix.as_ref(), MARKERS_WITHIN)?;
        if !markers.is_complete {
            tell(
                "not everything that was released before is known: some events may be released again, with the same id",
            );
        }
        Ok(markers.released)
    }

    fn each_chunk(&self, reader: &mut HeldReader, run: &mut ReleaseRun<'_>) -> anyhow::Result<ReleaseEnd> {
        let all = reader.left();
        let bounds = self.bounds();
        let (mut progress, mut is_told) = (Progress::new(), false);
        let mut turn = Instant::now();
        // A trial is for who reads it; a release goes on without.
        while !self.stop.is_cancelled() && (self.options.yes || !closed_output::nobody_reads()) {
            let Some(chunk) = reader.next_chunk(bounds)? else { return Ok(ReleaseEnd::Complete) };
            if let Some(error) = chunk.interrupted
                && !std::mem::replace(&mut is_told, true)
            {
                progress.clear();
                tell(&format!("{error}; going on when it does"));
            }
            let mut lines = String::new();
            run.carry_out(&chunk.records, &mut |held, verdict, remark| self.line(&mut lines, held, verdict, remark))?;
            if !lines.is_empty() {
                progress.clear();
                print(&lines)?;
            }
            let (looked_at, done) = (all.saturating_sub(reader.left()), run.tally.of(ReleaseVerdict::Released));
            let word = if self.options.yes { "released" } else { "to be released" };
            progress.tell(|| format!("{looked_at} of {all} records looked at, {done} {word}"));
            self.wait(&mut turn, chunk.records.len());
        }
        Ok(ReleaseEnd::Stopped)
    }

    /// At a rate, a tenth of a second's records at a time.
    fn bounds(&self) -> ChunkBounds {
        let per_turn = self.options.rate.map(|rate| usize::try_from(rate / 10).unwrap_or(usize::MAX).max(1));
        ChunkBounds { records_max: per_turn.unwrap_or(CHUNK.records_max).min(CHUNK.records_max), ..CHUNK }
    }

    /// Waits until it is time for the next records.
    fn wait(&self, turn: &mut Instant, records: usize) {
        let Some(rate) = self.options.rate else { return };
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        *turn = (*turn).max(Instant::now()) + Duration::from_secs(1).saturating_mul(records) / rate;
        while !self.stop.is_cancelled() {
            let left = turn.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    /// What became of one record: of all in a dry run, else of those that stay.
    fn line(&self, lines: &mut String, held: &HeldRecord, verdict: ReleaseVerdict, remark: &str) {
        if self.options.yes && !verdict.is_left() {
            return;
        }
        let place = place(held);
        let line = match self.options.format {
            HeldFormat::Text => {
                let remark = if remark.is_empty() { String::new() } else { format!(": {}", printable(remark)) };
                let source = printable(held.source());
                format!("{place}  {source}  {}{remark}\n", self.phrase(verdict))
            }
            HeldFormat::Json => {
                let mut object = object(held);
                object.insert("verdict".to_owned(), json!(verdict.word()));
                object.insert("remark".to_owned(), json!(remark));
                format!("{}\n", Value::Object(object))
            }
        };
        lines.push_str(&line);
    }

    fn phrase(&self, verdict: ReleaseVerdict) -> &'static str {
        match verdict {
            ReleaseVerdict::Released if !self.options.yes => "would be released",
            other => other.phrase(),
        }
    }

    fn print_table(&self, tally: &Tally, ended: Option<ReleaseEnd>) -> anyhow::Result<()> {
        let is_complete = ended == Some(ReleaseEnd::Complete);
        let rows = tally.rows();
        print(&match self.options.format {
            HeldFormat::Text => {
                let row = |(verdict, remark, count): (ReleaseVerdict, &str, u64)| {
                    [count.to_string(), self.phrase(verdict).to_owned(), printable(remark)].to_vec()
                };
                let counts = if tally.all() == 0 {
                    String::new()
                } else {
                    table(&["COUNT", "VERDICT", "REMARK"], rows.map(row).collect())
                };
                counts + &self.summary(tally, ended)
            }
            HeldFormat::Json => {
                let row = |(verdict, remark, count): (ReleaseVerdict, &str, u64)| json!({"verdict": verdict.word(), "remark": remark, "count": count});
                let counts: Value = rows.map(row).collect();
                format!("{}\n", json!({"dry_run": !self.options.yes, "complete": is_complete, "counts": counts}))
            }
        })?;
        Ok(())
    }

    fn summary(&self, tally: &Tally, ended: Option<ReleaseEnd>) -> String {
        let (done, left) = (tally.of(ReleaseVerdict::Released), tally.left());
        let end = match ended {
            Some(ReleaseEnd::Complete) => "",
            Some(ReleaseEnd::Stopped) | None => "; stopped before its end: run it again to go on",
        };
        if self.options.yes {
            format!("{done} released, {left} webhooks stay{end}\n")
        } else {
            format!("nothing was written: {done} would be released, {left} webhooks would stay; --yes releases{end}\n")
        }
    }
}

/// The keys of one source that its files hold now.
fn present_keys(name: &SourceName, settings: &SourceConfig) -> anyhow::Result<PresentKeys> {
    let provider = provider::find(&settings.provider).context("the source's provider is unknown")?;
    let source =
        provider.configure(&settings.section, &FileReader::new()).with_context(|| format!("sources.{name}"))?;
    let source = Arc::new(source);
    Ok(Box::new(move || Arc::clone(&source)))
}
