//! The tables of the documentation say what the code says: topics with their messages, answers, alerts.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use http_body_util::BodyExt as _;
use paybridge::config::Config;
use paybridge::ingress::answer::{Answer, OUTCOMES};
use paybridge::kafka::topics::{self, Topic};
use paybridge::message::DESCRIPTORS;
use paybridge::provider::{Declared, EventId, PRESETS, PROVIDERS, Provider as _};

use super::page;
use crate::support::cache::CHECKOUT;

/// The chart's files of alerts, in the order of its runbook.
const ALERTS: [&str; 7] = ["replicas", "ingress", "dedup", "shared_dedup", "kafka", "spool", "confirmation"];

/// What stands between the lines `<!-- name -->` and `<!-- /name -->` of the page at `path` is `expected`.
/// `PAYBRIDGE_BLESS=1` writes it there.
#[track_caller]
pub fn check_generated(path: &str, name: &str, expected: &str) {
    let page = page(path);
    let (before, table, after) = between_markers(&page, name);
    if env::var_os("PAYBRIDGE_BLESS").is_some() {
        fs::write(Path::new(CHECKOUT).join(path), format!("{before}{expected}{after}")).unwrap();
    } else {
        assert_eq!(
            table, expected,
            "{path} is not what the code says: PAYBRIDGE_BLESS=1 with this test writes it anew"
        );
    }
}

/// A page up to the end of the first marker, between the two, and from the second on.
fn between_markers<'p>(page: &'p str, name: &str) -> (&'p str, &'p str, &'p str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let table = page.find(&begin).unwrap_or_else(|| panic!("there is no line {begin}")) + begin.len();
    let after = page.find(&end).unwrap_or_else(|| panic!("there is no line {end}"));
    (&page[..table], &page[table..after], &page[after..])
}

#[test]
fn the_table_of_topics_is_what_subscribers_generate() {
    // The topics of presets stand in a table of their own.
    let is_preset = |name: &str| PRESETS.iter().any(|preset| preset.name() == name);
    let of_provider = |name: &str| format!("[sources.{name}]\nprovider = '{name}'\n");
    let own = PROVIDERS.iter().map(|provider| provider.name()).filter(|name| !is_preset(name));
    let custom = "[sources.NAME]\nprovider = 'custom'\nsecret_files = ['x']\n[sources.NAME.signature]\n\
                  algorithm = 'hmac-sha256'\nfrom = 'header:x'\nsigned = '{body}'\n[sources.NAME.topics]\n'*' = 'part'\n";
    let sources: String = own.map(of_provider).chain([custom.replace("NAME", "name")]).collect();
    let config = Config::from_toml(&format!("{sources}[confirmation]\nenabled = true\ndry_run = true\n"), []).unwrap();
    let rows: String = topics::needed(&config).iter().map(topic_row).collect();
    let head = "| topic | proto file | Python module | Java class |\n| --- | --- | --- | --- |\n";
    check_generated("docs/subscribing.md", "topics", &format!("{head}{rows}"));
}

fn topic_row(topic: &Topic) -> String {
    let message = DESCRIPTORS.get_message_by_name(topic.message).unwrap();
    let file = message.parent_file();
    let options = file.file_descriptor_proto().options.clone().unwrap_or_default();
    // Only so is the class called like the message, in a package that is called like the message's.
    assert_eq!((options.java_multiple_files, options.java_package), (Some(true), None), "{}", file.name());
    let (path, name) = (file.name(), topic.message);
    let short = path.trim_start_matches("paybridge/");
    let module = path.trim_end_matches(".proto").replace('/', ".");
    format!("| `{}` | [{short}](../proto/{path}) | `{module}_pb2` | `{name}` |\n", topic.name)
}

/// The table of presets tells what each one's plan says.
#[test]
fn the_table_of_presets_is_what_is_in_force() {
    let rows: String = PRESETS.iter().map(preset_row).collect();
    let head = "| preset | sender | how a webhook proves its origin | the sender tries again | topics |\n| --- | --- | --- | --- | --- |\n";
    check_generated("docs/providers.md", "presets", &format!("{head}{rows}"));
}

fn preset_row(preset: &Declared) -> String {
    let told = |after: Duration| match after.as_secs() {
        0 => "never by itself".to_owned(),
        seconds if seconds < 7200 => format!("for {} min", seconds / 60),
        seconds if seconds < 172_800 => format!("for {} h", seconds / 3600),
        seconds => format!("for {} days", seconds / 86_400),
    };
    let retries = preset.retries().unwrap();
    let horizon = retries.horizon.map_or_else(|| "for a time that it does not tell".to_owned(), told);
    let parts: Vec<String> = preset.event_types().iter().map(|kind| format!("`{}`", kind.topic_part)).collect();
    format!(
        "| `{}` | [{}]({}) | {} | [{horizon}]({}) | {} |\n",
        preset.name(),
        preset.title(),
        preset.documentation(),
        preset.describe().unwrap().replace('|', "\\|"),
        retries.said_by,
        parts.join(", ")
    )
}

/// Each outcome has its row, with the status and body that are sent.
#[test]
fn the_table_of_answers_is_what_is_sent() {
    let id = EventId::from_bytes([0; 16]);
    let page = page("docs/answers.md");
    let (_, table, _) = between_markers(&page, "answers");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut rows = BTreeSet::new();
    for answer in Answer::each(id) {
        let response = answer.response();
        let body = runtime.block_on(answer.response().into_body().collect()).unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap().replace(&id.to_string(), "…");
        let after = response.headers().get("retry-after");
        let after = after.map_or_else(String::new, |after| format!(", `Retry-After: {}`", after.to_str().unwrap()));
        let row = format!("| `{}` | {} `{body}`{after} |", answer.outcome(), response.status().as_u16());
        assert!(table.contains(&row), "the table of docs/answers.md lacks: {row}");
        rows.insert(answer.outcome());
    }
    assert_eq!(rows, BTreeSet::from(OUTCOMES));
    assert_eq!(table.matches("\n| `").count(), OUTCOMES.len());
}

/// Each alert has its row, with its severity and a link to its section of the runbook.
#[test]
fn the_tables_on_call_have_the_alerts_of_the_chart() {
    let mut expected = Vec::new();
    for file in ALERTS {
        let text = page(format!("helm/paybridge/files/alerts/{file}.yaml"));
        for alert in text.split("\n- alert: ").skip(1) {
            let name = alert.lines().next().unwrap();
            let severity = alert.lines().find_map(|line| line.strip_prefix("  severity: ")).unwrap();
            let section = name.to_lowercase();
            expected.push(format!("| [{name}](../helm/paybridge/README.md#{section}) | {severity}"));
        }
    }
    let page = page("docs/operations.md");
    let rows = page.lines().filter(|line| line.starts_with("| [Paybridge"));
    let begins: Vec<String> = rows.map(|row| row.split(" | ").take(2).collect::<Vec<_>>().join(" | ")).collect();
    assert_eq!(begins, expected, "docs/operations.md has other alerts than the chart");
}
