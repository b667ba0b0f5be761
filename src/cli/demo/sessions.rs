//! The sessions of the demonstration: the simulated provider asks for the merchant's word on payouts of varied amounts, takes
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

use super::providers::{Counterpart, fresh_number};
use super::stage::{PROJECT, Stage};
use super::tally::{Act, Tally};
use super::team::Team;
use crate::kafka::topics;
use crate::message::confirmation::v1::Action;
use crate::simulator::{Applied, Operation, Settings, Simulator};

/// From an action to the webhook that tells of its session's end.
const FINISHES_AFTER: Duration = Duration::from_secs(1);
/// A refusal that the provider's documentation lists.
const REFUSAL: &str = "account_not_found";

/// What is to become of a session. In this order, again and again: what takes longest comes first.
const PLOTS: [Plot; 6] =
    [Plot::NobodyDecides, Plot::SmallPayout, Plot::TeamConfirms, Plot::Refused, Plot::LargePayout, Plot::TeamCancels];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plot {
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
    counterpart: Counterpart,
    ready_topic: String,
    finished_topic: String,
}

/// What the provider has applied and not told yet.
pub type Finishing = UnboundedReceiver<Applied>;

impl Sessions {
    /// Serves the session API on a socket.
    ///
    /// # Errors
    /// The stage has no source whose provider asks, or one of its keys cannot be used.
    pub fn start(stage: &Stage, listener: TcpListener) -> anyhow::Result<(Self, Finishing)> {
        let prefix = stage.config.kafka.topic_prefix.as_ref();
        let mut counterparts =
            stage.config.sources.iter().map(|(name, settings)| Counterpart::new(stage, name, settings));
        let found = counterparts.find(|made| made.as_ref().map_or(true, Counterpart::asks));
        let counterpart = found.context("no provider asks for the merchant's word")??;
        let topic = |part| {
            let event = counterpart.provider.event_types().iter().find(|event_type| event_type.topic_part == part);
            event.map(|event| topics::event_topic(prefix, counterpart.provider.name(), event))
        };
        let (ready_topic, finished_topic) =
            topic("ready-to-confirm").zip(topic("payment-finished")).context("the provider has no sessions")?;
        let (applied, finishing) = unbounded_channel();
        let mut settings = Settings::new(PROJECT, stage.merchant_keys()?);
        settings.finish_after = FINISHES_AFTER;
        settings.applied = Some(Arc::new(move |action: &Applied| {
            // After the end nobody waits for it.
            let _waits = applied.send(action.clone());
        }));
        let api = Simulator::start(listener, None, settings)?;
        Ok((Self { api, counterpart, ready_topic, finished_topic }, finishing))
    }

    /// Asks for the merchant's word on one more session, and sees to it that its plot comes true.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn ask(&self, turn: usize, team: &Team, tally: &Tally) -> anyhow::Result<()> {
        let Some(plot) = PLOTS.get(turn % PLOTS.len()) else { return Ok(()) };
        let number = fresh_number();
        let id = format!("ps_{number}");
        if *plot == Plot::Refused {
            self.api.refuse(&id, REFUSAL);
        }
        let body = ready_to_confirm(&id, number, plot.cents(), Timestamp::now());
        self.send(&body, &self.ready_topic, tally).await?;
        match plot {
            Plot::TeamConfirms => team.decide(&self.counterpart.source, &id, Action::Confirm),
            Plot::TeamCancels => team.decide(&self.counterpart.source, &id, Action::Cancel),
            Plot::NobodyDecides | Plot::SmallPayout | Plot::Refused | Plot::LargePayout => {}
        }
        Ok(())
    }

    /// Tells the end of every session that an action was applied to, for as long as the session API is there.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn tell_ends(&self, mut finishing: Finishing, tally: &Tally) -> anyhow::Result<()> {
        while let Some(applied) = finishing.recv().await {
            let age = Duration::try_from(Timestamp::now().duration_since(applied.at)).unwrap_or_default();
            sleep(FINISHES_AFTER.saturating_sub(age)).await;
            let body = payment_finished(&applied, Timestamp::now());
            self.send(&body, &self.finished_topic, tally).await?;
        }
        Ok(())
    }

    async fn send(&self, body: &Value, topic: &str, tally: &Tally) -> anyhow::Result<()> {
        let webhook = self.counterpart.sender.sign("", body.to_string().into(), Timestamp::now(), fresh_number());
        self.counterpart.post(&webhook, Act::OnTopic(topic), tally).await
    }
}

impl Plot {
    /// The amount in US cents: the rules of the stage are about it.
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
