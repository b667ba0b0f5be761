//! What the demonstration prints: in colour where the output is a terminal, plain where it is not.
//! Must not decide anything.

use std::collections::BTreeMap;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::cluster::Cluster;
use super::providers::Example;
use super::stage::Stage;
use super::tally::Tally;
use crate::kafka::decoded::Decoded;
use crate::provider::SignedWebhook;

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default().bold();
const TOPIC: Style = AnsiColor::Cyan.on_default();

/// A line of a record is cut after so many characters: the rest is for `paybridge tail`.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// Says loudly what kind of Kafka this is.
pub fn cluster(cluster: &Cluster) {
    match cluster {
        Cluster::Mock { bootstrap_servers, .. } => {
            line(format_args!(
                "{NOTE}In-memory Kafka{NOTE:#} on {bootstrap_servers}: {STRONG}nothing survives, and transactions are not real.{STRONG:#}"
            ));
            line(format_args!("{FAINT}With --kafka HOST:PORT it uses yours.{FAINT:#}"));
        }
        Cluster::Real { bootstrap_servers } => {
            line(format_args!("{NOTE}Kafka{NOTE:#} on {bootstrap_servers}"));
        }
    }
}

/// Tells how to take part.
pub fn invitation(stage: &Stage, examples: &[Example]) {
    line(format_args!("{STRONG}The bridge takes webhooks on http://{}{STRONG:#}", stage.config.ingress.listen));
    line(format_args!("Send one yourself, correctly signed; send it again, and it is a duplicate:"));
    for example in examples {
        line(format_args!("\n{FAINT}# {}{FAINT:#}\n{}", example.provider, curl(&example.url, &example.webhook)));
    }
    line(format_args!(
        "\nMetrics: curl -s http://{}/metrics\nOther commands: paybridge tail --config {}\n",
        stage.config.admin.listen,
        stage.config_file.display()
    ));
}

/// A record as it reached its topic.
pub fn record(record: &Decoded) {
    let key = record.key.as_deref().unwrap_or_default();
    let message = record.message.as_ref().map_or_else(String::new, |message| cut(&without_metadata(message.get())));
    line(format_args!(
        "{TOPIC}{}{TOPIC:#} {FAINT}{}@{}{FAINT:#} {STRONG}{key}{STRONG:#} {message}",
        record.topic, record.partition, record.offset,
    ));
}

/// The table at the end.
pub fn table(tally: &Tally) {
    let rows = tally.rows();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    line(format_args!("\n{STRONG}{:width$} {:>6} {:>13} {:>6}{STRONG:#}", "topic", "sent", "acknowledged", "seen"));
    for (name, row) in &rows {
        let seen = row.seen.map_or_else(|| "-".to_owned(), |seen| seen.to_string());
        let style = if row.is_complete() { GOOD } else { BAD };
        line(format_args!("{style}{name:width$} {:>6} {:>13} {seen:>6}{style:#}", row.sent, row.acknowledged));
    }
    let verdict =
        if tally.is_complete() { "All that was sent was acknowledged and seen." } else { "Something is missing." };
    line(format_args!("{STRONG}{verdict}{STRONG:#}"));
}

fn line(text: std::fmt::Arguments<'_>) {
    // anstream takes the colours out where the output is no terminal; a closed output is no reason to stop
    let _written = writeln!(anstream::stdout(), "{text}");
}

/// The message without what the bridge adds.
fn without_metadata(message: &str) -> String {
    let fields: BTreeMap<String, Value> = serde_json::from_str(message).unwrap_or_default();
    let own: serde_json::Map<String, Value> = fields.into_iter().filter(|(name, _)| name != "metadata").collect();
    Value::Object(own).to_string()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A command line that sends this webhook, for a POSIX shell.
fn curl(url: &str, webhook: &SignedWebhook) -> String {
    let mut command = "curl".to_owned();
    for (name, value) in &webhook.headers {
        command = format!("{command} -H {}", quoted(&format!("{name}: {value}")));
    }
    format!("{command} --data-raw {} {}", quoted(&String::from_utf8_lossy(&webhook.body)), quoted(url))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
