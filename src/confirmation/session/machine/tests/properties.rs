//! The machine's properties, by generated histories: events in any order, any duplicates, a provider that misbehaves, and
//! restarts in between.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::super::*;
use super::fixtures::{Lived, policy};
use super::simulation::{Event, FATES, Fate, Proof, World};
use crate::message::confirmation::v1::{DeciderKind, Result as Told};

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Confirm), Just(Action::Cancel)]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..3_u8, prop::option::weighted(0.3, actions()), proofs())
            .prop_map(|(event, verdict, proof)| Event::Ready { event, verdict, proof }),
        3 => (actions(), 0..4_u8).prop_map(|(action, id)| Event::Decision { action, id }),
        1 => Just(Event::Finished),
        1 => Just(Event::Unverified),
        8 => prop::sample::select(&FATES[..]).prop_map(Event::Answer),
        1 => Just(Event::Straggler),
        1 => actions().prop_map(Event::EndsByItself),
        3 => (0..90_u32).prop_map(Event::Wait),
        2 => (0..5_000_u32).prop_map(Event::Wait),
        1 => (80_000..120_000_u32).prop_map(Event::Wait),
        2 => Just(Event::Restart),
        1 => prop::sample::select(&[Trust::Trusted, Trust::Untrusted][..]).prop_map(Event::Trust),
        1 => prop::sample::select(&[Reading::Behind { since: Timestamp::MIN }, Reading::CaughtUp][..]).prop_map(Event::Reading),
    ]
}

fn proofs() -> impl Strategy<Value = Proof> {
    prop_oneof![
        6 => Just(Proof::Whole),
        1 => Just(Proof::Undated),
        1 => any::<bool>().prop_map(|dated| Proof::Nothing { dated }),
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
            let is_open = matches!(&world.state, Lived::Open(Open { entry: Entry::Awaiting(_) | Entry::Decided(_), .. }));
            prop_assert!(world.outcomes.is_empty() || !is_open, "it opened again");
        }
        // A rest that began while the clock was wrong, or the inputs not read, is finished first.
        let last_end = world.policy.last_end_of(world.recorded_at).max(world.now + SignedDuration::from_secs(60));
        world.live_out(&fates);

        let opened = world.opened;
        prop_assert_eq!(world.outcomes.len(), usize::from(opened));
        prop_assert!(world.applied.windows(2).all(|two| two[0] == two[1]), "both actions were applied");
        if opened {
            let ended = world.outcomes.first().map_or(world.now, |outcome| outcome.known_at);
            prop_assert!(ended <= last_end, "it ended {} after its last end", ended.duration_since(last_end));
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
        // The provider answers and the clock is right, so that nothing but what was read decides.
        let tame = |event: &Event| match event {
            Event::Answer(_) | Event::Straggler | Event::EndsByItself(_) | Event::Restart | Event::Trust(_) => {
                Event::Wait(1)
            }
            event => event.clone(),
        };
        let (mut steady, mut restarted) = (World::new(policy.clone()), World::new(policy));
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
