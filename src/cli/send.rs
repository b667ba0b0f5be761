//! `paybridge send`: correctly signed sample webhooks to a running bridge, for trying and for staging.
//! Must not know how a webhook is signed or sent.

mod read_back;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use http::{StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};

use super::sender::{Answered, Poster};
use super::{WrongUsage, tell};
use crate::config::files::FileReader;
use crate::config::{Config, SourceConfig, SourceName};
use crate::kafka::topics;
use crate::provider::{self, AuthenticWebhook, EventType, PROVIDERS, SignedWebhook, Source};
use crate::settings::suggestion;
use read_back::ReadBack;

/// Shown below `--help`: an example, and the events of each provider.
pub fn examples_and_events() -> String {
    let mut text =
        "Example:\n  paybridge send sg-main ready-to-confirm --signing-key own.pem --config config/local.toml\n\n\
                    Events, by the source's provider:\n"
            .to_owned();
    for provider in PROVIDERS.iter() {
        let parts: Vec<&str> = provider.event_types().iter().map(|event_type| event_type.topic_part).collect();
        // Writing to a string cannot fail.
        let _written = writeln!(text, "  {}:\n    {}", provider.name(), parts.join("\n    "));
    }
    text
}

/// What to send, and where.
#[derive(Args)]
pub struct SendArguments {
    /// The name of the source in the configuration.
    source: String,
    /// The event type, as in the name of its topic, such as `ready-to-confirm`. The list is below.
    event: String,
    /// The private key that signs the webhook, if the configuration has only the public key.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// How many webhooks to send. Each is a different event.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// How many webhooks to send per second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rate: u64,
    /// The URL of the daemon, without a path, such as `http://127.0.0.1:8080`. Default: the configured address.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Afterwards read the events from their topic, as a subscriber does, and wait at most this long for all of them, such as `30s`.
    #[arg(long, value_name = "TIME")]
    read_back: Option<SignedDuration>,
}

/// Sends the webhooks and prints each answer; good when every answer is 200 and, where that is asked for, every event was
/// read back.
///
/// # Errors
/// There is no such source or event, its keys cannot sign, nobody answers, or the topic cannot be read.
pub async fn send(config: &Config, arguments: &SendArguments) -> anyhow::Result<ExitCode> {
    let (name, settings) = source(config, &arguments.source)?;
    let provider = provider::find(&settings.provider).context("the source's provider is unknown")?;
    let event_type = event_type(settings, &arguments.event)?;
    let sender = provider
        .sender(&settings.section, &FileReader::new(), arguments.signing_key.as_deref())
        .with_context(|| format!("sources.{name}"))?;
    let base = match &arguments.url {
        Some(url) => base_url(url)?,
        None => own_url(config),
    };
    let poster = Poster::new(format!("{}{}", base.trim_end_matches('/'), settings.path(name)))?;
    let topic = topics::event_topic(config.kafka.topic_prefix.as_ref(), &settings.outline.topic_group, event_type);
    let read_back = match arguments.read_back {
        Some(within) => Some(ReadBack::open(config, &topic, within).await?),
        None => None,
    };

    let own_words = settings.outline.success_answer.as_deref();
    let good = own_words.map_or(StatusCode::OK, |answer| answer.status);
    let giver = match (own_words, &read_back) {
        (Some(_), Some(_)) => Some(provider.configure(&settings.section, &FileReader::new())?),
        _ => None,
    };
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(arguments.rate)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Microseconds since 1970: samples of another run are other events. Whole milliseconds: the first sample is always of
    // the same kind, where a provider's samples differ by turns.
    let first = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default().saturating_mul(1000);
    let (mut code, mut event_ids) = (ExitCode::SUCCESS, BTreeSet::new());
    for number in first..first.saturating_add(arguments.count) {
        ticks.tick().await;
        let webhook = sender.sample(event_type, Timestamp::now(), number);
        let answered = poster.post(&webhook).await?;
        writeln!(std::io::stdout(), "{} {}", answered.status.as_u16(), answered.body)?;
        if answered.status != good {
            code = ExitCode::FAILURE;
        }
        if read_back.is_none() {
            continue;
        }
        let event_id = match &giver {
            Some(source) if answered.status == good => given_id(name.as_ref(), &**source, &webhook),
            Some(_) => None,
            None => event_id(&answered),
        };
        if let Some(event_id) = event_id {
            event_ids.insert(event_id);
        } else {
            code = ExitCode::FAILURE;
        }
    }
    let Some(read_back) = read_back else { return Ok(code) };
    let found = read_back.look_for(event_ids).await?;
    tell(&found.to_string());
    Ok(if found.is_complete() { code } else { ExitCode::FAILURE })
}

/// The id that a webhook alone gives, for senders that are answered in their own words, which tell none.
fn given_id(name: &str, source: &dyn Source, webhook: &SignedWebhook) -> Option<String> {
    let authentic = AuthenticWebhook::receive(source, webhook.as_received(Timestamp::now())).ok()?;
    let event = source.normalize(name, &authentic).event()?;
    Some(event.identity.of_webhook().to_string())
}

/// The id of an event that was taken; other answers are no good anyhow.
fn event_id(answered: &Answered) -> Option<String> {
    #[derive(Deserialize)]
    struct Receipt {
        event_id: String,
    }
    (answered.status == StatusCode::OK)
        .then(|| serde_json::from_str::<Receipt>(&answered.body).ok())?
        .map(|it| it.event_id)
}

fn source<'c>(config: &'c Config, name: &str) -> Result<(&'c SourceName, &'c SourceConfig), WrongUsage> {
    config.sources.get_key_value(name).ok_or_else(|| WrongUsage::unknown_source(config, name))
}

fn event_type(settings: &SourceConfig, part: &str) -> Result<&'static EventType, WrongUsage> {
    let all = &settings.outline.event_types;
    all.iter().copied().find(|event_type| event_type.topic_part == part).ok_or_else(|| {
        let parts: Vec<&str> = all.iter().map(|event_type| event_type.topic_part).collect();
        WrongUsage(format!("{} has no event `{part}`: {}", settings.provider, suggestion(part, &parts)))
    })
}

/// A URL with all that it needs. What is wrong with it is told without the URL: what stands before the host may be a secret.
fn base_url(text: &str) -> Result<String, WrongUsage> {
    let wrong = |problem: &str| Err(WrongUsage(format!("--url {problem}: write it as http://127.0.0.1:8080")));
    let Some((scheme, _)) = text.split_once("://") else {
        return wrong("has no scheme, http:// or https://");
    };
    let Ok(uri) = text.parse::<Uri>() else { return wrong("is not a URL") };
    if !["http", "https"].contains(&scheme) {
        return wrong("must begin with http:// or https://");
    }
    if uri.host().is_none_or(str::is_empty) { wrong("has no host") } else { Ok(text.to_owned()) }
}

/// The configured address as one can reach it from here.
fn own_url(config: &Config) -> String {
    let scheme = if config.ingress.tls.is_some() { "https" } else { "http" };
    let mut address = config.ingress.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_needs_a_scheme_and_a_host() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", None),
            ("https://bridge.example", None),
            ("127.0.0.1:8080", Some("--url has no scheme, http:// or https://: write it as http://127.0.0.1:8080")),
            ("localhost", Some("--url has no scheme")),
            ("ftp://localhost", Some("--url must begin with http:// or https://")),
            ("http://not a host", Some("--url is not a URL")),
            ("http://", Some("--url is not a URL")),
        ] {
            let told = base_url(url).err().map(|wrong| wrong.to_string()).unwrap_or_default();
            assert!(told.starts_with(expected.unwrap_or_default()), "{url}: {told}");
            assert_eq!(told.is_empty(), expected.is_none(), "{url}: {told}");
        }
    }

    #[test]
    fn the_help_has_every_event_of_every_provider() {
        let help = examples_and_events();
        for provider in PROVIDERS.iter() {
            assert!(help.contains(&format!("\n  {}:\n", provider.name())), "{help}");
            for event_type in provider.event_types() {
                assert!(help.contains(&format!("\n    {}\n", event_type.topic_part)), "{help}");
            }
        }
    }
}
