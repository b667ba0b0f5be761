//! `paybridge verify`: authenticates one webhook from files, and says step by step what was found and compared.
//! Must not send anything, nor show a secret or a right signature.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::{ConfigFile, Environment, WrongUsage, print};
use crate::config::SourceConfig;
use crate::config::files::{self, FileReader};
use crate::kafka::topics;
use crate::provider::{self, AuthenticWebhook, Content, Normalized, RawWebhook, Source, Understood};

/// Shown below `--help`.
pub const EXAMPLE: &str = "Example:\n  paybridge verify shop --headers headers.txt --body body.json --at 2026-02-03T04:05:06Z\n\n\
                           The file of headers has one `name: value` a line, as `curl --verbose` and most senders' pages show them.\n\
                           The exit code is 1 if the webhook is not authentic.";

/// The largest file that is read, in bytes: no body is larger.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Which webhook, and by which source.
#[derive(Args)]
pub struct VerifyOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// The name of the source in the configuration.
    source: String,
    /// A file with the webhook's headers, one `name: value` a line.
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// A file with the webhook's body, byte by byte as it came.
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// When it came, such as `2026-02-03T04:05:06Z`: the signed time is held against it. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// What followed the source's path, for senders that put something there.
    #[arg(long, value_name = "PATH", default_value = "")]
    path_suffix: String,
    /// The query of the request, without its question mark.
    #[arg(long, value_name = "QUERY", default_value = "")]
    query: String,
}

/// Says what authentication finds, and what the webhook would become.
///
/// # Errors
/// There is no such source, its keys cannot be used, or a file cannot be read.
pub fn run(options: &VerifyOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let config = options.config.load(environment)?;
    let name = options.source.as_str();
    let settings = config.sources.get(name).ok_or_else(|| WrongUsage::unknown_source(&config, name))?;
    let provider = provider::find(&settings.provider).context("the source's provider is unknown")?;
    let source =
        provider.configure(&settings.section, &FileReader::new()).with_context(|| format!("sources.{name}"))?;
    let webhook = options.webhook()?;
    let mut text = String::new();
    for line in source.explain(&webhook) {
        // Writing to a string cannot fail.
        let _written = writeln!(text, "{line}");
    }
    let likely_cause = source.likely_cause(&webhook);
    let code = match AuthenticWebhook::receive(&*source, webhook) {
        Ok(webhook) => {
            let key = webhook.key_id();
            let label = key.label(name);
            let _written = writeln!(text, "authentic, by key {} ({label} in metrics, logs and `check`)", key.as_str());
            text += &became(&*source, name, settings, config.kafka.topic_prefix.as_ref(), &webhook);
            ExitCode::SUCCESS
        }
        Err(rejected) => {
            let cause = likely_cause.map(|cause| format!("; likely: {cause}")).unwrap_or_default();
            let _written = writeln!(text, "not authentic: {}{cause}", rejected.reason);
            ExitCode::FAILURE
        }
    };
    print(&text)?;
    Ok(code)
}

impl VerifyOptions {
    fn webhook(&self) -> anyhow::Result<RawWebhook> {
        let read = |path: &PathBuf| {
            let bytes = files::read_up_to(path, FILE_BYTES_MAX);
            bytes.with_context(|| format!("{} cannot be read", path.display())).map(|bytes| bytes.to_vec())
        };
        let headers = String::from_utf8(read(&self.headers)?).context("the file of headers is not text")?;
        Ok(RawWebhook {
            path_suffix: self.path_suffix.clone(),
            query: self.query.clone(),
            headers: header_map(&headers)?,
            body: read(&self.body)?.into(),
            remote_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            received_at: self.at.unwrap_or_else(Timestamp::now),
        })
    }
}

/// Headers of `name: value` lines; what `curl --verbose` puts before them, and lines that are none (a request line), are passed over.
fn header_map(text: &str) -> Result<HeaderMap, WrongUsage> {
    let mut headers = HeaderMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start_matches("> ").trim();
        // A request line, and what curl says of the connection.
        if line.starts_with('*') || line.ends_with("HTTP/1.1") || line.ends_with("HTTP/2") {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let parsed = (HeaderName::try_from(name.trim()), HeaderValue::from_str(value.trim()));
        let (Ok(name), Ok(value)) = parsed else {
            let problem = format!("line {} of the file of headers is no header: write it as `name: value`", number + 1);
            return Err(WrongUsage(problem));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// What an authentic webhook would become.
fn became(
    source: &dyn Source,
    name: &str,
    settings: &SourceConfig,
    prefix: &str,
    webhook: &AuthenticWebhook,
) -> String {
    let events = match source.normalize(name, webhook) {
        Understood::Event(event) => vec![event],
        Understood::Batch(events) => events,
        Understood::Handshake(body) => {
            return format!("a handshake: it is answered {}, and becomes no event\n", String::from_utf8_lossy(&body));
        }
    };
    let mut text = String::new();
    for event in &events {
        let _written = writeln!(text, "{}", told(event, settings, prefix, webhook));
    }
    text
}

fn told(event: &Normalized, settings: &SourceConfig, prefix: &str, webhook: &AuthenticWebhook) -> String {
    let id = event.identity.id_alone(webhook.raw().received_at);
    let kind = if event.event_type.is_empty() { "no type" } else { &event.event_type };
    let key = event.key.as_deref().map_or_else(|| "the event's id as key".to_owned(), |key| format!("key {key}"));
    let place = match &event.content {
        Content::Event(encoded) => topics::event_topic(prefix, &settings.outline.topic_group, encoded.event_type),
        Content::Unrecognized => topics::unrecognized_topic(prefix),
        Content::Undecodable(why) => format!("{}: {}", topics::quarantine_topic(prefix), why.detail),
    };
    let at = event.occurred_at.map_or_else(|| "no time of its own".to_owned(), |at| format!("occurred at {at}"));
    format!("event {id}, {kind}, {key}, {at} → {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headers_as_people_copy_them() {
        let headers =
            header_map("* [HTTP/2] [1] [:method: POST]\nPOST http://h/shop HTTP/1.1\r\n> Stripe-Signature: t=1,v1=ab\r\nX-Id:7\n\n").unwrap();
        assert_eq!(headers.get("stripe-signature").unwrap(), "t=1,v1=ab");
        assert_eq!((headers.get("x-id").unwrap().to_str().unwrap(), headers.len()), ("7", 2));
        let problem = header_map("x-id: 7\na b: c").unwrap_err().to_string();
        assert!(problem.starts_with("line 2 of the file of headers is no header"), "{problem}");
    }
}
