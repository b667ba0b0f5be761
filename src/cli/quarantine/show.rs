//! `paybridge quarantine show`: everything about some held records, their bodies only where they are asked for.
//! Must not know what would become of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use rdkafka::ClientConfig;
use serde_json::{Map, Value, json};

use super::filter_arguments::topics;
use super::list::{ListKey, hex, list_key, object, place};
use super::{CHUNK, HeldFormat, MARKERS_WITHIN, OPEN_WITHIN};
use crate::cli::{ConfigFile, Environment, WrongUsage, print, tell};
use crate::config::ClientSide;
use crate::kafka::client;
use crate::kafka::reader::ReadError;
use crate::message::instant;
use crate::message::release::v1::{RecordPlace, ReleaseMarker};
use crate::provider::EventId;
use crate::release::filter::HeldFilter;
use crate::release::held::{HeldRecord, HeldTopic};
use crate::release::reading::{self, HeldReader};
use crate::short_line::printable;

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge quarantine show quarantine/0/41 --config config/local.toml\n  \
                           paybridge quarantine show 6ee1e6b1a56b1f6b7bd9a7d30cce7e2b --bodies\n\n\
                           ID is a place as `list` prints it (TOPIC/PARTITION/OFFSET), an event id (32 hex digits), or the SHA-256 of a\n\
                           body (64 hex digits). With an id or a hash all three topics are looked through, and the newest 20 records are\n\
                           shown. Headers hold signatures; bodies are personal data, and are shown with --bodies alone. Exit code 1 when\n\
                           nothing is found.";

/// So many records of one id are shown at most: each has its body.
const SHOWN_MAX: usize = 20;

/// What the user wants.
#[derive(Args)]
pub struct ShowOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// Which records: a place, an event id, or the SHA-256 of a body.
    #[arg(value_name = "ID")]
    id: String,
    /// The topic to look through for an id or a hash; may be repeated. Default: all three.
    #[arg(long, value_name = "TOPIC", value_parser = topics())]
    from: Vec<HeldTopic>,
    /// Show the bodies too. They are personal data.
    #[arg(long)]
    bodies: bool,
    /// How to show them; `json` is one array.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = HeldFormat::Text)]
    format: HeldFormat,
}

/// Shows them.
///
/// # Errors
/// ID is none, the configuration cannot be used, the topics cannot be read, or the output cannot be written.
pub async fn run(options: ShowOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let config = options.config.load(environment)?;
    let prefix = config.kafka.topic_prefix.as_ref().to_owned();
    let wanted = WantedRecords::parse(&options.id, &prefix)?;
    let client = client::base(&config.kafka, ClientSide::Common)?;
    let from = if options.from.is_empty() { HeldTopic::ALL.to_vec() } else { options.from };
    let found = tokio::task::spawn_blocking(move || look_up(&client, &prefix, &wanted, from)).await??;
    if found.is_empty() {
        tell(&format!("no record is found of {}", options.id));
        return Ok(ExitCode::FAILURE);
    }
    let shown = found.iter().map(|(held, markers)| Shown { held, markers, bodies: options.bodies });
    print(&match options.format {
        HeldFormat::Text => shown.map(|shown| shown.text()).collect::<Vec<_>>().join("\n"),
        HeldFormat::Json => format!("{:#}\n", shown.map(|shown| Value::Object(shown.json())).collect::<Value>()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Which records are to be shown.
enum WantedRecords {
    Place(HeldTopic, RecordPlace),
    Event(String),
    Body(String),
}

impl WantedRecords {
    fn parse(id: &str, prefix: &str) -> Result<Self, WrongUsage> {
        let is_hash = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if EventId::parse(id).is_some() {
            return Ok(Self::Event(id.to_owned()));
        }
        if is_hash {
            return Ok(Self::Body(id.to_owned()));
        }
        let place = || {
            let (rest, offset) = id.rsplit_once('/')?;
            let (name, partition) = rest.rsplit_once('/')?;
            let topic = HeldTopic::parse(name).or_else(|| HeldTopic::of_name(name, prefix))?;
            let place = RecordPlace {
                topic: topic.name(prefix),
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            };
            (place.partition >= 0 && place.offset >= 0).then_some(Self::Place(topic, place))
        };
        place().ok_or_else(|| {
            WrongUsage(format!(
                "ID must be a place such as quarantine/0/41, an event id (32 hex digits), or the SHA-256 of a body (64 hex digits): `{id}`"
            ))
        })
    }

    fn is(&self, held: &HeldRecord) -> bool {
        match self {
            Self::Place(..) => true,
            Self::Event(id) => held.metadata.event_id == *id,
            Self::Body(hash) => hex(held.body_sha256()) == *hash,
        }
    }
}

/// The newest of the wanted records, each with the markers of its releases. Blocks.
fn look_up(
    client: &ClientConfig,
    prefix: &str,
    wanted: &WantedRecords,
    from: Vec<HeldTopic>,
) -> Result<Vec<(HeldRecord, Vec<ReleaseMarker>)>, ReadError> {
    let mut reader = match wanted {
        WantedRecords::Place(topic, place) => HeldReader::places(client, [(*topic, place.clone())])?,
        WantedRecords::Event(_) | WantedRecords::Body(_) => {
            let filter = HeldFilter { from, ..HeldFilter::default() };
            HeldReader::scan(client, prefix, filter, OPEN_WITHIN)?
        }
    };
    let mut newest: BTreeMap<ListKey, HeldRecord> = BTreeMap::new();
    while let Some(chunk) = reader.next_chunk(CHUNK)? {
        for held in chunk.records.into_iter().filter(|held| wanted.is(held)) {
            newest.insert(list_key(&held), held);
            if newest.len() > SHOWN_MAX {
                newest.pop_first();
            }
        }
    }
    let mut found: Vec<(HeldRecord, Vec<ReleaseMarker>)> =
        newest.into_values().map(|held| (held, Vec::new())).collect();
    if found.is_empty() {
        return Ok(found);
    }
    let read = reading::each_marker(client, prefix, MARKERS_WITHIN, &mut |marker| {
        let of_it = found.iter_mut().filter(|(held, _)| is_of(&marker, held));
        of_it.for_each(|(_, markers)| markers.push(marker.clone()));
    });
    match read {
        Ok(_) => {}
        Err(ReadError::Missing(_)) => tell("what was released is not known: the topic of releases does not exist"),
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// Whether a marker is of this record: of its event, or of another record of the same bytes.
fn is_of(marker: &ReleaseMarker, held: &HeldRecord) -> bool {
    (!held.metadata.event_id.is_empty() && marker.event_id == held.metadata.event_id)
        || (marker.source == held.source() && *marker.body_sha256 == *held.body_sha256())
}

/// A record as it is shown.
struct Shown<'r> {
    held: &'r HeldRecord,
    markers: &'r [ReleaseMarker],
    bodies: bool,
}

impl Shown<'_> {
    fn text(&self) -> String {
        let object = self.json();
        let mut text = format!("{}\n", place(self.held));
        for (name, value) in &object {
            let line = match value {
                Value::Null => continue,
                Value::String(value) => printable(value),
                Value::Array(values) if values.is_empty() => continue,
                other => other.to_string(),
            };
            // Writing to a string cannot fail.
            let _written = writeln!(text, "  {name:<16} {line}");
        }
        text
    }

    fn json(&self) -> Map<String, Value> {
        let metadata = &self.held.metadata;
        let evidence = metadata.evidence.clone().unwrap_or_default();
        let mut object = object(self.held);
        let more = [
            ("occurred_at", json!(metadata.occurred_at.as_ref().and_then(instant).map(|at| at.to_string()))),
            ("bridge_version", json!(metadata.bridge_version)),
            ("bridge_instance", json!(metadata.bridge_instance)),
            ("remote_address", json!(evidence.remote_address)),
            ("path_suffix", json!(evidence.path_suffix)),
            ("query", json!(evidence.query)),
            ("headers", json!(evidence.headers)),
            ("released", self.markers.iter().map(released).collect()),
        ];
        object.extend(more.map(|(name, value)| (name.to_owned(), value)));
        if self.bodies {
            let bodies = [("body", evidence.raw_body), ("plaintext", evidence.plaintext)];
            let shown = |body: Option<Bytes>| json!(body.map(|body| readable(&body)));
            object.extend(bodies.map(|(name, body)| (name.to_owned(), shown(body))));
        }
        object
    }
}

fn released(marker: &ReleaseMarker) -> Value {
    json!({
        "event_id": marker.event_id,
        "topic": marker.topic,
        "released_by": marker.released_by,
        "reason": marker.reason,
        "released_at": marker.released_at.as_ref().and_then(instant).map(|at| at.to_string()),
    })
}

/// Bytes as text, else in base64.
fn readable(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_place_an_event_id_or_a_hash() {
        let place = |topic, partition, offset| {
            let name = format!("payments.{topic}.v1");
            Some(format!("{name} {partition} {offset}"))
        };
        for (id, expected) in [
            ("quarantine/0/41", place("quarantine", 0, 41)),
            ("payments.rejected.v1/11/7", place("rejected", 11, 7)),
            (&"a5".repeat(16), Some("event".to_owned())),
            (&"a5".repeat(32), Some("body".to_owned())),
            ("quarantine/0", None),
            ("quarantine/-1/4", None),
            ("elsewhere/0/41", None),
            (&"A5".repeat(16), None),
            ("", None),
        ] {
            let told = WantedRecords::parse(id, "payments").ok().map(|wanted| match wanted {
                WantedRecords::Place(_, place) => format!("{} {} {}", place.topic, place.partition, place.offset),
                WantedRecords::Event(_) => "event".to_owned(),
                WantedRecords::Body(_) => "body".to_owned(),
            });
            assert_eq!(told, expected, "{id}");
        }
    }
}
