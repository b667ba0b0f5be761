//! `paybridge tail`: prints decoded events as they arrive, one JSON object a line, until it is stopped or has seen enough.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::{ConfigFile, Environment, WRONG_USAGE, stop_on_signal, tell};
use crate::config::ClientSide;
use crate::kafka::client;
use crate::kafka::client_error::ClientError;
use crate::kafka::decoded::{self, Decoded};
use crate::kafka::reader::{ReadStep, Start, TopicReader};
use crate::kafka::topics::{Topic, needed};
use crate::message::DESCRIPTORS;

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge tail --config config/local.toml\n  \
                           paybridge tail smart-glocal.ready-to-confirm quarantine --from-beginning --count 10\n  \
                           paybridge tail --key 7f3a | jq .message.metadata\n\n\
                           It joins no consumer group and commits nothing. Only committed records are shown.";

/// How long Kafka may take until reading begins.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How often a quiet topic is left to look for a signal.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a stopped reader may take to close its connections.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What the user wants.
#[derive(Args)]
pub struct TailOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// Topics: full names or whole parts of names, such as `quarantine` or `smart-glocal.ready-to-confirm`. Default: all topics of the configuration.
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Begin with the oldest records, not with those that arrive from now on.
    #[arg(long)]
    from_beginning: bool,
    /// Only records with this key.
    #[arg(long, value_name = "K")]
    key: Option<String>,
    /// Only events with this id.
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// Stop after this many records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
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
    let messages = match choose(&needed(&config), &options.topics) {
        Ok(messages) => messages,
        Err(wrong) => {
            tell(&wrong);
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    };
    let client = client::base(&config.kafka, ClientSide::Common)?;
    let start = if options.from_beginning { Start::Beginning } else { Start::End };
    let filter = Filter { key: options.key, event_id: options.event_id, count: options.count };
    let stop = stop_on_signal()?;
    let stopping = stop.clone();
    let mut reading = tokio::task::spawn_blocking(move || follow(&client, &messages, start, &filter, &stopping));
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

/// The needed topics that the arguments name; all when there are none.
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
        chosen.extend(needed.iter().map(|topic| (topic.name.clone(), topic.message)));
    }
    if chosen.is_empty() { Err("this configuration needs no topics".to_owned()) } else { Ok(chosen) }
}

/// Whether `wanted` is whole parts of a topic's name, side by side.
fn names(wanted: &str, topic: &str) -> bool {
    !wanted.is_empty() && format!(".{topic}.").contains(&format!(".{wanted}."))
}

/// Reads, decodes and prints. Blocks.
fn follow(
    client: &ClientConfig,
    messages: &Messages,
    start: Start,
    filter: &Filter,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let topics: Vec<String> = messages.keys().cloned().collect();
    let reader = TopicReader::open(client, &topics, start, OPEN_WITHIN)?;
    let from = if start == Start::Beginning { "the beginning" } else { "now" };
    tell(&format!("reading {} topics from {from} on", topics.len()));
    let mut printed: u64 = 0;
    let mut outage = Outage::default();
    while !stop.is_cancelled() {
        let record = match reader.next(LOOK_EVERY)? {
            ReadStep::Record(record) => record,
            ReadStep::Idle => continue,
            ReadStep::Interrupted(error) => {
                outage.begins(&error);
                continue;
            }
        };
        outage.ends();
        let message = messages.get(&record.topic).copied();
        let decoded = decoded::decode(*record, message, &DESCRIPTORS);
        if !filter.takes(&decoded) {
            continue;
        }
        if !print_line(&decoded)? {
            break;
        }
        printed = printed.saturating_add(1);
        if filter.count.is_some_and(|count| printed >= count) {
            break;
        }
    }
    Ok(())
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

/// Whether somebody still reads.
fn print_line(record: &Decoded) -> anyhow::Result<bool> {
    let mut line = serde_json::to_vec(record).context("a record cannot be written as JSON")?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    match out.write_all(&line).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("the output cannot be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::kafka::decoded::ReadRecord;

    #[test]
    fn whole_parts_of_a_name_choose_topics() {
        let config = Config::from_toml("[sources.sg]\nprovider = 'smart-glocal'", []).unwrap();
        let needed = needed(&config);
        for (wanted, expected) in [
            (&[][..], Some(8)),
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
