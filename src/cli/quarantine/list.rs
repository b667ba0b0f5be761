//! `paybridge quarantine list`: the newest held records, a line each, and how many there are by source and reason.
//! Must not know what would become of them. Memory is bounded by the number of lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use rdkafka::ClientConfig;
use serde_json::{Map, Value, json};

use super::filter_arguments::FilterArguments;
use super::{CHUNK, HeldFormat, MARKERS_WITHIN, OPEN_WITHIN};
use crate::cli::{ConfigFile, Environment, print, tell};
use crate::config::ClientSide;
use crate::kafka::client;
use crate::kafka::reader::ReadError;
use crate::release::filter::HeldFilter;
use crate::release::held::{HeldRecord, HeldTopic};
use crate::release::reading::{self, HeldReader, ReadMarkers};
use crate::short_line::printable;

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge quarantine list --from quarantine --from unrecognized --since 2h --config config/local.toml\n  \
                           paybridge quarantine list --source sg-main --reason wrong_shape --format json | jq .counts\n\n\
                           The counts are of all records that the filters let through, also of those that are not listed. It reads the\n\
                           topics from --since on: give a time where they are large. `released` says whether the event of a record was\n\
                           released, as far as the record tells; a release itself goes by the event's id.";

/// What the user wants.
#[derive(Args)]
pub struct ListOptions {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    filter: FilterArguments,
    /// Only records that are held for this reason, such as `wrong_shape`, `signature_mismatch` or `unknown_type`.
    #[arg(long, alias = "with-reason", value_name = "REASON")]
    reason: Option<String>,
    /// How many records to list; the newest ones are.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    limit: u32,
    /// The format of the list.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = HeldFormat::Text)]
    format: HeldFormat,
}

/// Lists them.
///
/// # Errors
/// The configuration cannot be used, the topics cannot be read, or the output cannot be written.
pub async fn run(options: ListOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let config = options.config.load(environment)?;
    let client = client::base(&config.kafka, ClientSide::Common)?;
    let prefix = config.kafka.topic_prefix.as_ref().to_owned();
    let filter = options.filter.filter(options.reason);
    let limit = usize::try_from(options.limit)?;
    let listed = tokio::task::spawn_blocking(move || Listed::read(&client, &prefix, filter, limit)).await??;
    if listed.markers.is_none() {
        tell(
            "what was released is not known: the topic of releases does not exist; create it with `paybridge topics --create`",
        );
    }
    print(&match options.format {
        HeldFormat::Text => listed.text(),
        HeldFormat::Json => format!("{:#}\n", listed.json()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A record's time and place: what records are sorted by.
pub(super) type ListKey = (Timestamp, HeldTopic, i32, i64);

pub(super) fn list_key(held: &HeldRecord) -> ListKey {
    (held.recorded_at, held.from, held.place.partition, held.place.offset)
}

/// What was found.
struct Listed {
    /// The newest records, without bodies.
    newest: BTreeMap<ListKey, HeldRecord>,
    /// How many there are of each topic, source and reason.
    counts: BTreeMap<(HeldTopic, String, String), u64>,
    markers: Option<ReadMarkers>,
}

impl Listed {
    fn read(client: &ClientConfig, prefix: &str, filter: HeldFilter, limit: usize) -> Result<Self, ReadError> {
        // First: a Kafka that is away is told after seconds, not minutes.
        let mut reader = HeldReader::scan(client, prefix, filter, OPEN_WITHIN)?;
        let markers = match reading::released(client, prefix, MARKERS_WITHIN) {
            Ok(markers) => Some(markers),
            Err(ReadError::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        let mut listed = Self { newest: BTreeMap::new(), counts: BTreeMap::new(), markers };
        let mut is_told = false;
        while let Some(chunk) = reader.next_chunk(CHUNK)? {
            if let Some(error) = chunk.interrupted
                && !std::mem::replace(&mut is_told, true)
            {
                tell(&format!("{error}; going on when it does"));
            }
            for held in chunk.records {
                listed.add(held, limit);
            }
        }
        Ok(listed)
    }

    fn add(&mut self, held: HeldRecord, limit: usize) {
        let kind = (held.from, held.source().to_owned(), held.reason.clone());
        *self.counts.entry(kind).or_default() += 1;
        self.newest.insert(list_key(&held), held.without_body());
        if self.newest.len() > limit {
            self.newest.pop_first();
        }
    }

    /// Whether the record's event was released; none where that is not known.
    fn is_released(&self, held: &HeldRecord) -> Option<bool> {
        self.markers.as_ref().map(|markers| markers.released.seems_to_have(held))
    }

    fn text(&self) -> String {
        let row = |held: &HeldRecord| {
            let released = match self.is_released(held) {
                Some(true) => "yes",
                Some(false) => "no",
                None => "?",
            };
            let id = held.event_id().map_or_else(|| "-".to_owned(), |id| id.to_string());
            let cells = [
                format!("{:.0}", held.recorded_at),
                place(held),
                held.source().to_owned(),
                held.reason.clone(),
                released.to_owned(),
                id,
                held.detail.clone(),
            ];
            cells.map(|cell| printable(&cell)).to_vec()
        };
        let mut text = String::new();
        if !self.newest.is_empty() {
            let head = ["TIME", "PLACE", "SOURCE", "REASON", "RELEASED", "EVENT ID", "DETAIL"];
            text += &table(&head, self.newest.values().rev().map(row).collect());
            text.push('\n');
        }
        let count = |((topic, source, reason), count): (&(HeldTopic, String, String), &u64)| {
            [count.to_string(), topic.to_string(), printable(source), printable(reason)].to_vec()
        };
        if !self.counts.is_empty() {
            text += &table(&["COUNT", "TOPIC", "SOURCE", "REASON"], self.counts.iter().map(count).collect());
        }
        // Writing to a string cannot fail.
        let _written =
            writeln!(text, "{} of {} records are listed", self.newest.len(), self.counts.values().sum::<u64>());
        text
    }

    fn json(&self) -> Value {
        let record = |held: &HeldRecord| {
            let mut object = object(held);
            object.insert("released".to_owned(), json!(self.is_released(held)));
            object
        };
        let count = |((topic, source, reason), count): (&(HeldTopic, String, String), &u64)| json!({"topic": topic.as_str(), "source": source, "reason": reason, "count": count});
        json!({
            "records": self.newest.values().rev().map(record).collect::<Vec<_>>(),
            "counts": self.counts.iter().map(count).collect::<Vec<_>>(),
        })
    }
}

/// Where a record is, as `show` takes it: `quarantine/0/41`.
pub(super) fn place(held: &HeldRecord) -> String {
    format!("{}/{}/{}", held.from, held.place.partition, held.place.offset)
}

/// What programs are told of a record, its body apart.
pub(super) fn object(held: &HeldRecord) -> Map<String, Value> {
    let metadata = &held.metadata;
    let text = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
    let fields = [
        ("topic", json!(held.place.topic)),
        ("partition", json!(held.place.partition)),
        ("offset", json!(held.place.offset)),
        ("timestamp", json!(held.recorded_at.to_string())),
        ("received_at", json!(held.received_at().to_string())),
        ("source", json!(held.source())),
        ("reason", json!(held.reason)),
        ("detail", text(&held.detail)),
        ("event_id", text(&metadata.event_id)),
        ("event_type", text(&metadata.event_type)),
        ("subject", text(&metadata.subject)),
        ("body_bytes", json!(held.body_bytes)),
        ("body_sha256", text(&hex(held.body_sha256()))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Bytes as lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

/// Lines of aligned columns, the last of them as long as it is.
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}
