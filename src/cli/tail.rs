//! `paybridge tail`: prints decoded events, a line each, as they arrive or as they are there, until it is stopped, has seen
//! enough, or nobody reads it any more. Must not know what an event means.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::{ConfigFile, Environment, WrongUsage, closed_output, line_style, stop_on_signal, tell};
use crate::config::ClientSide;
use crate::kafka::client;
use crate::kafka::client_error::ClientError;
use crate::kafka::decoded::{self, Decoded};
use crate::kafka::present_records::{PresentRecords, RecordPeriod};
use crate::kafka::reader::{ReadError, ReadStep, Start, TopicReader};
use crate::kafka::topics::{Topic, needed};
use crate::message::DESCRIPTORS;
use crate::short_line::ShortLine;

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge tail --config config/local.toml\n  \
                           paybridge tail smart-glocal.ready-to-confirm quarantine --from-beginning --count 10\n  \
                           paybridge tail --no-follow --key ps_3230 | jq .message.metadata\n\n\
                           It joins no consumer group and commits nothing. Only committed records are shown.";

/// How long Kafka may take until reading begins.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How often a quiet topic is left to look for a signal, and for somebody who still reads the output.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a stopped reader may take to close its connections.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What the user wants.
#[derive(Args)]
pub struct TailOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// Topics: full names or whole parts of names, such as `quarantine` or `smart-glocal.ready-to-confirm`. Default: all topics of the configuration but the internal ones, the ledger and the releases.
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Begin with the oldest records, not with those that arrive from now on.
    #[arg(long)]
    from_beginning: bool,
    /// Print the records that are there now, from the oldest one, topic by topic, and end.
    #[arg(long)]
    no_follow: bool,
    /// Only records with this key.
    #[arg(long, value_name = "K")]
    key: Option<String>,
    /// Only events with this id.
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// Stop after this many records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How to print a record: a short line, or the whole record as JSON. Default: short on a terminal, json in a pipe or file.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<TailFormat>,
}

/// How a record is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TailFormat {
    /// Time, topic, subject and what it says, in one short line for people.
    Short,
    /// The whole record, one JSON object per line.
    Json,
}

impl TailFormat {
    /// People look at a terminal, programs read pipes and files: these get JSON, as they did before there was another.
    fn of_output() -> Self {
        if io::stdout().is_terminal() { Self::Short } else { Self::Json }
    }
}

/// Which records are printed, and how many.
struct Filter {
    key: Option<String>,
    event_id: Option<String>,
    count: Option<u64>,
}

impl Filter {
    fn takes(&self, record: &Decoded) -> bool {
        self.key.as_ref().is_none_or(|key| record.key.as_ref() == Some(key))
            && self.event_id.as_ref().is_none_or(|id| record.event_id.as_ref() == Some(id))
    }
}

/// Prints until stopped.
///
/// # Errors
/// The configuration cannot be used, the topics cannot be read, or the output cannot be written.
pub async fn run(options: TailOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let config = options.config.load(environment)?;
    let messages = choose(&needed(&config), &options.topics).map_err(WrongUsage)?;
    let tail = Tail {
        client: client::base(&config.kafka, ClientSide::Common)?,
        messages,
        prefix: config.kafka.topic_prefix.as_ref().to_owned(),
        range: match (options.no_follow, options.from_beginning) {
            (true, _) => RecordRange::Present,
            (false, true) => RecordRange::From(Start::Beginning),
            (false, false) => RecordRange::From(Start::End),
        },
        filter: Filter { key: options.key, event_id: options.event_id, count: options.count },
        format: options.format.unwrap_or_else(TailFormat::of_output),
    };
    let stop = stop_on_signal()?;
    let stopping = stop.clone();
    let mut reading = tokio::task::spawn_blocking(move || tail.print(&stopping));
    tokio::select! {
        ended = &mut reading => ended??,
        () = stop.cancelled() => {
            // A reader that blocks on a full pipe would never see the signal.
            if let Ok(ended) = tokio::time::timeout(CLOSE_WITHIN, reading).await {
                ended??;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The chosen topics and the message on each.
type Messages = BTreeMap<String, &'static str>;

/// The needed topics that the arguments name; when there are none, all that are not internal.
fn choose(needed: &[Topic], wanted: &[String]) -> Result<Messages, String> {
    let mut chosen = Messages::new();
    for wanted in wanted {
        let named: Vec<&Topic> = needed.iter().filter(|topic| names(wanted, &topic.name)).collect();
        if named.is_empty() {
            let all: Vec<&str> = needed.iter().map(|topic| topic.name.as_str()).collect();
            return Err(format!("`{wanted}` names no topic of this configuration; they are:\n  {}", all.join("\n  ")));
        }
        chosen.extend(named.into_iter().map(|topic| (topic.name.clone(), topic.message)));
    }
    if wanted.is_empty() {
        let shown = needed.iter().filter(|topic| !topic.is_internal());
        chosen.extend(shown.map(|topic| (topic.name.clone(), topic.message)));
    }
    if chosen.is_empty() { Err("this configuration needs no topics".to_owned()) } else { Ok(chosen) }
}

/// Whether `wanted` is whole parts of a topic's name, side by side.
fn names(wanted: &str, topic: &str) -> bool {
    !wanted.is_empty() && format!(".{topic}.").contains(&format!(".{wanted}."))
}

/// What is read of the topics.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RecordRange {
    /// All from there on, until somebody stops it.
    From(Start),
    /// What is there now.
    Present,
}

/// What is printed, and how.
struct Tail {
    client: ClientConfig,
    messages: Messages,
    prefix: String,
    range: RecordRange,
    filter: Filter,
    format: TailFormat,
}

/// Where records come from.
enum RecordSource {
    Following(TopicReader),
    Present(Box<PresentRecords>),
}

impl RecordSource {
    fn next(&mut self) -> Result<Option<ReadStep>, ReadError> {
        match self {
            Self::Following(reader) => reader.next(LOOK_EVERY).map(Some),
            Self::Present(records) => records.next(LOOK_EVERY),
        }
    }
}

impl Tail {
    /// Reads, decodes and prints. Blocks.
    fn print(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut source = self.open()?;
        let (mut printed, mut outage): (u64, Outage) = (0, Outage::default());
        let mut looked = Instant::now();
        while !stop.is_cancelled() {
            if looked.elapsed() >= LOOK_EVERY {
                if closed_output::nobody_reads() {
                    return Ok(());
                }
                looked = Instant::now();
            }
            let record = match source.next()? {
                Some(ReadStep::Record(record)) => record,
                Some(ReadStep::Idle) => continue,
                Some(ReadStep::Interrupted(error)) => {
                    outage.begins(&error);
                    continue;
                }
                None => {
                    tell(&format!("end of the topics; {} printed", counted(printed, "record")));
                    return Ok(());
                }
            };
            outage.ends();
            let message = self.messages.get(&record.topic).copied();
            let decoded = decoded::decode(*record, message, &DESCRIPTORS);
            if !self.filter.takes(&decoded) {
                continue;
            }
            if !self.print_record(&decoded)? {
                return Ok(());
            }
            printed = printed.saturating_add(1);
            if self.filter.count.is_some_and(|count| printed >= count) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn open(&self) -> anyhow::Result<RecordSource> {
        let topics: Vec<String> = self.messages.keys().cloned().collect();
        let (source, from) = match self.range {
            RecordRange::From(start) => {
                let reader = TopicReader::open(&self.client, &topics, start, OPEN_WITHIN)?;
                let from = if start == Start::Beginning { "from the beginning" } else { "from now on" };
                (RecordSource::Following(reader), from)
            }
            RecordRange::Present => {
                let records = PresentRecords::open(&self.client, &topics, RecordPeriod::default(), OPEN_WITHIN)?;
                (RecordSource::Present(Box::new(records)), "from the beginning to the present end")
            }
        };
        let until = match (self.range, self.filter.count) {
            (RecordRange::Present, _) => String::new(),
            (RecordRange::From(_), None) => "; stop with Ctrl-C".to_owned(),
            (RecordRange::From(_), Some(count)) => format!("; it ends after {}", counted(count, "record")),
        };
        tell(&format!("reading {} {from}{until}", counted(topics.len(), "topic")));
        Ok(source)
    }

    /// Prints one line; whether somebody still reads. A terminal gets colours, unless `NO_COLOR` is set.
    fn print_record(&self, record: &Decoded) -> anyhow::Result<bool> {
        let written = match self.format {
            TailFormat::Short => {
                writeln!(anstream::stdout(), "{}", line_style::whole(&ShortLine::of(record, &self.prefix)))
            }
            TailFormat::Json => {
                let line = serde_json::to_string(record).context("a record cannot be written as JSON")?;
                let mut out = io::stdout().lock();
                writeln!(out, "{line}").and_then(|()| out.flush())
            }
        };
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error).context("the output cannot be written"),
        }
    }
}

/// `1 record`, `2 records`.
fn counted(count: impl std::fmt::Display, what: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Tells an outage once, not for every attempt to connect.
#[derive(Default)]
struct Outage {
    told: bool,
}

impl Outage {
    fn begins(&mut self, error: &ClientError) {
        if !std::mem::replace(&mut self.told, true) {
            tell(&format!("{error}; going on when it does"));
        }
    }

    fn ends(&mut self) {
        self.told = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::kafka::decoded::ReadRecord;

    #[test]
    fn whole_parts_of_a_name_choose_topics_and_internal_ones_must_be_named() {
        let toml = "[sources.sg]\nprovider = 'smart-glocal'\n[confirmation]\nenabled = true\ndry_run = true\n";
        let needed = needed(&Config::from_toml(toml, []).unwrap());
        for (wanted, expected) in [
            (&[][..], Some(11)),
            (&["ledger"], Some(1)),
            (&["confirmation"], Some(4)),
            (&["payments.smart-glocal.ready-to-confirm.v1"], Some(1)),
            (&["ready-to-confirm", "quarantine"], Some(2)),
            (&["smart-glocal", "ready-to-confirm"], Some(5)),
            (&["smart-glocal.ready-to-confirm"], Some(1)),
            (&["confirm"], None),
            (&["quarantine", "nothing"], None),
            (&[""], None),
        ] {
            let wanted: Vec<String> = wanted.iter().map(|wanted| (*wanted).to_owned()).collect();
            assert_eq!(choose(&needed, &wanted).ok().map(|chosen| chosen.len()), expected, "{wanted:?}");
        }
    }

    #[test]
    fn filters_by_key_and_event_id_together() {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let record =
            ReadRecord { key: text("k"), headers: vec![("ce_id".to_owned(), text("e"))], ..ReadRecord::default() };
        let decoded = decoded::decode(record, None, &DESCRIPTORS);
        for (key, event_id, expected) in [
            (None, None, true),
            (Some("k"), None, true),
            (Some("K"), None, false),
            (None, Some("e"), true),
            (Some("k"), Some("other"), false),
        ] {
            let filter = Filter { key: key.map(str::to_owned), event_id: event_id.map(str::to_owned), count: None };
            assert_eq!(filter.takes(&decoded), expected, "{key:?} {event_id:?}");
        }
    }
}
