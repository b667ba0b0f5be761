//! The sessions of the demonstration: the simulated provider asks for the merchant's confirmation on payouts of varied amounts,
//! takes the calls of the bridge, and tells some time later how each session finished.
//! Must not know how a webhook is signed, nor what the bridge makes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep};

use super::setup::{DEADLINE_S, PROJECT, Setup};
use super::step_printer::{Step, StepKind, StepPrinter};
use super::webhook_counts::{SentAs, WebhookCounts};
use super::webhook_sender::{Numbers, Posting, WebhookSender};
use crate::cli::line_style::{BAD, GOOD, TOPIC_COLUMNS};
use crate::kafka::topics;
use crate::provider::EventType;
use crate::simulator::{AnsweredCall, Applied, CallHook, Operation, Simulator, SimulatorSettings};

/// From an action to the webhook that tells of its session's end.
const FINISHES_AFTER: Duration = Duration::from_secs(1);
/// A refusal that the provider's documentation lists.
const REFUSAL: &str = "account_not_found";
/// What is left until the deadline of a session that waits for it, in seconds: its webhook comes that late.
pub const UNDECIDED_S: u16 = 8;

/// What is to become of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A rule confirms it.
    SmallPayout,
    /// A rule cancels it.
    LargePayout,
    /// No rule is for it, and no team cares: the deadline decides.
    NobodyDecides,
    /// Another team confirms it.
    TeamConfirms,
    /// It stays open for whoever watches.
    ForYou,
    /// A rule confirms it, and the provider refuses.
    Refused,
    /// Another team cancels it.
    TeamCancels,
}

/// The provider of the sessions.
pub struct Sessions {
    /// Its session API, with a record of all calls.
    pub api: Simulator,
    sender: WebhookSender,
    numbers: Arc<Numbers>,
    ready: (&'static EventType, String),
    finished: (&'static EventType, String),
    /// Those that it asked about.
    asked: Mutex<BTreeMap<String, Scenario>>,
}

/// What the provider has applied and not told yet.
pub type Finishing = UnboundedReceiver<Applied>;

impl Sessions {
    /// Serves the session API on a socket.
    ///
    /// # Errors
    /// The setup has no source whose provider asks, or one of its keys cannot be used.
    pub fn start(
        setup: &Setup,
        listener: TcpListener,
        numbers: &Arc<Numbers>,
        printer: &StepPrinter,
    ) -> anyhow::Result<(Self, Finishing)> {
        let prefix = setup.config.kafka.topic_prefix.as_ref();
        let mut senders = setup.config.sources.iter().map(|source| WebhookSender::new(setup, source, printer));
        let found = senders.find(|made| made.as_ref().map_or(true, WebhookSender::asks));
        let sender = found.context("no provider asks for the merchant's confirmation")??;
        let topic = |part| {
            let event = sender.provider.event_types().iter().find(|event_type| event_type.topic_part == part);
            event.map(|event| (event, topics::event_topic(prefix, sender.provider.name(), event)))
        };
        let (ready, finished) =
            topic("ready-to-confirm").zip(topic("payment-finished")).context("the provider has no sessions")?;
        let (applied, finishing) = unbounded_channel();
        let mut settings = SimulatorSettings::new(PROJECT, setup.merchant_keys()?);
        settings.finish_after = FINISHES_AFTER;
        settings.applied = Some(Arc::new(move |action: &Applied| {
            // After the end nobody waits for it.
            let _waits = applied.send(action.clone());
        }));
        settings.answered = Some(told_by(sender.provider.name(), printer));
        let api = Simulator::start(listener, None, settings)?;
        let (numbers, asked) = (Arc::clone(numbers), Mutex::default());
        Ok((Self { api, sender, numbers, ready, finished, asked }, finishing))
    }

    /// The name of their source.
    pub fn source(&self) -> &str {
        &self.sender.source
    }

    /// The id of one more session.
    pub fn next_id(&self) -> String {
        format!("ps_{}", self.numbers.session())
    }

    /// Whether it ends by itself, sooner or later.
    pub fn ends_by_itself(&self, id: &str) -> bool {
        self.asked().get(id).is_some_and(|scenario| *scenario != Scenario::ForYou)
    }

    /// Asks for the merchant's confirmation on a session, and sees to its provider's part of the scenario.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn ask(&self, id: &str, scenario: Scenario, counts: &WebhookCounts) -> anyhow::Result<()> {
        if scenario == Scenario::Refused {
            self.api.refuse(id, REFUSAL);
        }
        self.asked().insert(id.to_owned(), scenario);
        let body = ready_to_confirm(id, scenario.cents(), scenario.waits_since(Timestamp::now()));
        self.send(id, &body, &self.ready, counts).await
    }

    /// Tells the end of every session that an action was applied to, for as long as the session API is there.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn tell_ends(&self, mut finishing: Finishing, counts: &WebhookCounts) -> anyhow::Result<()> {
        while let Some(applied) = finishing.recv().await {
            let age = Duration::try_from(Timestamp::now().duration_since(applied.at)).unwrap_or_default();
            sleep(FINISHES_AFTER.saturating_sub(age)).await;
            let cents = self.asked().get(&applied.session_id).map(|scenario| scenario.cents());
            let body = payment_finished(&applied, cents, Timestamp::now());
            self.send(&applied.session_id, &body, &self.finished, counts).await?;
        }
        Ok(())
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<String, Scenario>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(
        &self,
        subject: &str,
        body: &Value,
        (event, topic): &(&'static EventType, String),
        counts: &WebhookCounts,
    ) -> anyhow::Result<()> {
        let webhook = self.sender.signer.sign("", body.to_string().into(), Timestamp::now(), self.numbers.webhook());
        let posting = Posting { subject, event: event.topic_part, act: SentAs::OnTopic(topic) };
        self.sender.post(&webhook, posting, counts).await
    }
}

impl Scenario {
    /// The amount in US cents: the rules of the setup are about it.
    pub fn cents(self) -> u32 {
        match self {
            Self::SmallPayout | Self::Refused => 12_500,
            Self::NobodyDecides => 80_000,
            Self::TeamConfirms | Self::TeamCancels => 250_000,
            Self::ForYou => 420_000,
            Self::LargePayout => 2_000_000,
        }
    }

    /// When the provider began to wait.
    fn waits_since(self, now: Timestamp) -> Timestamp {
        let passed = match self {
            Self::NobodyDecides => DEADLINE_S.saturating_sub(UNDECIDED_S),
            _ => 0,
        };
        now.saturating_sub(SignedDuration::from_secs(passed.into())).unwrap_or(now)
    }
}

/// Tells each call that the provider answers.
fn told_by(provider: &'static str, printer: &StepPrinter) -> CallHook {
    let printer = printer.clone();
    Arc::new(move |call: &AnsweredCall| {
        let what = format!("{provider} session/{}", call.operation.as_str());
        let (style, answer) = match call.error {
            None => (GOOD, "200 ok".to_owned()),
            Some(code) => (BAD, format!("400 {code}")),
        };
        let text = format!("{what:<TOPIC_COLUMNS$}  {style}{answer}{style:#}");
        printer.try_step(&Step { at: Instant::now(), subject: &call.session_id, kind: StepKind::Call, text });
    })
}

fn ready_to_confirm(id: &str, cents: u32, waits_since: Timestamp) -> Value {
    let (at, number) = (format!("{waits_since:.6}"), id.trim_start_matches("ps_"));
    json!({"type": "ready_to_confirm", "session": {
        "id": id, "status": "in_progress", "created_at": at, "updated_at": at, "next_action": "confirm",
        "payout_list": [{
            "id": format!("po_{number}"), "status": "pending", "created_at": at,
            "customer": {"reference": format!("user-{number}")},
            "payout_details": {"type": "card", "card": {"last4": "4242", "brand": "visa"}},
            "amount_details": {"amount": cents, "currency": "usd"},
        }],
    }})
}

fn payment_finished(applied: &Applied, cents: Option<u32>, now: Timestamp) -> Value {
    let (session, operation) = match applied.operation {
        Operation::Confirm => ("accepted", "succeeded"),
        Operation::Cancel | Operation::Status => ("cancelled", "failed"),
    };
    let at = format!("{now:.6}");
    let id = applied.session_id.replacen("ps_", "po_", 1);
    json!({"type": "payment_finished", "session": {
        "id": applied.session_id, "status": session, "created_at": at, "updated_at": at, "finished_at": at,
        "payout_list": [{
            "id": id, "status": operation, "created_at": at, "finished_at": at,
            "amount_details": cents.map(|cents| json!({"amount": cents, "currency": "usd"})),
        }],
    }})
}
