//! The confirmation engine as a part of the daemon: what it is made of, and how it ends.
//! Must not know the other parts.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustls::RootCertStore;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::keys::Apis;
use super::{CONFIRMATION_ENGINE, FLUSH_RESERVE, grace_without, named};
use crate::admin::Readiness;
use crate::config::{ClientSide, Config, FORMER_GROUP_ID};
use crate::confirmation::calls::{CallSettings, Caller};
use crate::confirmation::codec::evidence::Verifiers;
use crate::confirmation::codec::records::Records;
use crate::confirmation::engine::{CredentialRenewal, CredentialRenewals, EnginePlan, EngineSettings};
use crate::confirmation::rules::Rules;
use crate::confirmation::session::machine::Policy;
use crate::confirmation::session::model::Mode;
use crate::error_chain;
use crate::https::Roots;
use crate::kafka::broker_clock::Broker;
use crate::kafka::group::SESSION_TIMEOUT;
use crate::kafka::{client, topics};
use crate::latch::Latch;
use crate::metrics::Metrics;

/// How long a refused engine waits before it is tried again, and how often it is told that it is refused.
const REFUSED_RETRY_AFTER: Duration = Duration::from_mins(1);
/// How often a waiting one looks for renewals.
const RENEWALS_EVERY: Duration = Duration::from_secs(1);

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
/// What keeps the engine from working ends a process that only decides. One that takes webhooks goes on taking them, and is
/// ready without it.
///
/// # Errors
/// A rule does not compile, there is no TLS, or a file of Kafka's properties cannot be read.
pub fn start(
    config: &Config,
    apis: Apis,
    verification: Verification,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
    tasks: &mut JoinSet<&'static str>,
    stop: CancellationToken,
) -> anyhow::Result<Sender<CredentialRenewal>> {
    let (renew, renewals) = mpsc::channel();
    let maker = Arc::new(Maker {
        config: config.clone(),
        apis,
        verification,
        metrics: Arc::clone(metrics),
        ready: readiness.transactions.clone(),
        stop,
        renewals: CredentialRenewals::new(renewals),
    });
    let first = maker.plan()?;
    tasks.spawn(named(CONFIRMATION_ENGINE, keep_running(maker, first)));
    Ok(renew)
}

/// Ends when the engine has ended in order; where no webhooks are taken, also when it cannot go on.
async fn keep_running(maker: Arc<Maker>, first: EnginePlan) {
    let mut plan = Ok(first);
    loop {
        let failure = match plan {
            Ok(plan) => match run(plan).await {
                None => return,
                Some(failure) => failure,
            },
            Err(error) => EngineFailure { error: format!("{error:#}"), may_pass: true },
        };
        if !maker.config.ingress.enabled {
            return tracing::error!(error = failure.error, "the confirmation engine cannot go on; the process ends");
        }
        maker.refused(&failure).await;
        if maker.stop.is_cancelled() {
            return;
        }
        let maker = Arc::clone(&maker);
        // Reading files blocks.
        plan = tokio::task::spawn_blocking(move || maker.plan()).await.unwrap_or_else(|error| Err(error.into()));
    }
}

/// Why an engine is not there.
struct EngineFailure {
    error: String,
    /// Whether another start may go well.
    may_pass: bool,
}

/// Runs an engine to its end; nothing where that is in order.
async fn run(plan: EnginePlan) -> Option<EngineFailure> {
    match tokio::task::spawn_blocking(move || plan.run()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(EngineFailure { error: error_chain::joined(&error), may_pass: error.may_pass() }),
        Err(error) => Some(EngineFailure { error: format!("its thread failed: {error}"), may_pass: true }),
    }
}

/// What engines of this process are made of, one after the other.
struct Maker {
    config: Config,
    apis: Apis,
    verification: Verification,
    metrics: Arc<Metrics>,
    ready: Latch,
    stop: CancellationToken,
    renewals: CredentialRenewals,
}

impl Maker {
    /// Says that there is no engine, again and again until it is worth another try, or until the end.
    async fn refused(&self, failure: &EngineFailure) {
        self.metrics.confirmation(&self.rule_names()).engine_refused.set(1.0);
        // Webhooks do not wait for it.
        self.ready.open();
        loop {
            tracing::error!(
                error = failure.error,
                "the confirmation engine refuses to work: this process decides on no session and goes on taking webhooks"
            );
            self.rest().await;
            if failure.may_pass || self.stop.is_cancelled() {
                return;
            }
        }
    }

    async fn rest(&self) {
        let until = Instant::now() + REFUSED_RETRY_AFTER;
        while Instant::now() < until {
            // The next engine reads the files anew.
            while let Some(CredentialRenewal { done, .. }) = self.renewals.next() {
                let _gone = done.send(Ok(()));
            }
            tokio::select! {
                () = sleep(RENEWALS_EVERY) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    fn rule_names(&self) -> Vec<String> {
        self.config.confirmation.rules.iter().map(|rule| rule.name.clone()).collect()
    }

    fn plan(&self) -> anyhow::Result<EnginePlan> {
        let config = &self.config;
        let confirmation = &config.confirmation;
        let call_settings = CallSettings {
            timeout: confirmation.call_timeout(),
            in_flight_max: confirmation.calls_in_flight_max,
            // Whoever was a member then is not replaced before this is over; the other half is for the way.
            send_within: SESSION_TIMEOUT / 2,
            roots: roots(&self.apis),
        };
        let settings = engine_settings(config, &self.apis, &self.verification)?;
        let (caller, answers) = Caller::start(call_settings, self.apis.clone(), Handle::current(), &self.metrics)?;
        Ok(EnginePlan {
            settings,
            client: client::base(&config.kafka, ClientSide::Engine)?,
            transactional_id: confirmation.transactional_id(&config.kafka.topic_prefix, &config.bridge_instance),
            instance: config.bridge_instance.clone(),
            record_bytes_max: config.ingress.record_bytes_max(),
            caller,
            answers,
            renewals: self.renewals.clone(),
            metrics: Arc::new(self.metrics.confirmation(&self.rule_names())),
            ready: self.ready.clone(),
            stop: self.stop.clone(),
            grace: grace_without(config, FLUSH_RESERVE, 2),
        })
    }
}

fn engine_settings(config: &Config, apis: &Apis, verification: &Verification) -> anyhow::Result<EngineSettings> {
    let confirmation = &config.confirmation;
    let prefix = config.kafka.topic_prefix.as_ref();
    let rules = Rules::compile(&confirmation.rules, confirmation.default).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!(lines.join("\n")).context("confirmation.rules")
    })?;
    Ok(EngineSettings {
        policy: Policy::of(confirmation),
        rules,
        mode: if confirmation.dry_run { Mode::DryRun } else { Mode::Live },
        sources: sources(config, apis),
        verifiers: verification.verifiers.clone(),
        early_decisions_max: confirmation.early_decisions_max,
        broker: verification.broker,
        group_id: confirmation.group(&config.kafka.topic_prefix),
        former_group_id: confirmation.group_id.is_none().then_some(FORMER_GROUP_ID),
        inputs: inputs(prefix).context("the engine's provider has no such events")?,
        records: Records::new(prefix, &config.bridge_instance, config.ingress.record_bytes_max()),
    })
}

/// The sources that wait for confirmation: those with an api, and in a dry run every one of the provider that asks.
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

/// Where nothing is encrypted there need be no root certificates.
fn roots(apis: &Apis) -> Roots {
    let is_encrypted = apis.values().any(|api| api.load().is_encrypted());
    if is_encrypted { Roots::System } else { Roots::Only(RootCertStore::empty()) }
}
