//! `paybridge check`: configuration, key files, Kafka, its topics and permissions; every problem with what to do about it.

mod confirmation;
mod dedup;
mod engine;
mod local;
mod releases;
mod seldom_meant;
mod senders;
mod spool;

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use rdkafka::ClientConfig;
use serde::Serialize;

use super::{ConfigFile, Environment, print};
use crate::config::{ClientSide, Config};
use crate::finding::{Code, Finding, Severity, counted};
use crate::kafka::client_error::ClientError;
use crate::kafka::inspect::permissions::Principals;
use crate::kafka::{client, inspect, topics};
use crate::settings::ConfigErrors;

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge check --config /etc/paybridge/paybridge.toml\n  \
                           paybridge check --offline --format json | jq '.findings[].code'\n\n\
                           It leaves no record on any topic. The exit code is 1 if a finding is an error.";

/// How long Kafka may take to answer and to tell how its topics stand.
const KAFKA_WITHIN: Duration = Duration::from_secs(10);

/// What the user wants.
#[derive(Args)]
pub struct CheckOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// Check only the configuration and its files, not Kafka.
    #[arg(long)]
    offline: bool,
    /// The format of the findings.
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    format: FindingsFormat,
    /// Say how each permission was proven.
    #[arg(short, long)]
    verbose: bool,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FindingsFormat {
    /// For people: errors first.
    Text,
    /// `{"ok": …, "findings": [{"severity", "code", "subject", "message", "action"}]}`.
    Json,
}

/// What programs read.
#[derive(Serialize)]
struct FindingsReport<'a> {
    ok: bool,
    findings: &'a [Finding],
}

/// Looks at everything and tells what it found.
///
/// # Errors
/// The output cannot be written.
pub async fn run(options: &CheckOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let mut findings = match options.config.read(environment) {
        Ok(config) => of_config(&config, options.offline).await,
        Err(errors) => unreadable(&errors),
    };
    findings.sort_by_key(|finding| finding.severity);
    if options.verbose {
        findings.iter_mut().for_each(tell_detail);
    }
    let ok = findings.iter().all(|finding| finding.severity != Severity::Error);
    print(&match options.format {
        FindingsFormat::Text => text(&findings),
        FindingsFormat::Json => serde_json::to_string_pretty(&FindingsReport { ok, findings: &findings })? + "\n",
    })?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Puts how a finding is known behind its message.
fn tell_detail(finding: &mut Finding) {
    if let Some(detail) = finding.detail.take() {
        finding.message = format!("{}: {detail}", finding.message);
    }
}

fn unreadable(errors: &ConfigErrors) -> Vec<Finding> {
    let mut findings = local::of_problems(errors.problems());
    let rest = "key files, certificates and Kafka are not checked: the configuration cannot be used";
    findings.push(Finding::new(Code::NotChecked, "configuration", rest).with_action("correct it, and check again"));
    findings
}

async fn of_config(config: &Config, offline: bool) -> Vec<Finding> {
    let mut findings = local::of_config(config);
    findings.extend(confirmation::of_config(config, Timestamp::now()));
    findings.extend(spool::of_config(config));
    let principals = client::base(&config.kafka, ClientSide::Ingress)
        .and_then(|writes| Ok(Principals { writes, reads: client::base(&config.kafka, ClientSide::Common)? }));
    match principals {
        Err(errors) => findings.extend(local::of_property_files(errors.problems())),
        Ok(Principals { writes, reads }) if offline => {
            let refused = [writes, reads].iter().find_map(|client| ClientError::of_properties(client).err());
            findings.extend(refused.map(|error| error.finding()));
            let message = "Kafka, its topics and permissions are not checked: --offline";
            findings.push(Finding::new(Code::NotChecked, "kafka", message).with_action("check without --offline"));
        }
        Ok(principals) => {
            let (needed, equal) = (topics::needed(config), topics::equal_counts(config));
            match inspect::findings(principals, needed, &equal, KAFKA_WITHIN).await {
                Ok(of_kafka) => {
                    findings.extend(of_kafka);
                    findings.extend(of_parts(config).await);
                }
                Err(finding) => findings.push(finding),
            }
        }
    }
    findings
}

/// What the ingress, the engine and the readers of requests for releases would find at their start.
async fn of_parts(config: &Config) -> Vec<Finding> {
    let config = config.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let of_part =
            |side, of_kafka: fn(&Config, &ClientConfig) -> Vec<Finding>| match client::base(&config.kafka, side) {
                Ok(client) => of_kafka(&config, &client),
                Err(errors) => local::of_property_files(errors.problems()),
            };
        let mut findings = of_part(ClientSide::Ingress, dedup::of_kafka);
        findings.extend(of_part(ClientSide::Engine, engine::of_kafka));
        findings.extend(of_part(ClientSide::Common, |config, client| {
            releases::of_kafka(config, client).into_iter().collect()
        }));
        findings
    });
    looked.await.unwrap_or_default()
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { severity, code, subject, message, action, .. } in findings {
        let (severity, code) = (severity.as_str(), code.as_str());
        // Writing to a string cannot fail.
        let _written = writeln!(text, "{severity:7}  {code}  {subject}");
        for line in message.lines() {
            let _written = writeln!(text, "         {line}");
        }
        if *action != Code::WriteProven.action() {
            let _written = writeln!(text, "         -> {action}");
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let verdict = if errors == 0 { "ok" } else { "not ok" };
    text + &format!("{verdict}: {}, {}\n", counted(errors, "error"), counted(warnings, "warning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_do_about_each_finding_and_counts_them() {
        let findings = [
            Finding::new(Code::TopicMissing, "payments.a.v1", "does not exist"),
            Finding::new(Code::RuleUnusable, "confirmation.rules", "a\n  | b"),
            Finding::new(Code::ReadProven, "kafka", "read permission: ok (1 topic)"),
        ];
        assert_eq!(
            text(&findings),
            "error    topic-missing  payments.a.v1\n         does not exist\n         \
             -> create it with `paybridge topics --create`\n\
             error    rule-unusable  confirmation.rules\n         a\n           | b\n         -> correct the rule\n\
             info     read-proven  kafka\n         read permission: ok (1 topic)\n\
             not ok: 2 errors, 0 warnings\n"
        );
        assert_eq!(text(&findings[..1]).lines().last(), Some("not ok: 1 error, 0 warnings"));
        assert_eq!(text(&[]), "ok: 0 errors, 0 warnings\n");
    }

    #[test]
    fn tells_how_something_is_known_only_to_those_who_ask() {
        let mut finding = Finding::new(Code::WriteProven, "kafka", "write permission: ok").with_detail("proven so");
        assert!(!text(std::slice::from_ref(&finding)).contains("proven so"));
        tell_detail(&mut finding);
        assert!(text(&[finding]).contains("write permission: ok: proven so"));
    }

    #[test]
    fn a_configuration_that_cannot_be_used_is_told_with_what_was_left_out() {
        let errors = Config::from_toml("[ingres]", []).unwrap_err();
        let codes: Vec<Code> = unreadable(&errors).iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [Code::ConfigUnknownKey, Code::NotChecked]);
    }
}
