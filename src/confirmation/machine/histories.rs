//! The machine's properties, by generated histories: events in any order, any duplicates, a provider that misbehaves, and
//! restarts in between.
//!
//! The provider of these histories is naive: it applies whatever reaches it, so that two actions would be seen.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::scenes::{Lived, decision, moment, opened_at, opening, policy};
use super::*;
use crate::message::confirmation::v1::Result as Told;
use crate::message::smart_glocal::v1::{NextAction, SessionStatus};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Ready {
        event: u8,
        verdict: Option<Action>,
    },
    Decision {
        action: Action,
        id: u8,
    },
    /// The provider tells that the session finished, if it has.
    Finished,
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

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
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

const FATES: [Fate; 7] =
    [Fate::Ok, Fate::AnswerLost, Fate::CallLost, Fate::TryAgain, Fate::Refused, Fate::UnknownCode, Fate::OurTrouble];

#[derive(Clone, Copy, Debug)]
struct OnItsWay {
    operation: Operation,
    number: u32,
    key_number: u32,
}

/// The engine, the ledger, the provider and the clock around one session.
struct World {
    policy: Policy,
    now: Timestamp,
    trust: Trust,
    reading: Reading,
    state: Lived,
    on_their_way: Vec<OnItsWay>,
    stragglers: Vec<OnItsWay>,
    // The provider.
    applied: Vec<Action>,
    ended: Option<Action>,
    keys: BTreeSet<(u8, u32)>,
    // What was seen.
    outcomes: Vec<Outcome>,
    decisions: usize,
    rejections: Vec<RejectionReason>,
    redelivered: usize,
    actions_called: Vec<Action>,
    asked_since_action: bool,
    refusals_given: usize,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            now: opened_at(),
            trust: Trust::Trusted,
            reading: Reading::CaughtUp,
            state: Lived::Absent,
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

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Ready { event, verdict } => self.ready(*event, *verdict),
            Event::Decision { action, id } => {
                self.decisions += 1;
                let id = if *id == 0 { String::new() } else { format!("decision-{id}") };
                self.feed(Input::Decision(decision(*action, &id, 0)));
            }
            Event::Finished => {
                if self.ended.is_some() {
                    self.feed(Input::Finished { sight: self.sight(), received_at: self.now });
                }
            }
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

    fn ready(&mut self, event: u8, verdict: Option<Action>) {
        let verdict =
            verdict.map(|action| (action, Decider { name: "a rule".into(), ..Decider::of_kind(DeciderKind::Rule) }));
        let opening = Opening { ready_event_id: format!("event-{event}"), ..opening() };
        self.feed(Input::Ready { opening, verdict });
    }

    /// One step, and what the engine does with it: the write and the records first, the calls afterwards.
    fn feed(&mut self, input: Input) {
        let moment = Moment { trust: self.trust, reading: self.reading, ..moment(self.now) };
        let step = step(self.state.seen(), input, &self.policy, &moment);
        let written = matches!(step.state, Next::Entry(_));
        match step.state {
            Next::Same => {}
            Next::Activity(activity) => match &mut self.state {
                Lived::Open(open) => open.activity = activity,
                Lived::Absent | Lived::Ended(..) => panic!("an activity without a session"),
            },
            Next::Entry(open) => self.state = Lived::Open(open),
            Next::Done(done) => self.state = Lived::ended(&done),
            Next::Forgotten => self.state = Lived::Absent,
        }
        for effect in step.effects {
            self.carry_out(effect, written);
        }
    }

    fn carry_out(&mut self, effect: Effect, written: bool) {
        match effect {
            Effect::Outcome(outcome) => self.outcomes.push(*outcome),
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

    fn answer(&mut self, fate: Fate) {
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
        self.feed(Input::Answer { number: call.number, operation: call.operation, reply, retry_after: None });
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
    }

    fn due(&self) -> Option<Timestamp> {
        match &self.state {
            Lived::Open(open) => due(open, &self.policy),
            Lived::Absent | Lived::Ended(..) => None,
        }
    }

    /// Only what was written outlives it; calls on their way may still arrive.
    fn restart(&mut self) {
        self.stragglers.append(&mut self.on_their_way);
        if let Lived::Open(open) = &self.state {
            self.state = Lived::Open(Open::taken_over(open.entry.clone()));
        }
    }

    /// The rest of the session's life: every call is answered, the clock is right, and the timers fire.
    fn live_out(&mut self, fates: &[Fate]) {
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
    fn settle(&mut self) {
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

    fn was_opened(&self) -> bool {
        !self.outcomes.is_empty()
            || matches!(&self.state, Lived::Open(Open { entry: Entry::Awaiting(_) | Entry::Decided(_), .. }))
    }
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Confirm), Just(Action::Cancel)]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..3_u8, prop::option::weighted(0.3, actions())).prop_map(|(event, verdict)| Event::Ready { event, verdict }),
        3 => (actions(), 0..4_u8).prop_map(|(action, id)| Event::Decision { action, id }),
        1 => Just(Event::Finished),
        8 => prop::sample::select(&FATES[..]).prop_map(Event::Answer),
        1 => Just(Event::Straggler),
        1 => actions().prop_map(Event::EndsByItself),
        3 => (0..90_u32).prop_map(Event::Wait),
        2 => (0..5_000_u32).prop_map(Event::Wait),
        2 => Just(Event::Restart),
        1 => prop::sample::select(&[Trust::Trusted, Trust::Unproven, Trust::Drifted][..]).prop_map(Event::Trust),
        1 => prop::sample::select(&[Reading::Behind, Reading::CaughtUp][..]).prop_map(Event::Reading),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::option::of(actions()).prop_map(|at_deadline| Policy { at_deadline, ..policy() })
}

fn many() -> ProptestConfig {
    ProptestConfig { cases: 4_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn every_session_ends_once_by_one_action_with_a_cause(
        policy in policies(),
        history in prop::collection::vec(events(), 0..40),
        fates in prop::collection::vec(prop::sample::select(&FATES[..]), 0..8),
    ) {
        let mut world = World::new(policy);
        for event in &history {
            world.happen(event);
            let kinds: BTreeSet<bool> = world.actions_called.iter().map(|action| *action == Action::Confirm).collect();
            prop_assert!(kinds.len() <= 1, "both actions were called");
            prop_assert!(world.outcomes.len() <= 1, "two outcomes");
            prop_assert!(world.outcomes.is_empty() || matches!(world.state, Lived::Ended(..)));
        }
        let opened = world.was_opened();
        // A rest that began while the clock was wrong, or the inputs not read, is finished first.
        let last_end = world.policy.last_end(&opening()).max(world.now + SignedDuration::from_secs(60));
        world.live_out(&fates);

        prop_assert_eq!(world.outcomes.len(), usize::from(opened));
        prop_assert!(world.applied.windows(2).all(|two| two[0] == two[1]), "both actions were applied");
        if opened {
            prop_assert!(world.now <= last_end, "it ended {} after its last end", world.now.duration_since(last_end));
            check_cause(&world)?;
        }
        let counted = world.outcomes.iter().filter(|outcome| {
            outcome.decided.as_ref().is_some_and(|(_, decider, _)| decider.kind == DeciderKind::Decision)
        });
        prop_assert_eq!(
            counted.count() + world.rejections.len() + world.redelivered, world.decisions, "a decision is lost in silence"
        );
    }

    #[test]
    fn a_restart_at_any_point_changes_nothing_that_was_decided_or_done(
        policy in policies(),
        history in prop::collection::vec(events(), 0..30),
        restarts in prop::collection::vec(prop::option::of(prop::sample::select(&[Fate::AnswerLost, Fate::CallLost][..])), 30),
    ) {
        // The provider answers, so that nothing but what was read decides.
        let tame = |event: &Event| match event {
            Event::Answer(_) | Event::Straggler | Event::EndsByItself(_) | Event::Restart => Event::Wait(1),
            event => event.clone(),
        };
        let (mut steady, mut restarted) = (World::new(policy.clone()), World::new(policy));
        for (event, restart) in history.iter().map(tame).zip(restarts) {
            steady.happen(&event);
            restarted.happen(&event);
            if let Some(fate) = restart {
                restarted.answer(fate);
                restarted.restart();
            }
            steady.settle();
            restarted.settle();
        }
        steady.live_out(&[]);
        restarted.live_out(&[]);
        let decided = |world: &World| {
            let outcome = world.outcomes.first()?;
            outcome.decided.as_ref().map(|(action, decider, _)| (*action, decider.clone()))
        };
        prop_assert_eq!(decided(&steady), decided(&restarted));
        prop_assert_eq!(&steady.applied, &restarted.applied);
        prop_assert_eq!(steady.rejections, restarted.rejections);
    }
}

/// The outcome says what happened.
fn check_cause(world: &World) -> Result<(), TestCaseError> {
    let outcome = world.outcomes.first().expect("it was opened");
    let action = outcome.decided.as_ref().map(|(action, ..)| *action);
    let ended = world.ended;
    match outcome.result {
        Told::Accepted => {
            prop_assert!(
                action.is_some() && action == ended && outcome.attempts > 0,
                "accepted without cause: {outcome:?}"
            );
        }
        Told::AlreadyDone => prop_assert!(action == Some(Action::Cancel) && ended == action),
        Told::Refused => {
            prop_assert!(outcome.refusal.is_some());
            let odd = outcome.refusal.as_ref().is_some_and(|refusal| refusal.code != "bank_card_expired");
            prop_assert!(odd || world.refusals_given > 0, "refused without a refusal");
        }
        Told::Superseded => prop_assert!(ended.is_some()),
        Told::Expired => {
            prop_assert!(outcome.known_at >= world.policy.window_end(&outcome.opening), "expired inside the window");
        }
        Told::DryRun | Told::Unspecified => prop_assert!(false, "{outcome:?}"),
    }
    prop_assert_eq!(outcome.verified, outcome.answered_at.is_some());
    Ok(())
}
