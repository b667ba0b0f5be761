//! The sessions of the demonstration: the simulated provider asks for the merchant's confirmation on payouts of varied amounts, takes
//! the calls of the bridge, and tells some time later how each session finished.
//! Must not know how a webhook is signed, nor what the bridge makes of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

use super::decision_writer::DecisionWriter;
use super::setup::{PROJECT, Setup};
use super::webhook_counts::{SentAs, WebhookCounts};
use super::webhook_sender::{WebhookSender, fresh_number};
use crate::kafka::topics;
use crate::message::confirmation::v1::Action;
use crate::simulator::{Applied, Operation, Simulator, SimulatorSettings};

/// From an action to the webhook that tells of its session's end.
const FINISHES_AFTER: Duration = Duration::from_secs(1);
/// A refusal that the provider's documentation lists.
const REFUSAL: &str = "account_not_found";

/// What is to become of a session. In this order, again and again: what takes longest comes first.
const SCENARIOS: [Scenario; 6] = [
    Scenario::NobodyDecides,
    Scenario::SmallPayout,
    Scenario::TeamConfirms,
    Scenario::Refused,
    Scenario::LargePayout,
    Scenario::TeamCancels,
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// No rule is for it, and no team cares: the deadline decides.
    NobodyDecides,
    /// A rule confirms it.
    SmallPayout,
    /// A rule confirms it, and the provider refuses.
    Refused,
    /// A rule cancels it.
    LargePayout,
    /// Another team confirms it.
    TeamConfirms,
    /// Another team cancels it.
    TeamCancels,
}

/// The provider of the sessions.
pub struct Sessions {
    /// Its session API, with a record of all calls.
    pub api: Simulator,
    sender: WebhookSender,
    ready_topic: String,
    finished_topic: String,
}

/// What the provider has applied and not told yet.
pub type Finishing = UnboundedReceiver<Applied>;

impl Sessions {
    /// Serves the session API on a socket.
    ///
    /// # Errors
    /// The setup has no source whose provider asks, or one of its keys cannot be used.
    pub fn start(setup: &Setup, listener: TcpListener) -> anyhow::Result<(Self, Finishing)> {
        let prefix = setup.config.kafka.topic_prefix.as_ref();
        let mut senders = setup.config.sources.iter().map(|(name, settings)| WebhookSender::new(setup, name, settings));
        let found = senders.find(|made| made.as_ref().map_or(true, WebhookSender::asks));
        let sender = found.context("no provider asks for the merchant's confirmation")??;
        let topic = |part| {
            let event = sender.provider.event_types().iter().find(|event_type| event_type.topic_part == part);
            event.map(|event| topics::event_topic(prefix, sender.provider.name(), event))
        };
        let (ready_topic, finished_topic) =
            topic("ready-to-confirm").zip(topic("payment-finished")).context("the provider has no sessions")?;
        let (applied, finishing) = unbounded_channel();
        let mut settings = SimulatorSettings::new(PROJECT, setup.merchant_keys()?);
        settings.finish_after = FINISHES_AFTER;
        settings.applied = Some(Arc::new(move |action: &Applied| {
            // After the end nobody waits for it.
            let _waits = applied.send(action.clone());
        }));
        let api = Simulator::start(listener, None, settings)?;
        Ok((Self { api, sender, ready_topic, finished_topic }, finishing))
    }

    /// Asks for the merchant's confirmation on one more session, and sees to it that its scenario comes true.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn ask(&self, turn: usize, team: &DecisionWriter, counts: &WebhookCounts) -> anyhow::Result<()> {
        let Some(scenario) = SCENARIOS.get(turn % SCENARIOS.len()) else { return Ok(()) };
        let number = fresh_number();
        let id = format!("ps_{number}");
        if *scenario == Scenario::Refused {
            self.api.refuse(&id, REFUSAL);
        }
        let body = ready_to_confirm(&id, number, scenario.cents(), Timestamp::now());
        self.send(&body, &self.ready_topic, counts).await?;
        match scenario {
            Scenario::TeamConfirms => team.decide(&self.sender.source, &id, Action::Confirm),
            Scenario::TeamCancels => team.decide(&self.sender.source, &id, Action::Cancel),
            Scenario::NobodyDecides | Scenario::SmallPayout | Scenario::Refused | Scenario::LargePayout => {}
        }
        Ok(())
    }

    /// Tells the end of every session that an action was applied to, for as long as the session API is there.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn tell_ends(&self, mut finishing: Finishing, counts: &WebhookCounts) -> anyhow::Result<()> {
        while let Some(applied) = finishing.recv().await {
            let age = Duration::try_from(Timestamp::now().duration_since(applied.at)).unwrap_or_default();
            sleep(FINISHES_AFTER.saturating_sub(age)).await;
            let body = payment_finished(&applied, Timestamp::now());
            self.send(&body, &self.finished_topic, counts).await?;
        }
        Ok(())
    }

    async fn send(&self, body: &Value, topic: &str, counts: &WebhookCounts) -> anyhow::Result<()> {
        let webhook = self.sender.signer.sign("", body.to_string().into(), Timestamp::now(), fresh_number());
        self.sender.post(&webhook, SentAs::OnTopic(topic), counts).await
    }
}

impl Scenario {
    /// The amount in US cents: the rules of the setup are about it.
    fn cents(self) -> u32 {
        match self {
            Self::SmallPayout | Self::Refused => 12_500,
            Self::NobodyDecides => 80_000,
            Self::TeamConfirms | Self::TeamCancels => 250_000,
            Self::LargePayout => 2_000_000,
        }
    }
}

fn ready_to_confirm(id: &str, number: u64, cents: u32, now: Timestamp) -> Value {
    let at = format!("{now:.6}");
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

fn payment_finished(applied: &Applied, now: Timestamp) -> Value {
    let (session, operation) = match applied.operation {
        Operation::Confirm => ("accepted", "succeeded"),
        Operation::Cancel | Operation::Status => ("cancelled", "failed"),
    };
    let at = format!("{now:.6}");
    let id = applied.session_id.replacen("ps_", "po_", 1);
    json!({"type": "payment_finished", "session": {
        "id": applied.session_id, "status": session, "created_at": at, "updated_at": at, "finished_at": at,
        "payout_list": [{"id": id, "status": operation, "created_at": at, "finished_at": at}],
    }})
}
