//! The machine's properties, by generated histories: events in any order, any duplicates, a provider that misbehaves, and
//! restarts in between.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::super::*;
use super::fixtures::{TestSession, policy};
use super::simulation::{CALL_FATES, CallFate, ReadyProof, SimulatedEvent, Simulation};
use crate::message::confirmation::v1::{DeciderKind, Result as SessionResult};

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Confirm), Just(Action::Cancel)]
}

fn events() -> impl Strategy<Value = SimulatedEvent> {
    prop_oneof![
        3 => (0..3_u8, prop::option::weighted(0.3, actions()), proofs())
            .prop_map(|(event, verdict, proof)| SimulatedEvent::Ready { event, verdict, proof }),
        3 => (actions(), 0..4_u8).prop_map(|(action, id)| SimulatedEvent::Decision { action, id }),
        1 => Just(SimulatedEvent::Finished),
        1 => Just(SimulatedEvent::Unverified),
        8 => prop::sample::select(&CALL_FATES[..]).prop_map(SimulatedEvent::Answer),
        1 => Just(SimulatedEvent::Straggler),
        1 => actions().prop_map(SimulatedEvent::EndsByItself),
        3 => (0..90_u32).prop_map(SimulatedEvent::Wait),
        2 => (0..5_000_u32).prop_map(SimulatedEvent::Wait),
        1 => (80_000..120_000_u32).prop_map(SimulatedEvent::Wait),
        2 => Just(SimulatedEvent::Restart),
        1 => prop::sample::select(&[ClockState::Trusted, ClockState::Untrusted][..]).prop_map(SimulatedEvent::Clock),
        1 => prop::sample::select(&[InputProgress::Behind { since: Timestamp::MIN }, InputProgress::CaughtUp][..]).prop_map(SimulatedEvent::Progress),
    ]
}

fn proofs() -> impl Strategy<Value = ReadyProof> {
    prop_oneof![
        6 => Just(ReadyProof::Whole),
        1 => Just(ReadyProof::Undated),
        1 => any::<bool>().prop_map(|dated| ReadyProof::Nothing { dated }),
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
        fates in prop::collection::vec(prop::sample::select(&CALL_FATES[..]), 0..8),
    ) {
        let mut simulation = Simulation::new(policy);
        for event in &history {
            simulation.happen(event);
            let kinds: BTreeSet<bool> = simulation.actions_called.iter().map(|action| *action == Action::Confirm).collect();
            prop_assert!(kinds.len() <= 1, "both actions were called");
            prop_assert!(simulation.outcomes.len() <= 1, "two outcomes");
            let is_open = matches!(&simulation.state, TestSession::Open(OpenSession { entry: SessionEntry::Awaiting(_) | SessionEntry::Decided(_), .. }));
            prop_assert!(simulation.outcomes.is_empty() || !is_open, "it opened again");
        }
        // A wait that began while the clock was wrong, or the inputs not read, is finished first.
        let last_end = simulation.policy.last_end_of(simulation.recorded_at).max(simulation.now + SignedDuration::from_secs(60));
        simulation.live_out(&fates);

        let opened = simulation.opened;
        prop_assert_eq!(simulation.outcomes.len(), usize::from(opened));
        prop_assert!(simulation.applied.windows(2).all(|two| two[0] == two[1]), "both actions were applied");
        if opened {
            let ended = simulation.outcomes.first().map_or(simulation.now, |outcome| outcome.known_at);
            prop_assert!(ended <= last_end, "it ended {} after its last end", ended.duration_since(last_end));
            check_cause(&simulation)?;
        }
        let counted = simulation.outcomes.iter().filter(|outcome| {
            outcome.decided.as_ref().is_some_and(|(_, decider, _)| decider.kind == DeciderKind::Decision)
        });
        prop_assert_eq!(
            counted.count() + simulation.rejections.len() + simulation.redelivered, simulation.decisions, "a decision is lost in silence"
        );
    }

    #[test]
    fn a_restart_at_any_point_changes_nothing_that_was_decided_or_done(
        policy in policies(),
        history in prop::collection::vec(events(), 0..30),
        restarts in prop::collection::vec(prop::option::of(prop::sample::select(&[CallFate::AnswerLost, CallFate::CallLost][..])), 30),
    ) {
        // The provider answers and the clock is right, so that nothing but what was read decides.
        let tame = |event: &SimulatedEvent| match event {
            SimulatedEvent::Answer(_) | SimulatedEvent::Straggler | SimulatedEvent::EndsByItself(_) | SimulatedEvent::Restart | SimulatedEvent::Clock(_) => {
                SimulatedEvent::Wait(1)
            }
            event => event.clone(),
        };
        let (mut steady, mut restarted) = (Simulation::new(policy.clone()), Simulation::new(policy));
        for (event, restart) in history.iter().map(tame).zip(restarts) {
            steady.happen(&event);
            restarted.happen(&event);
            if let Some(fate) = restart {
                restarted.crash(fate);
            }
            steady.settle();
            restarted.settle();
        }
        steady.live_out(&[]);
        restarted.live_out(&[]);
        let decided = |simulation: &Simulation| {
            let outcome = simulation.outcomes.first()?;
            outcome.decided.as_ref().map(|(action, decider, _)| (*action, decider.clone()))
        };
        prop_assert_eq!(decided(&steady), decided(&restarted));
        prop_assert_eq!(&steady.applied, &restarted.applied);
        // While the inputs are behind, a decision that waits in vain is looked at every second; a new process looks at once. So it may
        // be rejected a second sooner, and its redelivery is then a decision of its own.
        let in_vain = |simulation: &Simulation| simulation.rejections.len() + simulation.redelivered;
        prop_assert_eq!(in_vain(&steady), in_vain(&restarted));
        let reasons = |simulation: &Simulation| simulation.rejections.iter().map(|reason| format!("{reason:?}")).collect::<BTreeSet<_>>();
        prop_assert_eq!(reasons(&steady), reasons(&restarted));
    }
}

/// The outcome says what happened.
fn check_cause(simulation: &Simulation) -> Result<(), TestCaseError> {
    let outcome = simulation.outcomes.first().expect("it was opened");
    let action = outcome.decided.as_ref().map(|(action, ..)| *action);
    let ended = simulation.ended;
    match outcome.result {
        SessionResult::Accepted => {
            prop_assert!(
                action.is_some() && action == ended && outcome.attempts > 0,
                "accepted without cause: {outcome:?}"
            );
        }
        SessionResult::AlreadyDone => prop_assert!(action == Some(Action::Cancel) && ended == action),
        SessionResult::Refused => {
            prop_assert!(outcome.refusal.is_some());
            let odd = outcome.refusal.as_ref().is_some_and(|refusal| refusal.code != "bank_card_expired");
            prop_assert!(odd || simulation.refusals_given > 0, "refused without a refusal");
        }
        SessionResult::Superseded => prop_assert!(ended.is_some()),
        SessionResult::Expired => {
            prop_assert!(
                outcome.known_at >= simulation.policy.window_end(&outcome.opening),
                "expired inside the window"
            );
        }
        SessionResult::DryRun | SessionResult::Unspecified => prop_assert!(false, "{outcome:?}"),
    }
    prop_assert_eq!(outcome.verified, outcome.answered_at.is_some());
    Ok(())
}
