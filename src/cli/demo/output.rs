//! What the demonstration prints: in colour where the output is a terminal, plain where it is not.
//! Must not decide anything.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};

use super::DemoResult;
use super::cluster::DemoCluster;
use super::providers::Example;
use super::session_counts::SessionCount;
use super::setup::Setup;
use super::webhook_counts::WebhookCounts;
use crate::config::Confirmation;
use crate::kafka::decoded::Decoded;
use crate::provider::SignedWebhook;

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default().bold();
const TOPIC: Style = AnsiColor::Cyan.on_default();

/// A line of a record is cut after so many characters: the rest is for `paybridge tail`.
const MESSAGE_CHARACTERS_MAX: usize = 250;

/// The fields of an outcome that are shown.
const OF_OUTCOME: [&str; 6] = ["action", "decided_by_kind", "decided_by_name", "reason", "refusal_code", "result"];

/// Says loudly what kind of Kafka this is.
pub fn cluster(cluster: &DemoCluster) {
    match cluster {
        DemoCluster::Mock { bootstrap_servers, .. } => {
            line(format_args!(
                "{NOTE}In-memory Kafka{NOTE:#} on {bootstrap_servers}: {STRONG}nothing survives, and transactions are not real.{STRONG:#}"
            ));
            line(format_args!(
                "{FAINT}So each session's one decision is shown here, and what carries it over crashes is not.{FAINT:#}"
            ));
            line(format_args!("{FAINT}With --kafka HOST:PORT it uses yours.{FAINT:#}"));
        }
        DemoCluster::Real { bootstrap_servers } => {
            line(format_args!("{NOTE}Kafka{NOTE:#} on {bootstrap_servers}"));
        }
    }
}

/// Tells how to take part.
pub fn invitation(setup: &Setup, examples: &[Example]) {
    line(format_args!("{STRONG}The bridge takes webhooks on http://{}{STRONG:#}", setup.config.ingress.listen));
    line(format_args!("Send one yourself, correctly signed; send it again, and it is a duplicate:"));
    for example in examples {
        line(format_args!("\n{FAINT}# {}{FAINT:#}\n{}", example.provider, curl(&example.url, &example.webhook)));
    }
    line(format_args!(
        "\nMetrics: curl -s http://{}/metrics\nOther commands: paybridge tail --config {}\n",
        setup.config.admin.listen,
        setup.config_file.display()
    ));
    rules(&setup.config.confirmation);
}

/// Tells how sessions are decided.
fn rules(confirmation: &Confirmation) {
    let seconds = confirmation.window().saturating_sub(confirmation.deadline_margin()).as_secs();
    line(format_args!("{STRONG}Sessions that wait for confirmation are decided{STRONG:#}"));
    for rule in &confirmation.rules {
        line(format_args!("  by the rule \"{}\": {FAINT}{}{FAINT:#}", rule.name, rule.when));
    }
    line(format_args!(
        "  by another decision_writer, whose decisions are on their topic; yours too: paybridge decide --help"
    ));
    line(format_args!("  by the deadline, which is {seconds} s after a session came, in place of hours\n"));
}

/// Tells what is waited for.
pub fn waiting() {
    line(format_args!("\n{NOTE}No more is sent:{NOTE:#} the last sessions come to their deadline."));
}

/// A record as it reached its topic.
pub fn record(record: &Decoded) {
    let key = record.key.as_deref().unwrap_or_default();
    let message = record.message.as_ref().map_or_else(String::new, |message| cut(&in_short(message.get())));
    line(format_args!(
        "{TOPIC}{}{TOPIC:#} {FAINT}{}@{}{FAINT:#} {STRONG}{key}{STRONG:#} {message}",
        record.topic, record.partition, record.offset,
    ));
}

/// The tables at the end, and the result.
pub fn tables(counts: &WebhookCounts, session_counts: &[(String, SessionCount)], result: DemoResult) {
    let rows = counts.rows();
    let names = rows.iter().map(|(name, _)| name).chain(session_counts.iter().map(|(name, _)| name));
    let width = names.map(String::len).max().unwrap_or_default();
    line(format_args!("\n{STRONG}{:width$} {:>6} {:>13} {:>6}{STRONG:#}", "topic", "sent", "acknowledged", "seen"));
    for (name, row) in &rows {
        let seen = row.seen.map_or_else(|| "-".to_owned(), |seen| seen.to_string());
        let style = if row.is_complete() { GOOD } else { BAD };
        line(format_args!("{style}{name:width$} {:>6} {:>13} {seen:>6}{style:#}", row.sent, row.acknowledged));
    }
    line(format_args!("\n{STRONG}{:width$} {:>6} {:>20}{STRONG:#}", "sessions", "told", "so at the provider"));
    for (name, row) in session_counts {
        let style = if row.agrees() { GOOD } else { BAD };
        line(format_args!("{style}{name:width$} {:>6} {:>20}{style:#}", row.told, row.applied));
    }
    line(format_args!("{STRONG}{}{STRONG:#}", result.as_str()));
}

fn line(text: std::fmt::Arguments<'_>) {
    // anstream takes the colours out where the output is no terminal; a closed output is no reason to stop
    let _written = writeln!(anstream::stdout(), "{text}");
}

/// The message without what the bridge adds, without times, and without the provider's words for what has a name; of an
/// outcome, what is new to who has seen the session.
fn in_short(message: &str) -> String {
    let fields: Map<String, Value> = serde_json::from_str(message).unwrap_or_default();
    let is_outcome = fields.contains_key("decided_by_kind");
    let is_shown = |name: &str| if is_outcome { OF_OUTCOME.contains(&name) } else { name != "metadata" };
    let own: Map<String, Value> = fields.into_iter().filter(|(name, _)| is_shown(name)).collect();
    shortened(Value::Object(own)).to_string()
}

fn shortened(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !name.ends_with("_at") && !name.ends_with("_text"));
            Value::Object(kept.map(|(name, value)| (name, shortened(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(shortened).collect()),
        other => other,
    }
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
