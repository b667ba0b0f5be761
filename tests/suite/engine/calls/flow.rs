//! How many calls go at once, in what order, which are never sent, and that each is answered once.

use std::collections::BTreeSet;

use super::*;

fn narrow(in_flight_max: usize) -> CallsSetup {
    let way = Way { in_flight_max, ..Way::default() };
    CallsSetup::with(way, simulator::SimulatorSettings::new(PROJECT, known_keys()))
}

/// The numbers of all calls in the order in which they came to the provider, told by their idempotency keys.
fn order(setup: &CallsSetup) -> Vec<u32> {
    let received = setup.simulator.session("ps_1").unwrap().received;
    let number = |key: Option<String>| key.unwrap().rsplit(':').next().unwrap().parse().unwrap();
    received.into_iter().map(|received| number(received.key)).collect()
}

#[test]
fn no_more_go_at_once_than_may_and_each_is_answered_once() {
    let setup = narrow(3);
    setup.simulator.misbehave(Fault::Hold, 20);
    for number in 1..=20 {
        setup.call(ProviderCall { key_number: number, ..call(number) });
    }
    setup.await_calls(3);
    assert_eq!(setup.caller.in_flight(), 3);
    assert_eq!(setup.counted("paybridge_confirmation_calls_in_flight", &[]), "3");
    assert_eq!(setup.simulator.calls(), 3, "the others wait");
    setup.simulator.release(20);
    let answered: BTreeSet<u32> = (0..20).map(|_| setup.answer().call.number).collect();
    assert_eq!(answered, (1..=20).collect());
    assert_eq!(setup.simulator.most_at_once(), 3);
    setup.expect_no_more_answers();
    assert_eq!(setup.counted("paybridge_confirmation_calls_total", &["confirm", "ok"]), "20");
    assert_eq!(setup.counted("paybridge_confirmation_call_duration_seconds_count", &["confirm"]), "20");
    assert_eq!(setup.counted("paybridge_confirmation_calls_in_flight", &[]), "0");
}

#[test]
fn what_is_due_first_goes_first() {
    let setup = narrow(1);
    setup.simulator.misbehave(Fault::Hold, 1);
    for (number, due_by) in (1..).zip([9, 5, 7, 5, 1]) {
        let due_by = Timestamp::from_second(due_by).unwrap();
        setup.call(ProviderCall { key_number: number, due_by, ..call(number) });
        // The first is on its way before the others come.
        setup.await_calls(1);
    }
    setup.simulator.release(1);
    setup.await_calls(5);
    let _all_answered: Vec<CallAnswer> = (0..5).map(|_| setup.answer()).collect();
    assert_eq!(order(&setup), [1, 5, 2, 4, 3]);
}

#[test]
fn what_waits_in_an_old_epoch_is_never_sent() {
    let setup = narrow(1);
    setup.simulator.misbehave(Fault::Hold, 1);
    for (number, epoch) in (1..).zip([1, 1, 2, 1, 3]) {
        setup.call(ProviderCall { key_number: number, epoch, ..call(number) });
    }
    setup.await_calls(1);
    setup.caller.forget(2);
    setup.simulator.release(1);
    let answered: Vec<u32> = (0..3).map(|_| setup.answer().call.number).collect();
    assert_eq!(answered, [1, 3, 5], "the one on its way is answered");
    assert_eq!(order(&setup), [1, 3, 5]);
}

/// The process may have been frozen meanwhile, and the session be another's by now.
#[test]
fn an_action_that_waited_for_too_long_is_never_sent_and_a_question_is() {
    let setup = CallsSetup::start();
    let long_ago = Instant::now().checked_sub(2 * PATIENT).unwrap();
    setup.caller.call(call(1), long_ago);
    assert_eq!(setup.answer().reply, Reply::NotSent);
    assert_eq!(setup.simulator.calls(), 0);
    assert_eq!(setup.counted("paybridge_confirmation_calls_total", &["confirm", "not_sent"]), "1");
    setup.caller.call(ProviderCall { operation: Operation::Status, ..call(2) }, long_ago);
    assert!(matches!(setup.answer().reply, Reply::Ok(Some(_))));
    assert!(matches!(setup.reply(Operation::Confirm, 1), Reply::Ok(_)));
}

#[test]
fn what_waits_when_the_caller_is_dropped_is_never_sent() {
    let setup = narrow(1);
    setup.simulator.misbehave(Fault::Hold, 1);
    for number in 1..=3 {
        setup.call(ProviderCall { key_number: number, ..call(number) });
    }
    setup.await_calls(1);
    let CallsSetup { caller, answers, simulator, runtime, .. } = setup;
    drop(caller);
    simulator.release(1);
    assert_eq!(answers.recv_timeout(LIMIT).unwrap().call.number, 1);
    assert_eq!(answers.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    assert_eq!(simulator.calls(), 1);
    drop(runtime);
}

/// A status call about the session of this number.
fn question(number: u32) -> ProviderCall {
    let key = SessionKey { source: "sg".into(), session_id: format!("ps_{number}").into() };
    ProviderCall { key, operation: Operation::Status, key_number: 0, ..call(number) }
}

/// The same, due so many seconds after an hour from now.
fn question_due(number: u32, second: i64) -> ProviderCall {
    let due_by = Timestamp::now() + SignedDuration::from_hours(1) + SignedDuration::from_secs(second);
    ProviderCall { due_by, ..question(number) }
}

fn open(setup: &CallsSetup) -> String {
    setup.counted("paybridge_confirmation_breaker_open", &["sg"])
}

/// Five sessions are asked about in vain.
#[track_caller]
fn open_with(setup: &CallsSetup, fault: Fault) {
    setup.simulator.misbehave(fault, 5);
    for number in 1..=5 {
        assert_eq!(open(setup), "0");
        setup.call(question(number));
        assert_eq!(setup.answer().reply, Reply::NotProcessed);
    }
    assert_eq!(open(setup), "1");
}

#[test]
fn a_provider_that_fails_again_and_again_is_left_alone_until_it_is_well() {
    let setup = CallsSetup::start();
    open_with(&setup, Fault::Unauthorized);
    setup.call(call(6));
    assert_eq!(setup.answer().reply, Reply::NotSent, "an action is not what finds out");
    setup.call(question(7));
    assert!(matches!(setup.answer().reply, Reply::Ok(_)), "held until a second has passed");
    assert_eq!(setup.simulator.calls(), 6);
    assert_eq!(open(&setup), "0");
    assert_eq!(setup.counted("paybridge_confirmation_calls_total", &["confirm", "not_sent"]), "1");
    setup.call(call(6));
    assert!(matches!(setup.answer().reply, Reply::Ok(_)));
}

#[test]
fn one_session_that_always_fails_holds_nobody_back() {
    let setup = CallsSetup::start();
    setup.simulator.misbehave(Fault::FailBefore, 20);
    for _ in 0..20 {
        setup.call(question(1));
        assert_eq!(setup.answer().reply, Reply::Unclear);
    }
    assert_eq!(open(&setup), "0");
    setup.call(question(2));
    assert!(matches!(setup.answer().reply, Reply::Ok(_)));
}

#[test]
fn of_the_sessions_that_wait_the_one_with_the_first_deadline_finds_out_and_what_failed_comes_last() {
    let setup = narrow(1);
    open_with(&setup, Fault::Unauthorized);
    setup.simulator.misbehave(Fault::Unauthorized, 2);
    for (number, second) in [(1, 1), (11, 40), (12, 30), (13, 20), (14, 50)] {
        setup.call(question_due(number, second));
    }
    let answered: Vec<(u32, bool)> = (0..5)
        .map(|_| setup.answer())
        .map(|answer| (answer.call.number, matches!(answer.reply, Reply::Ok(_))))
        .collect();
    // Two probes fail, and the third is well: then all go in the order of their deadlines.
    assert_eq!(answered, [(13, false), (12, false), (11, true), (1, true), (14, true)]);
    assert_eq!(open(&setup), "0");
}

#[test]
fn sessions_of_another_project_hold_back_themselves_alone() {
    let setup = CallsSetup::start();
    for number in 1..=40 {
        setup.simulator.disown(&format!("ps_{number}"));
    }
    for number in 1..=40 {
        setup.call(question(number));
        assert_eq!(setup.answer().reply, Reply::NotProcessed);
    }
    assert_eq!(open(&setup), "1");
    // Those that failed wait, although they are due first; a new one goes at once, and shows that we are well.
    for number in 1..=3 {
        setup.call(question_due(number, 1));
    }
    setup.call(ProviderCall { operation: Operation::Confirm, key_number: 1, ..question_due(41, 2) });
    let well: BTreeMap<u32, bool> = (0..4)
        .map(|_| setup.answer())
        .map(|answer| (answer.call.number, matches!(answer.reply, Reply::Ok(_))))
        .collect();
    assert_eq!(well, BTreeMap::from([(1, false), (2, false), (3, false), (41, true)]));
    assert_eq!(open(&setup), "0");
}

/// Each of them is sent once; then one at a time.
#[test]
fn a_wrong_project_is_not_tried_again_and_again() {
    let way = Way { project: "another", ..Way::default() };
    let setup = CallsSetup::with(way, simulator::SimulatorSettings::new(PROJECT, known_keys()));
    for number in 1..=30 {
        setup.call(question(number));
        assert_eq!(setup.answer().reply, Reply::NotProcessed);
    }
    for number in 1..=30 {
        setup.call(question_due(number, i64::from(number)));
    }
    for number in 1..=2 {
        let answer = setup.answer();
        assert_eq!((answer.call.number, answer.reply), (number, Reply::NotProcessed));
    }
    assert_eq!(setup.simulator.calls(), 32, "two probes, a second apart and two");
    setup.api.store(Arc::new(session_api(&format!("http://{}", setup.simulator.address), &Way::default())));
    let well = (0..28).filter(|_| matches!(setup.answer().reply, Reply::Ok(_))).count();
    assert_eq!((well, setup.simulator.calls(), open(&setup).as_str()), (28, 60, "0"));
}

#[test]
fn what_is_held_back_is_never_sent_in_an_old_epoch_or_after_its_session_ended() {
    let setup = CallsSetup::start();
    open_with(&setup, Fault::Unauthorized);
    for (number, epoch) in [(11, 1), (12, 2), (13, 2)] {
        setup.call(ProviderCall { epoch, ..question(number) });
    }
    setup.caller.forget(2);
    setup.caller.withdraw(&BTreeSet::from([question(12).key]));
    let answer = setup.answer();
    assert_eq!((answer.call.number, matches!(answer.reply, Reply::Ok(_))), (13, true));
    assert_eq!(setup.simulator.calls(), 6);
    setup.expect_no_more_answers();
}

#[test]
fn a_question_that_is_held_back_is_given_up_when_it_is_due() {
    let setup = CallsSetup::start();
    open_with(&setup, Fault::Unauthorized);
    setup.simulator.misbehave(Fault::Hold, 1);
    let began = Instant::now();
    let due_by = Timestamp::from_second(-1).unwrap();
    setup.call(ProviderCall { due_by, ..question(11) });
    setup.call(question(12));
    // The first finds out for longer than the second may be held.
    let answer = setup.answer();
    assert_eq!((answer.call.number, answer.reply), (12, Reply::NotSent));
    assert!(began.elapsed() >= Duration::from_secs(10));
    setup.simulator.release(1);
    let answer = setup.answer();
    assert_eq!((answer.call.number, matches!(answer.reply, Reply::Ok(_))), (11, true));
}

#[test]
fn calls_that_wait_when_a_provider_goes_away_are_not_sent_either() {
    let setup = narrow(1);
    let confirm = |number| ProviderCall { operation: Operation::Confirm, key_number: 1, ..question(number) };
    setup.simulator.misbehave(Fault::Hold, 1);
    setup.call(confirm(1));
    setup.await_calls(1);
    setup.simulator.misbehave(Fault::Unauthorized, 5);
    for number in 2..=10 {
        setup.call(confirm(number));
    }
    setup.simulator.release(1);
    let replies: Vec<Reply> = (0..10).map(|_| setup.answer().reply).collect();
    assert!(matches!(replies[0], Reply::Ok(_)));
    assert!(replies[1..6].iter().all(|reply| *reply == Reply::NotProcessed), "{replies:?}");
    assert!(replies[6..].iter().all(|reply| *reply == Reply::NotSent), "{replies:?}");
    assert_eq!(setup.simulator.calls(), 6);
    assert_eq!(setup.counted("paybridge_confirmation_calls_total", &["confirm", "not_sent"]), "4");
}
