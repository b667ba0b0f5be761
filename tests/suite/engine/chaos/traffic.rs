//! What the engines are given: sessions of every kind, and decisions of other teams, good and bad.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use paybridge::confirmation::codec::inputs::partition_of;
use paybridge::message::confirmation::v1::{Action, Decision};
use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::SessionView;
use prost::Message as _;

use super::{Form, pause, some_of};
use crate::support::engine_setup::{DECISION, EngineSetup, READY, ago, decision, ready_event};
use crate::support::stream::Random;

/// Of a window of four hours and a margin of twenty minutes, ten minutes are left.
const NEAR_DEADLINE_S: i64 = 14_400 - 600;
/// The window is over, and the time after it in which a session may still be open.
const LONG_OVER_S: i64 = 14_400 + 900 + 60;
/// The code of sessions that the provider refuses.
pub const REFUSAL: &str = "bank_card_expired";
/// The number of partitions of every input.
const PARTITIONS: i32 = 3;

/// What a session is meant to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A rule confirms it.
    Small,
    /// A rule cancels it.
    Large,
    /// It waits for the first decision.
    Held,
    /// Nobody decides, and its window is about to close.
    NearDeadline,
    /// It is over when it comes, and the provider waits still: a rule confirms it.
    LongOver,
    /// The provider cancels it by itself.
    Withdrawn,
    /// A rule confirms it, and the provider does not let it.
    Refused,
}

/// One session that was written.
#[derive(Clone, Debug)]
pub struct Script {
    /// What it is meant to come to.
    pub kind: Kind,
    /// Whether the provider does not know it any more when it is called.
    pub is_forgotten: bool,
}

/// All that was written.
#[derive(Default)]
pub struct Written {
    /// The sessions, by their ids.
    pub scripts: BTreeMap<String, Script>,
    /// When the provider forgot all idempotency keys: from then on it takes one a second time.
    pub keys_forgotten: Vec<Timestamp>,
}

/// Writes it all.
pub struct Traffic<'a> {
    setup: &'a EngineSetup,
    random: Random,
    written: Written,
    /// Decisions that come late: after so many more sessions.
    later: VecDeque<(usize, String)>,
    /// Decisions so far: the next one's id.
    decisions: usize,
}

impl<'a> Traffic<'a> {
    /// To this setup's topics.
    pub fn new(setup: &'a EngineSetup, random: Random) -> Self {
        Self { setup, random, written: Written::default(), later: VecDeque::new(), decisions: 0 }
    }

    /// Writes at least as many sessions as the form wants, and goes on while `writing`; gives them all.
    pub fn write(mut self, form: &Form, writing: &AtomicBool) -> Written {
        while self.written.scripts.len() < form.sessions || writing.load(Ordering::SeqCst) {
            self.session();
            self.follow_up();
            pause(some_of(form.pace, &mut self.random));
        }
        for (_, id) in std::mem::take(&mut self.later) {
            self.decide(&id);
        }
        self.written
    }

    fn session(&mut self) {
        let id = format!("ps_{}", self.written.scripts.len());
        let kind = match self.random.below(20) {
            0..5 => Kind::Small,
            5..8 => Kind::Large,
            8..15 => Kind::Held,
            15..17 => Kind::NearDeadline,
            17 => Kind::LongOver,
            18 => Kind::Withdrawn,
            _ => Kind::Refused,
        };
        match kind {
            Kind::Small => self.ready(&id, Timestamp::now(), 100),
            Kind::Large => self.ready(&id, Timestamp::now(), 2_000_000),
            Kind::Held => self.held(&id),
            Kind::NearDeadline => self.ready(&id, ago(NEAR_DEADLINE_S), 60_000),
            Kind::LongOver => self.ready(&id, ago(LONG_OVER_S), 100),
            Kind::Withdrawn => {
                let gone = SessionView { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified };
                self.setup.provider.open(&id, gone);
                self.ready(&id, Timestamp::now(), 60_000);
            }
            Kind::Refused => {
                self.setup.provider.refuse(&id, REFUSAL);
                self.ready(&id, Timestamp::now(), 100);
            }
        }
        self.written.scripts.insert(id, Script { kind, is_forgotten: false });
    }

    /// A session that waits for a decision, which comes early, late, twice, to the wrong place, or in a crowd.
    fn held(&mut self, id: &str) {
        let ready = |this: &mut Self| this.ready(id, Timestamp::now(), 60_000);
        match self.random.below(8) {
            0 => {
                self.decide(id);
                ready(self);
            }
            1 => {
                let decision = self.decision(id);
                self.put(&decision);
                ready(self);
                self.put(&decision);
            }
            2 => {
                ready(self);
                self.decide(id);
                self.decide(id);
            }
            3 => {
                self.decide(id);
                self.decide(id);
                ready(self);
            }
            4 => {
                ready(self);
                let decision = self.decision(id);
                let wrong = (partition_of(id, PARTITIONS) + 1) % PARTITIONS;
                self.setup.send_to(DECISION, wrong, id, &decision.encode_to_vec());
            }
            5 => {
                let other = Decision { source: "sg-other".to_owned(), ..self.decision(id) };
                self.put(&other);
                ready(self);
                self.decide(id);
            }
            6 => {
                ready(self);
                let after = self.random.below(60);
                self.later.push_back((self.written.scripts.len() + after, id.to_owned()));
            }
            _ => {
                ready(self);
                self.decide(id);
            }
        }
    }

    /// What happens to sessions afterwards, to some of those so far.
    fn follow_up(&mut self) {
        let written = self.written.scripts.len();
        if self.later.front().is_some_and(|(when, _)| *when <= written)
            && let Some((_, id)) = self.later.pop_front()
        {
            self.decide(&id);
        }
        let id = format!("ps_{}", written - 1 - self.random.below(written.min(50)));
        let cents = |kind: Kind| match kind {
            Kind::Small | Kind::Refused | Kind::LongOver => 100,
            Kind::Large => 2_000_000,
            Kind::Held | Kind::NearDeadline | Kind::Withdrawn => 60_000,
        };
        let script = &self.written.scripts[&id];
        let (kind, cents) = (script.kind, cents(script.kind));
        match self.random.below(40) {
            0 => self.ready(&id, Timestamp::now(), cents),
            1 => self.ready_as(&id, "ready once more", Timestamp::now(), cents),
            2 if matches!(kind, Kind::Small | Kind::Large) => self.decide(&id),
            3 | 4 if matches!(kind, Kind::Small | Kind::Large | Kind::Held) => self.forget(&id),
            5 => self.setup.send(DECISION, &id, b"no decision"),
            6 if self.random.below(12) == 0 => {
                self.setup.provider.forget_keys();
                self.written.keys_forgotten.push(Timestamp::now());
            }
            7 => {
                let nobody = format!("ps_nobody_{}", self.decisions);
                self.decide(&nobody);
            }
            _ => {}
        }
    }

    /// From now on the provider does not know the session: its calls are in vain, and only its event tells the end.
    fn forget(&mut self, id: &str) {
        self.setup.provider.forget_session(id);
        self.written.scripts.get_mut(id).unwrap().is_forgotten = true;
    }

    fn ready(&self, id: &str, updated_at: Timestamp, cents: i64) {
        self.ready_as(id, "ready", updated_at, cents);
    }

    fn ready_as(&self, id: &str, marker: &str, updated_at: Timestamp, cents: i64) {
        let event = ready_event(id, marker, updated_at, cents);
        self.setup.send(READY, id, &event.encode_to_vec());
    }

    fn decide(&mut self, id: &str) {
        let decision = self.decision(id);
        self.put(&decision);
    }

    fn decision(&mut self, id: &str) -> Decision {
        self.decisions += 1;
        let action = if self.random.below(2) == 0 { Action::Confirm } else { Action::Cancel };
        decision(id, action, &format!("decision {}", self.decisions))
    }

    fn put(&self, decision: &Decision) {
        self.setup.send(DECISION, &decision.session_id, &decision.encode_to_vec());
    }
}
