//! The simulation of the machine's generated histories: one session's engine, ledger, provider and clock.
//!
//! The provider is naive: it applies whatever reaches it, so that two actions would be seen.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::super::*;
use super::fixtures::{TestSession, context, decision, opened_at, opening};
use crate::confirmation::session::model::Outcome;
use crate::message::confirmation::v1::{DeciderKind, RejectionReason};
use crate::message::smart_glocal::v1::{NextAction, SessionStatus};

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum SimulatedEvent {
    Ready {
        event: u8,
        verdict: Option<Action>,
        proof: ReadyProof,
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
    Answer(CallFate),
    /// A call whose sender is gone, or gave up, reaches the provider after all.
    Straggler,
    /// Somebody else, or time, ends the session at the provider.
    EndsByItself(Action),
    Wait(u32),
    Restart,
    Clock(ClockState),
    Progress(InputProgress),
}

/// What a `ready_to_confirm` proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyProof {
    /// All of it, its age too.
    Whole,
    /// All but its age.
    Undated,
    /// Nothing: the rules, with this verdict, go by the status, which tells the age or does not.
    Nothing { dated: bool },
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFate {
    Ok,
    /// It is applied, and its answer lost.
    AnswerLost,
    /// It is lost, or arrives later.
    CallLost,
    TryAgain,
    Refused,
    UnknownCode,
    NotProcessed,
}

pub const CALL_FATES: [CallFate; 7] = [
    CallFate::Ok,
    CallFate::AnswerLost,
    CallFate::CallLost,
    CallFate::TryAgain,
    CallFate::Refused,
    CallFate::UnknownCode,
    CallFate::NotProcessed,
];

#[derive(Clone, Copy, Debug)]
pub struct OnItsWay {
    pub operation: Operation,
    pub number: u32,
    pub key_number: u32,
}

/// The engine, the ledger, the provider and the clock around one session.
pub struct Simulation {
    pub policy: Policy,
    pub now: Timestamp,
    pub clock: ClockState,
    pub progress: InputProgress,
    pub state: TestSession,
    /// When it ended here.
    pub done_at: Option<Timestamp>,
    /// Whether it was ever open.
    pub opened: bool,
    /// When its last event was recorded.
    pub recorded_at: Timestamp,
    /// What `session/status` shows for a session whose event proves nothing.
    pub details: StatusDetails,
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

impl Simulation {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            now: opened_at(),
            clock: ClockState::Trusted,
            progress: InputProgress::CaughtUp,
            state: TestSession::Absent,
            done_at: None,
            opened: false,
            recorded_at: opened_at(),
            details: StatusDetails::default(),
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

    pub fn happen(&mut self, event: &SimulatedEvent) {
        match event {
            SimulatedEvent::Ready { event, verdict, proof } => self.ready(*event, *verdict, *proof),
            SimulatedEvent::Decision { action, id } => {
                self.decisions += 1;
                let id = if *id == 0 { String::new() } else { format!("decision-{id}") };
                self.feed(Input::Decision(Decision { recorded_at: self.now, ..decision(*action, &id, 0) }));
            }
            SimulatedEvent::Finished => {
                if self.ended.is_some() {
                    self.feed(Input::Finished { view: self.view(), recorded_at: self.now });
                }
            }
            SimulatedEvent::Unverified => self.feed(Input::Unverified),
            SimulatedEvent::Answer(fate) => self.answer(*fate),
            SimulatedEvent::Straggler => {
                if let Some(call) = self.stragglers.pop() {
                    self.reaches_provider(call);
                }
            }
            SimulatedEvent::EndsByItself(action) => {
                if self.applied.is_empty() && self.ended.is_none() {
                    self.ended = Some(*action);
                }
            }
            SimulatedEvent::Wait(seconds) => self.wait(SignedDuration::from_secs(i64::from(*seconds))),
            SimulatedEvent::Restart => self.restart(),
            SimulatedEvent::Clock(trust) => self.clock = *trust,
            SimulatedEvent::Progress(reading) => self.progress = *reading,
        }
    }

    fn ready(&mut self, event: u8, verdict: Option<Action>, proof: ReadyProof) {
        let verdict =
            verdict.map(|action| (action, Decider { name: "a rule".into(), ..Decider::of_kind(DeciderKind::Rule) }));
        self.recorded_at = self.now;
        let opening = Opening { ready_event_id: format!("event-{event}"), recorded_at: self.now, ..opening() };
        let undated = Opening { window_began_at: self.now, ..opening.clone() };
        let (opening, basis, age) = match proof {
            ReadyProof::Whole => (opening, RuleBasis::Webhook(verdict), EventAge::Known),
            ReadyProof::Undated => (undated, RuleBasis::Webhook(verdict), EventAge::Unknown),
            ReadyProof::Nothing { dated } => {
                let began_at = dated.then(opened_at);
                self.details = StatusDetails { began_at, verdict, ..StatusDetails::default() };
                (undated, RuleBasis::Status, EventAge::Known)
            }
        };
        self.feed(Input::Ready { opening, basis, age });
    }

    /// One step, and what the engine does with it: the write and the records first, the calls afterwards.
    fn feed(&mut self, input: Input) {
        let context = StepContext { clock: self.clock, progress: self.progress, ..context(self.now) };
        let step = step(self.state.as_state(), input, &self.policy, &context);
        let written = matches!(step.next, NextState::Entry(_));
        match &step.next {
            NextState::Done(done) => self.done_at = Some(done.done_at),
            NextState::Entry(OpenSession { entry: SessionEntry::Awaiting(_) | SessionEntry::Decided(_), .. }) => {
                self.opened = true;
            }
            NextState::Same | NextState::Activity(_) | NextState::Entry(_) | NextState::Forgotten => {}
        }
        self.state.follow(step.next);
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

    pub fn answer(&mut self, fate: CallFate) {
        if self.on_their_way.is_empty() {
            return;
        }
        let call = self.on_their_way.remove(0);
        let reply = match (fate, call.operation) {
            (CallFate::Ok, _) => self.reaches_provider(call),
            (CallFate::AnswerLost, _) => {
                self.reaches_provider(call);
                Reply::Unclear
            }
            (CallFate::CallLost, _) => {
                self.stragglers.push(call);
                Reply::Unclear
            }
            (CallFate::NotProcessed, _) => Reply::NotProcessed,
            (CallFate::TryAgain | CallFate::UnknownCode | CallFate::Refused, Operation::Status) => Reply::TryAgain,
            (CallFate::TryAgain, _) => {
                self.keys.insert((0, call.key_number));
                Reply::TryAgain
            }
            (CallFate::UnknownCode, _) => Reply::UnknownCode { code: "odd".into(), description: String::new() },
            (CallFate::Refused, _) => {
                self.refusals_given += 1;
                Reply::Refused { code: "bank_card_expired".into(), description: String::new() }
            }
        };
        if call.operation == Operation::Status
            && matches!(&reply, Reply::Ok(Some(view)) if ending::waits_for_confirmation(*view))
        {
            self.asked_since_action = true;
        }
        let details = Some(Box::new(self.details.clone()));
        self.feed(Input::Answer { number: call.number, operation: call.operation, reply, retry_after: None, details });
    }

    fn reaches_provider(&mut self, call: OnItsWay) -> Reply {
        let action = match call.operation {
            Operation::Status => return Reply::Ok(Some(self.view())),
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
        Reply::Ok(Some(SessionView { status: SessionStatus::InProgress, next_action: NextAction::Unspecified }))
    }

    fn view(&self) -> SessionView {
        match self.ended {
            None => SessionView { status: SessionStatus::InProgress, next_action: NextAction::Confirm },
            Some(Action::Confirm) => {
                SessionView { status: SessionStatus::Accepted, next_action: NextAction::Unspecified }
            }
            Some(Action::Cancel) => {
                SessionView { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified }
            }
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
        if self.clock == ClockState::Trusted
            && self.done_at.is_some_and(is_old)
            && matches!(self.state, TestSession::Ended(_))
        {
            self.state = TestSession::Absent;
        }
    }

    fn due(&self) -> Option<Timestamp> {
        match &self.state {
            TestSession::Open(open) => due(open, &self.policy),
            TestSession::Absent | TestSession::Ended(..) => None,
        }
    }

    /// The engine ends before it hears of the call on its way, which arrives or does not.
    pub fn crash(&mut self, fate: CallFate) {
        if fate == CallFate::AnswerLost && !self.on_their_way.is_empty() {
            let call = self.on_their_way.remove(0);
            self.reaches_provider(call);
        }
        self.restart();
    }

    /// Only what was written outlives it; calls on their way may still arrive.
    pub fn restart(&mut self) {
        self.stragglers.append(&mut self.on_their_way);
        if let TestSession::Open(open) = &self.state {
            self.state = TestSession::Open(OpenSession::taken_over(open.entry.clone()));
        }
    }

    /// The rest of the session's life: every call is answered, the clock is right, and the timers fire.
    pub fn live_out(&mut self, fates: &[CallFate]) {
        (self.clock, self.progress) = (ClockState::Trusted, InputProgress::CaughtUp);
        for turn in 0_usize.. {
            assert!(turn < 10_000, "it never ends: {:?}", self.state.as_state());
            if !matches!(self.state, TestSession::Open(_)) {
                return;
            }
            let fate = fates.get(turn % fates.len().max(1)).copied().unwrap_or(CallFate::Ok);
            match self.due() {
                _ if !self.on_their_way.is_empty() => self.answer(fate),
                Some(due) => self.wait(due.duration_since(self.now).max(SignedDuration::ZERO)),
                None => panic!("neither a call nor a timer: {:?}", self.state.as_state()),
            }
        }
    }

    /// All that is due now is done, and answered.
    pub fn settle(&mut self) {
        loop {
            if !self.on_their_way.is_empty() {
                self.answer(CallFate::Ok);
            } else if self.due().is_some_and(|due| due <= self.now) {
                self.feed(Input::Timer);
            } else {
                return;
            }
        }
    }
}
