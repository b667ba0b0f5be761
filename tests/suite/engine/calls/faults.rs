//! Each way in which a provider or the network can disappoint, and what the engine hears of it.

use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::SessionView;

use super::*;

/// What one confirmation comes to under a fault, and whether it had its effect.
#[track_caller]
fn check(fault: &Fault, expect: &Reply, applied: &[Operation]) {
    let way = Way { timeout: Duration::from_secs(2), ..Way::default() };
    let setup = CallsSetup::with(way, simulator::SimulatorSettings::new(PROJECT, known_keys()));
    setup.simulator.misbehave(fault.clone(), 1);
    assert_eq!(&setup.reply(Operation::Confirm, 1), expect, "{fault:?}");
    assert_eq!(setup.applied(), applied, "{fault:?}");
    assert_eq!(setup.simulator.calls(), 1, "{fault:?}: sent once, whatever comes of it");
    setup.expect_no_more_answers();
}

#[test]
fn what_says_nothing_is_unclear_whether_it_had_its_effect_or_not() {
    for fault in [Fault::FailBefore, Fault::LoseRequest, Fault::Redirect] {
        check(&fault, &Reply::Unclear, &[]);
    }
    for fault in [Fault::FailAfter, Fault::LoseAnswer, Fault::Garbage, Fault::Huge] {
        check(&fault, &Reply::Unclear, &[Operation::Confirm]);
    }
}

#[test]
fn what_takes_too_long_is_unclear_at_the_end_of_the_time_to_its_last_byte() {
    check(&Fault::Hold, &Reply::Unclear, &[]);
    check(&Fault::Drip, &Reply::Unclear, &[Operation::Confirm]);
}

#[test]
fn what_was_not_processed_had_no_effect() {
    for fault in [Fault::Unauthorized, Fault::NotFound, Fault::TooMany("1")] {
        check(&fault, &Reply::NotProcessed, &[]);
    }
}

#[test]
fn what_the_provider_says_is_told() {
    let description = || "said by the simulated provider".to_owned();
    let refused = Reply::Refused { code: "account_not_found".to_owned(), description: description() };
    check(&Fault::Refuse("account_not_found"), &refused, &[]);
    let unknown = Reply::UnknownCode { code: "later".to_owned(), description: description() };
    check(&Fault::Refuse("later"), &unknown, &[]);
    check(&Fault::BurnKey, &Reply::TryAgain, &[]);
    let taken = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Unspecified };
    check(&Fault::Delay(Duration::from_millis(100)), &Reply::Ok(Some(taken)), &[Operation::Confirm]);
}

#[test]
fn an_answer_that_came_compressed_or_behind_a_mark_is_read() {
    let taken = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Unspecified };
    for fault in [Fault::Gzip, Fault::Mark] {
        check(&fault, &Reply::Ok(Some(taken)), &[Operation::Confirm]);
    }
    let description = "said by the simulated provider".to_owned();
    let refused = Reply::Refused { code: "bank_card_expired".to_owned(), description };
    check(&Fault::RefuseBarely("bank_card_expired"), &refused, &[]);
}

#[test]
fn without_a_connection_or_an_address_nothing_was_processed() {
    let setup = CallsSetup::calling_nobody();
    assert_eq!(setup.reply(Operation::Confirm, 1), Reply::NotProcessed);
    assert_eq!(setup.counted("paybridge_confirmation_calls_total", &["confirm", "not_processed"]), "1");
    let mut stranger = call(2);
    stranger.key.source = "other".into();
    setup.call(stranger);
    assert_eq!(setup.answer().reply, Reply::NotSent);
    assert_eq!(setup.counted("paybridge_confirmation_calls_total", &["confirm", "not_sent"]), "1");
    setup.expect_no_more_answers();
}

#[test]
fn the_end_of_the_runtime_leaves_a_call_unclear() {
    let setup = CallsSetup::start();
    setup.simulator.misbehave(Fault::Hold, 1);
    setup.call(call(1));
    setup.await_calls(1);
    let CallsSetup { runtime, caller, answers, .. } = setup;
    runtime.shutdown_timeout(LIMIT);
    let answer = answers.recv_timeout(LIMIT).unwrap();
    assert_eq!((answer.call, answer.reply), (call(1), Reply::Unclear));
    assert_eq!(caller.in_flight(), 0);
    assert_eq!(answers.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
}

#[test]
fn hears_how_long_to_wait() {
    let setup = CallsSetup::start();
    for (asked, expect) in [("7", Some(7)), ("100000", Some(900)), ("soon", None)] {
        setup.simulator.misbehave(Fault::TooMany(asked), 1);
        let waits = setup.ask(Operation::Status, 0).retry_after;
        assert_eq!(waits, expect.map(Duration::from_secs), "{asked}");
    }
    assert_eq!(setup.ask(Operation::Status, 0).retry_after, None);
}

#[test]
fn hears_how_far_the_clocks_are_apart() {
    use simulator::ProviderClock::{Offset, Silent};
    let setup = CallsSetup::start();
    let hour = SignedDuration::from_hours(1);
    for (offset, expect) in [(-hour, hour), (SignedDuration::ZERO, SignedDuration::ZERO), (hour, -hour)] {
        setup.simulator.set_clock(Offset(offset));
        let skew = setup.ask(Operation::Status, 0).clock_skew.unwrap();
        let wrong = (skew - expect).unsigned_abs();
        assert!(wrong < PATIENT, "{offset}: {skew}");
    }
    setup.simulator.misbehave(Fault::LoseAnswer, 1);
    assert_eq!(setup.ask(Operation::Status, 0).clock_skew, None);
    setup.simulator.set_clock(Silent);
    assert_eq!(setup.ask(Operation::Status, 0).clock_skew, None);
}
