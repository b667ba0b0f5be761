//! The world of the machine's generated histories: one session's engine, ledger, provider and clock.
//!
//! The provider is naive: it applies whatever reaches it, so that two actions would be seen.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::super::*;
use super::fixtures::{Lived, decision, moment, opened_at, opening};
use crate::confirmation::session::model::Outcome;
use crate::message::confirmation::v1::{DeciderKind, RejectionReason};
use crate::message::smart_glocal::v1::{NextAction, SessionStatus};

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Event {
    Ready {
        event: u8,
        verdict: Option<Action>,
        proof: Proof,
    },
    Decision {
        action: Action,
        id: u8,
    },
    /// The provider tells that the session finished, if it has.
    Finished,
    /// An event that proves nothing says that the session has changed.
    Unverified,
    /// The oldest call on its way meets this fate.
    Answer(Fate),
    /// A call whose sender is gone, or gave up, reaches the provider after all.
    Straggler,
    /// Somebody else, or time, ends the session at the provider.
    EndsByItself(Action),
    Wait(u32),
    Restart,
    Trust(Trust),
    Reading(Reading),
}

/// What a `ready_to_confirm` proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// All of it, its age too.
    Whole,
    /// All but its age.
    Undated,
    /// Nothing: the rules, with this verdict, go by the status, which tells the age or does not.
    Nothing { dated: bool },
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Ok,
    /// It is applied, and its answer lost.
    AnswerLost,
    /// It is lost, or arrives later.
    CallLost,
    TryAgain,
    Refused,
    UnknownCode,
    OurTrouble,
}

pub const FATES: [Fate; 7] =
    [Fate::Ok, Fate::AnswerLost, Fate::CallLost, Fate::TryAgain, Fate::Refused, Fate::UnknownCode, Fate::OurTrouble];

#[derive(Clone, Copy, Debug)]
pub struct OnItsWay {
    pub operation: Operation,
    pub number: u32,
    pub key_number: u32,
}

/// The engine, the ledger, the provider and the clock around one session.
pub struct World {
    pub policy: Policy,
    pub now: Timestamp,
    pub trust: Trust,
    pub reading: Reading,
    pub state: Lived,
    /// When it ended here.
    pub done_at: Option<Timestamp>,
    /// Whether it was ever open.
    pub opened: bool,
    /// When its last event was recorded.
    pub recorded_at: Timestamp,
    /// What `session/status` shows for a session whose event proves nothing.
    pub shown: Shown,
    pub on_their_way: Vec<OnItsWay>,
    pub stragglers: Vec<OnItsWay>,
    // The provider.
    pub applied: Vec<Action>,
    pub ended: Option<Action>,
    pub keys: BTreeSet<(u8, u32)>,
    // What was seen.
    pub outcomes: Vec<Outcome>,
    pub decisions: usize,
    pub rejections: Vec<RejectionReason>,
    pub redelivered: usize,
    pub actions_called: Vec<Action>,
    pub asked_since_action: bool,
    pub refusals_given: usize,
}

impl World {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            now: opened_at(),
            trust: Trust::Trusted,
            reading: Reading::CaughtUp,
            state: Lived::Absent,
            done_at: None,
            opened: false,
            recorded_at: opened_at(),
            shown: Shown::default(),
            on_their_way: Vec::new(),
            stragglers: Vec::new(),
            applied: Vec::new(),
            ended: None,
            keys: BTreeSet::new(),
            outcomes: Vec::new(),
            decisions: 0,
            rejections: Vec::new(),
            redelivered: 0,
            actions_called: Vec::new(),
            asked_since_action: true,
            refusals_given: 0,
        }
    }

    pub fn happen(&mut self, event: &Event) {
        match event {
            Event::Ready { event, verdict, proof } => self.ready(*event, *verdict, *proof),
            Event::Decision { action, id } => {
                self.decisions += 1;
                let id = if *id == 0 { String::new() } else { format!("decision-{id}") };
                self.feed(Input::Decision(Decision { recorded_at: self.now, ..decision(*action, &id, 0) }));
            }
            Event::Finished => {
                if self.ended.is_some() {
                    self.feed(Input::Finished { sight: self.sight(), recorded_at: self.now });
                }
            }
            Event::Unverified => self.feed(Input::Unverified),
            Event::Answer(fate) => self.answer(*fate),
            Event::Straggler => {
                if let Some(call) = self.stragglers.pop() {
                    self.reaches_provider(call);
                }
            }
            Event::EndsByItself(action) => {
                if self.applied.is_empty() && self.ended.is_none() {
                    self.ended = Some(*action);
                }
            }
            Event::Wait(seconds) => self.wait(SignedDuration::from_secs(i64::from(*seconds))),
            Event::Restart => self.restart(),
            Event::Trust(trust) => self.trust = *trust,
            Event::Reading(reading) => self.reading = *reading,
        }
    }

    fn ready(&mut self, event: u8, verdict: Option<Action>, proof: Proof) {
        let verdict =
            verdict.map(|action| (action, Decider { name: "a rule".into(), ..Decider::of_kind(DeciderKind::Rule) }));
        self.recorded_at = self.now;
        let opening = Opening { ready_event_id: format!("event-{event}"), recorded_at: self.now, ..opening() };
        let undated = Opening { window_began_at: self.now, ..opening.clone() };
        let (opening, judged, dating) = match proof {
            Proof::Whole => (opening, Judged::ByWebhook(verdict), Dating::ByProvider),
            Proof::Undated => (undated, Judged::ByWebhook(verdict), Dating::ByArrival),
            Proof::Nothing { dated } => {
                let began_at = dated.then(opened_at);
                self.shown = Shown { began_at, operations: Vec::new(), verdict };
                (undated, Judged::ByStatus, Dating::ByProvider)
            }
        };
        self.feed(Input::Ready { opening, judged, dating });
    }

    /// One step, and what the engine does with it: the write and the records first, the calls afterwards.
    fn feed(&mut self, input: Input) {
        let moment = Moment { trust: self.trust, reading: self.reading, ..moment(self.now) };
        let step = step(self.state.seen(), input, &self.policy, &moment);
        let written = matches!(step.state, Next::Entry(_));
        match &step.state {
            Next::Done(done) => self.done_at = Some(done.done_at),
            Next::Entry(Open { entry: Entry::Awaiting(_) | Entry::Decided(_), .. }) => self.opened = true,
            Next::Same | Next::Activity(_) | Next::Entry(_) | Next::Forgotten => {}
        }
        self.state.follow(step.state);
        for effect in step.effects {
            self.carry_out(effect, written);
        }
    }

    fn carry_out(&mut self, effect: Effect, written: bool) {
        match effect {
            Effect::Outcome(outcome) => {
                self.opened = true;
                self.outcomes.push(*outcome);
            }
            Effect::Reject(_, reason) => self.rejections.push(reason),
            Effect::Note(Note::Redelivered) => self.redelivered += 1,
            Effect::Note(_) => {}
            Effect::Call { operation, number, key_number } => {
                let action = match operation {
                    Operation::Status => None,
                    Operation::Confirm => Some(Action::Confirm),
                    Operation::Cancel => Some(Action::Cancel),
                };
                if let Some(action) = action {
                    assert!(written, "an action is called that was not written");
                    assert!(self.asked_since_action, "a second call without asking first");
                    assert!(key_number > 0, "an action without a key");
                    self.asked_since_action = false;
                    self.actions_called.push(action);
                }
                self.on_their_way.push(OnItsWay { operation, number, key_number });
            }
        }
    }

    pub fn answer(&mut self, fate: Fate) {
        if self.on_their_way.is_empty() {
            return;
        }
        let call = self.on_their_way.remove(0);
        let reply = match (fate, call.operation) {
            (Fate::Ok, _) => self.reaches_provider(call),
            (Fate::AnswerLost, _) => {
                self.reaches_provider(call);
                Reply::Unclear
            }
            (Fate::CallLost, _) => {
                self.stragglers.push(call);
                Reply::Unclear
            }
            (Fate::OurTrouble, _) => Reply::OurTrouble,
            (Fate::TryAgain | Fate::UnknownCode | Fate::Refused, Operation::Status) => Reply::TryAgain,
            (Fate::TryAgain, _) => {
                self.keys.insert((0, call.key_number));
                Reply::TryAgain
            }
            (Fate::UnknownCode, _) => Reply::UnknownCode { code: "odd".into(), description: String::new() },
            (Fate::Refused, _) => {
                self.refusals_given += 1;
                Reply::Refused { code: "bank_card_expired".into(), description: String::new() }
            }
        };
        if call.operation == Operation::Status
            && matches!(&reply, Reply::Ok(Some(sight)) if ending::waits_for_word(*sight))
        {
            self.asked_since_action = true;
        }
        let shown = Some(Box::new(self.shown.clone()));
        self.feed(Input::Answer { number: call.number, operation: call.operation, reply, retry_after: None, shown });
    }

    fn reaches_provider(&mut self, call: OnItsWay) -> Reply {
        let action = match call.operation {
            Operation::Status => return Reply::Ok(Some(self.sight())),
            Operation::Confirm => Action::Confirm,
            Operation::Cancel => Action::Cancel,
        };
        if !self.keys.insert((0, call.key_number)) {
            return Reply::KeyExists;
        }
        if self.ended.is_some() && self.applied.is_empty() {
            return Reply::UnknownCode { code: "session_ended".into(), description: String::new() };
        }
        self.applied.push(action);
        self.ended = Some(action);
        Reply::Ok(Some(Sight { status: SessionStatus::InProgress, next_action: NextAction::Unspecified }))
    }

    fn sight(&self) -> Sight {
        match self.ended {
            None => Sight { status: SessionStatus::InProgress, next_action: NextAction::Confirm },
            Some(Action::Confirm) => Sight { status: SessionStatus::Accepted, next_action: NextAction::Unspecified },
            Some(Action::Cancel) => Sight { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified },
        }
    }

    /// Time passes, and the session's timer fires each time it is due.
    fn wait(&mut self, span: SignedDuration) {
        let until = self.now + span;
        while let Some(due) = self.due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.feed(Input::Timer);
        }
        self.now = until;
        if self.now >= opened_at() + self.policy.window && self.ended.is_none() {
            self.ended = Some(Action::Cancel); // as the provider does by itself
        }
        // What ended long ago is forgotten, by a clock that is right.
        let is_old = |done_at| timing::later(done_at, self.policy.remembered()) <= self.now;
        if self.trust == Trust::Trusted && self.done_at.is_some_and(is_old) && matches!(self.state, Lived::Ended(_)) {
            self.state = Lived::Absent;
        }
    }

    fn due(&self) -> Option<Timestamp> {
        match &self.state {
            Lived::Open(open) => due(open, &self.policy),
            Lived::Absent | Lived::Ended(..) => None,
        }
    }

    /// The engine ends before it hears of the call on its way, which arrives or does not.
    pub fn crash(&mut self, fate: Fate) {
        if fate == Fate::AnswerLost && !self.on_their_way.is_empty() {
            let call = self.on_their_way.remove(0);
            self.reaches_provider(call);
        }
        self.restart();
    }

    /// Only what was written outlives it; calls on their way may still arrive.
    pub fn restart(&mut self) {
        self.stragglers.append(&mut self.on_their_way);
        if let Lived::Open(open) = &self.state {
            self.state = Lived::Open(Open::taken_over(open.entry.clone()));
        }
    }

    /// The rest of the session's life: every call is answered, the clock is right, and the timers fire.
    pub fn live_out(&mut self, fates: &[Fate]) {
        (self.trust, self.reading) = (Trust::Trusted, Reading::CaughtUp);
        for turn in 0_usize.. {
            assert!(turn < 10_000, "it never ends: {:?}", self.state.seen());
            if !matches!(self.state, Lived::Open(_)) {
                return;
            }
            let fate = fates.get(turn % fates.len().max(1)).copied().unwrap_or(Fate::Ok);
            match self.due() {
                _ if !self.on_their_way.is_empty() => self.answer(fate),
                Some(due) => self.wait(due.duration_since(self.now).max(SignedDuration::ZERO)),
                None => panic!("neither a call nor a timer: {:?}", self.state.seen()),
            }
        }
    }

    /// All that is due now is done, and answered.
    pub fn settle(&mut self) {
        loop {
            if !self.on_their_way.is_empty() {
                self.answer(Fate::Ok);
            } else if self.due().is_some_and(|due| due <= self.now) {
                self.feed(Input::Timer);
            } else {
                return;
            }
        }
    }
}
