//! When the breaker opens, whom it then holds back, and how it finds out that it may close.

use proptest::prelude::*;

use super::*;

fn session(number: usize) -> SessionKey {
    SessionKey { source: "sg".into(), session_id: format!("ps_{number}").into() }
}

/// A call about the session of this number, which gets a permit and comes to this.
#[track_caller]
fn hear(breaker: &mut Breaker, number: usize, health: Health, now: Instant) -> Option<BreakerChange> {
    let permit = breaker.permit(&session(number), now).unwrap();
    breaker.record(&session(number), permit, health, now)
}

/// Opened by the sessions 0 to 4.
#[track_caller]
fn opened(health: Health, now: Instant) -> Breaker {
    let mut breaker = Breaker::new();
    for number in 1..FAILURES_TO_OPEN {
        assert_eq!(hear(&mut breaker, number, health, now), None);
    }
    assert_eq!(hear(&mut breaker, 0, health, now), Some(BreakerChange::Opened));
    breaker
}

const FAILURES: [Health; 2] = [Health::ProviderFailure, Health::SessionFailure];

#[test]
fn opens_after_failures_of_five_sessions_that_nothing_contradicted() {
    let now = Instant::now();
    for health in FAILURES {
        let mut breaker = Breaker::new();
        for _ in 0..3 {
            for number in 1..FAILURES_TO_OPEN {
                assert_eq!(hear(&mut breaker, number, health, now), None);
            }
            assert_eq!(hear(&mut breaker, 9, Health::Success, now), None);
        }
        let breaker = opened(health, now);
        assert!(!breaker.allows(&session(0), now + Duration::from_millis(999)));
        assert!(breaker.allows(&session(0), now + PAUSE_MIN));
    }
}

#[test]
fn one_session_that_always_fails_opens_nothing() {
    let now = Instant::now();
    for health in FAILURES {
        let mut breaker = Breaker::new();
        for _ in 0..100 {
            assert_eq!(hear(&mut breaker, 1, health, now), None);
        }
        assert!(breaker.allows(&session(1), now) && breaker.allows(&session(2), now));
    }
}

#[test]
fn an_outage_holds_back_every_session_and_what_concerns_each_alone_only_those_that_failed() {
    let now = Instant::now();
    let outage = opened(Health::ProviderFailure, now);
    let mut foreign = opened(Health::SessionFailure, now);
    for number in 0..10 {
        assert!(!outage.allows(&session(number), now));
        assert_eq!(foreign.allows(&session(number), now), number >= FAILURES_TO_OPEN, "{number}");
    }
    // 35 more of the same kind hold back themselves alone; then one success shows that all is well.
    for number in 5..40 {
        assert_eq!(hear(&mut foreign, number, Health::SessionFailure, now), None);
        assert_eq!(foreign.permit(&session(number), now), None);
    }
    assert_eq!(hear(&mut foreign, 40, Health::Success, now), Some(BreakerChange::Closed));
    assert!(foreign.allows(&session(0), now));
}

#[test]
fn an_outage_among_foreign_sessions_holds_back_all() {
    let now = Instant::now();
    let mut breaker = opened(Health::SessionFailure, now);
    for number in 10..14 {
        assert_eq!(hear(&mut breaker, number, Health::ProviderFailure, now), None);
        assert!(breaker.allows(&session(20), now));
    }
    assert_eq!(hear(&mut breaker, 14, Health::ProviderFailure, now), None, "it is open already");
    assert!(!breaker.allows(&session(20), now));
}

#[test]
fn a_refusal_for_the_account_is_a_good_answer_only_where_there_ever_was_one() {
    let now = Instant::now();
    let mut breaker = opened(Health::SuccessOnceProven, now);
    assert_eq!(hear(&mut breaker, 9, Health::Success, now), Some(BreakerChange::Closed));
    for number in 0..10 {
        assert_eq!(hear(&mut breaker, number, Health::SuccessOnceProven, now), None);
    }
    assert!(breaker.allows(&session(0), now));
}

#[test]
fn pauses_longer_after_each_failed_probe_up_to_a_bound() {
    for (health, pauses) in
        [(Health::ProviderFailure, [1, 2, 4, 8, 16, 30, 30]), (Health::SessionFailure, [1, 2, 4, 5, 5, 5, 5])]
    {
        let mut now = Instant::now();
        let mut breaker = opened(health, now);
        let held = session(0);
        for seconds in pauses {
            let almost = now + Duration::from_millis(seconds * 1000 - 1);
            assert_eq!((breaker.permit(&held, almost), breaker.is_probe_due(almost)), (None, false));
            now += Duration::from_secs(seconds);
            assert!(breaker.is_probe_due(now) && !breaker.is_closed_for(&held));
            assert_eq!(breaker.permit(&held, now), Some(Permit::Probe));
            let second = (breaker.permit(&held, now), breaker.allows(&held, now), breaker.is_probe_due(now));
            assert_eq!(second, (None, false, false), "one probe at a time");
            assert_eq!(breaker.record(&session(1), Permit::Ordinary, health, now), None, "a late failure");
            assert_eq!(breaker.permit(&held, now), None);
            assert_eq!(breaker.record(&held, Permit::Probe, health, now), None);
        }
        now += PAUSE_MAX;
        assert_eq!(breaker.permit(&held, now), Some(Permit::Probe));
        assert_eq!(breaker.record(&held, Permit::Probe, Health::Success, now), Some(BreakerChange::Closed));
        assert_eq!((breaker.permit(&held, now), breaker.is_closed_for(&held)), (Some(Permit::Ordinary), true));
        assert!(!opened(health, now).allows(&held, now), "the pause begins anew");
    }
}

/// The provider answers again, and the probe was somebody else's session: the others need not wait for a better one.
#[test]
fn a_probe_that_fails_for_its_session_alone_keeps_nobody_else_shut_out() {
    let mut now = Instant::now();
    let mut breaker = opened(Health::ProviderFailure, now);
    now += PAUSE_MIN;
    assert!(breaker.permit(&session(0), now).is_some());
    assert!(!breaker.allows(&session(20), now));
    assert_eq!(breaker.record(&session(0), Permit::Probe, Health::SessionFailure, now), None);
    assert!(breaker.allows(&session(20), now));
    // Its failure is one of five of the outage no more; so another one is needed to hold back all again.
    assert_eq!(hear(&mut breaker, 20, Health::ProviderFailure, now), None);
    assert!(!breaker.allows(&session(21), now));
}

#[test]
fn counts_how_often_each_session_failed_since_the_last_good_answer() {
    let now = Instant::now();
    let mut breaker = opened(Health::ProviderFailure, now);
    assert_eq!(breaker.failures(&session(9)), 0);
    for times in 1..4 {
        assert_eq!(breaker.failures(&session(0)), times);
        assert_eq!(breaker.record(&session(0), Permit::Ordinary, Health::SessionFailure, now), None);
    }
    assert_eq!(breaker.record(&session(1), Permit::Ordinary, Health::Success, now), Some(BreakerChange::Closed));
    assert_eq!(breaker.failures(&session(0)), 0);
}

#[test]
fn remembers_a_bounded_number_of_sessions_and_holds_back_the_others_with_them() {
    let now = Instant::now();
    let mut breaker = Breaker::new();
    for number in 0..=FAILED_MAX {
        breaker.record(&session(number), Permit::Ordinary, Health::SessionFailure, now);
    }
    assert_eq!(breaker.failed.len(), FAILED_MAX);
    assert!(!breaker.allows(&session(FAILED_MAX + 7), now));
    assert!(breaker.allows(&session(FAILED_MAX + 7), now + PAUSE_MIN));
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![
        Just(Health::ProviderFailure),
        Just(Health::ProviderFailure),
        Just(Health::SessionFailure),
        Just(Health::SessionFailure),
        Just(Health::SuccessOnceProven),
        Just(Health::Success)
    ]
}

proptest! {
    /// However calls and answers come, late ones among them: changes alternate, no session is ever kept waiting for longer
    /// than the longest pause after the last probe, and what is counted is what is remembered.
    #[test]
    fn changes_alternate_and_it_opens_itself_again(
        steps in prop::collection::vec((0_u64..3000, 0_usize..9, health(), any::<bool>()), 0..300),
    ) {
        let mut now = Instant::now();
        let (mut breaker, mut is_open) = (Breaker::new(), false);
        let mut on_their_way: Vec<(SessionKey, Permit)> = Vec::new();
        for (milliseconds, number, health, is_late) in steps {
            now += Duration::from_millis(milliseconds);
            let key = session(number);
            let passable = breaker.allows(&key, now);
            let permit = breaker.permit(&key, now);
            prop_assert_eq!(passable, permit.is_some());
            on_their_way.extend(permit.map(|permit| (key, permit)));
            if is_late || on_their_way.is_empty() {
                continue;
            }
            let (key, permit) = on_their_way.remove(number % on_their_way.len());
            match breaker.record(&key, permit, health, now) {
                Some(BreakerChange::Opened) => prop_assert!(!std::mem::replace(&mut is_open, true)),
                Some(BreakerChange::Closed) => prop_assert!(std::mem::replace(&mut is_open, false)),
                None => {}
            }
            prop_assert_eq!(matches!(breaker.state, BreakerState::Closed), !is_open);
            let for_all = breaker.failed.values().filter(|failed| failed.scope == BreakerScope::AllSessions).count();
            prop_assert_eq!(breaker.failed_for_all, for_all);
            let is_probing = matches!(breaker.state, BreakerState::HalfOpen { .. });
            let any_session = session(100 + number);
            prop_assert!(is_probing || breaker.allows(&any_session, now + PAUSE_MAX));
        }
    }

    /// Sessions that fail for themselves alone, however many and in whatever order, hold back no other session.
    #[test]
    fn foreign_sessions_never_hold_back_others(
        steps in prop::collection::vec((0_u64..3000, 0_usize..40), 0..300),
    ) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new();
        for (milliseconds, number) in steps {
            now += Duration::from_millis(milliseconds);
            if let Some(permit) = breaker.permit(&session(number), now) {
                breaker.record(&session(number), permit, Health::SessionFailure, now);
            }
            prop_assert!(breaker.allows(&session(40), now));
        }
    }
}
