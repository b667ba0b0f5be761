//! The confirmation engine as a part of the daemon: what it is made of, and how it ends.
//! Must not know the other parts.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::SignedDuration;
use rustls::RootCertStore;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::keys::Apis;
use super::{CONFIRMATION_ENGINE, FLUSH_RESERVE, grace_without, named};
use crate::admin::Readiness;
use crate::causes;
use crate::config::{AtDeadline, ClientSide, Config, Confirmation};
use crate::confirmation::calls::{Caller, Settings};
use crate::confirmation::clock::Broker;
use crate::confirmation::engine::{Plan, Renewal};
use crate::confirmation::evidence::Verifiers;
use crate::confirmation::holding::{Desk, Untold};
use crate::confirmation::inputs::Mode;
use crate::confirmation::machine::Policy;
use crate::confirmation::model::Action;
use crate::confirmation::records::Records;
use crate::confirmation::rules::Rules;
use crate::https::Roots;
use crate::kafka::group::SESSION_TIMEOUT;
use crate::kafka::{client, topics};
use crate::metrics::Metrics;

/// What the engine holds events and its own clock against.
pub struct Verification {
    /// Verifies the events of sources.
    pub verifiers: Verifiers,
    /// Where the broker's time comes from.
    pub broker: Broker,
}

/// Starts the engine on a thread of its own; it ends in order once `stop` is cancelled. Gives where it takes other properties
/// for its clients.
///
/// # Errors
/// A rule does not compile, there is no TLS, or a file of Kafka's properties cannot be read.
pub fn start(
    config: &Config,
    apis: Apis,
    verification: Verification,
    metrics: &Metrics,
    readiness: &Readiness,
    tasks: &mut JoinSet<&'static str>,
    stop: CancellationToken,
) -> anyhow::Result<Sender<Renewal>> {
    let (renew, renewals) = mpsc::channel();
    let plan = plan(config, apis, verification, metrics, readiness, stop, renewals)?;
    let thread = async move {
        match tokio::task::spawn_blocking(move || plan.run()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(error = causes::told(&error), "the confirmation engine cannot go on");
            }
            Err(error) => tracing::error!(%error, "the confirmation engine's thread failed"),
        }
    };
    tasks.spawn(named(CONFIRMATION_ENGINE, thread));
    Ok(renew)
}

fn plan(
    config: &Config,
    apis: Apis,
    verification: Verification,
    metrics: &Metrics,
    readiness: &Readiness,
    stop: CancellationToken,
    renewals: Receiver<Renewal>,
) -> anyhow::Result<Plan> {
    let confirmation = &config.confirmation;
    let names: Vec<String> = confirmation.rules.iter().map(|rule| rule.name.clone()).collect();
    let settings = Settings {
        timeout: confirmation.call_timeout(),
        in_flight_max: confirmation.calls_in_flight_max,
        // Whoever was a member then is not replaced before this is over; the other half is for the way.
        send_within: SESSION_TIMEOUT / 2,
        roots: roots(&apis),
    };
    let desk = desk(config, &apis, verification)?;
    let (caller, answers) = Caller::start(settings, apis, Handle::current(), metrics)?;
    Ok(Plan {
        desk,
        client: client::base(&config.kafka, ClientSide::Engine)?,
        transactional_id: format!("{}.{}", confirmation.group_id, config.bridge_instance),
        record_bytes_max: config.ingress.record_bytes_max(),
        caller,
        answers,
        renewals,
        metrics: Arc::new(metrics.confirmation(&names)),
        ready: readiness.transactions.clone(),
        stop,
        grace: grace_without(config, FLUSH_RESERVE, 2),
    })
}

fn desk(config: &Config, apis: &Apis, verification: Verification) -> anyhow::Result<Desk<Untold>> {
    let confirmation = &config.confirmation;
    let prefix = config.kafka.topic_prefix.as_ref();
    let rules = Rules::compile(&confirmation.rules, confirmation.default).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!(lines.join("\n")).context("confirmation.rules")
    })?;
    Ok(Desk {
        policy: policy(confirmation),
        rules,
        mode: if confirmation.dry_run { Mode::DryRun } else { Mode::Live },
        sources: sources(config, apis),
        verifiers: verification.verifiers,
        early_decisions_max: confirmation.early_decisions_max,
        broker: verification.broker,
        group_id: confirmation.group_id.clone(),
        inputs: inputs(prefix).context("the engine's provider has no such events")?,
        partitions: Untold,
        records: Records::new(prefix, &config.bridge_instance, config.ingress.record_bytes_max()),
    })
}

/// The sources that wait for a word: those with an api, and in a dry run every one of the provider that asks.
fn sources(config: &Config, apis: &Apis) -> Vec<Arc<str>> {
    let asks = |provider: &str| topics::confirmation_events().iter().any(|(asking, _)| *asking == provider);
    let configured = config.sources.iter().filter(|(_, source)| asks(&source.provider));
    let names = configured.map(|(name, _)| Arc::from(name.as_ref()));
    names.filter(|name| config.confirmation.dry_run || apis.contains_key(name)).collect()
}

/// The inputs in the engine's order.
fn inputs(prefix: &str) -> Option<[Arc<str>; 3]> {
    let events = topics::confirmation_events();
    let topic = |part: &str| {
        let (provider, event) = events.iter().find(|(_, event)| event.topic_part == part)?;
        Some(Arc::from(topics::event_topic(prefix, provider, event)))
    };
    Some([topic("ready-to-confirm")?, topics::decision_topic(prefix).into(), topic("payment-finished")?])
}

fn policy(confirmation: &Confirmation) -> Policy {
    let signed = |duration: Duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    Policy {
        window: signed(confirmation.window()),
        at_deadline: match confirmation.at_deadline {
            AtDeadline::Confirm => Some(Action::Confirm),
            AtDeadline::Cancel => Some(Action::Cancel),
            AtDeadline::Nothing => None,
        },
        deadline_margin: signed(confirmation.deadline_margin()),
        key_reuse_wait: signed(confirmation.key_reuse_wait()),
        unknown_session_ttl: signed(confirmation.unknown_session_ttl()),
        ledger_retention: signed(confirmation.ledger_retention()),
    }
}

/// Where nothing is encrypted there need be no root certificates.
fn roots(apis: &Apis) -> Roots {
    let is_encrypted = apis.values().any(|api| api.load().is_encrypted());
    if is_encrypted { Roots::System } else { Roots::Only(RootCertStore::empty()) }
}
