//! Clocks that are wrong, of an ingress replica and of the engine: no session is decided by one, and none is lost.

use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paybridge::message::confirmation::v1::{Action, DeciderKind, Result};
use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::{Operation, SessionView};
use paybridge::simulator::ProviderClock;
use prost::Message;

use crate::support::bridge::{key_file, sender};
use crate::support::daemon::{Daemon, Exchange};
use crate::support::engine_setup::{EngineSetup, PROJECT, READY, ready_body, waiting_event};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::shifted_clock::ShiftedClock;

/// 5.00 and less is confirmed, all else waits.
pub const SMALL_ARE_CONFIRMED: &str = r#"
[[confirmation.rules]]
name = "small"
when = 'session.operations.all(o, o.amount.minor_units >= 1 && o.amount.minor_units <= 500)'
then = "confirm"
"#;
const RIGHT: SignedDuration = SignedDuration::ZERO;
/// The clock is proved every 30 s: three times.
const PROVED_WITHIN: Duration = Duration::from_secs(90);

/// Waits until `/metrics` shows a line.
#[track_caller]
pub fn await_shown(daemon: &Daemon, line: &str) {
    let client = daemon.client();
    eventually(PROVED_WITHIN, || match client.admin("/metrics") {
        Exchange::Answered(answered) if answered.text.lines().any(|shown| shown == line) => Ok(()),
        other => Err(format!("no {line}: {}\n{}", matches!(other, Exchange::Answered(_)), daemon.log())),
    });
}

/// Waits until the engine's clock is trusted, or is not.
#[track_caller]
pub fn await_trust(daemon: &Daemon, trusted: &str) {
    await_shown(daemon, &format!("paybridge_clock_trusted{{part=\"engine\"}} {trusted}"));
}

/// Its `received_at` would put the window's end into the past.
#[test]
fn an_ingress_replica_four_hours_behind_cancels_nothing() {
    let (setup, text) = EngineSetup::for_process_with_topics(SMALL_ARE_CONFIRMED);
    let ingress = text.replace("[confirmation]\nenabled = true", "[confirmation]\nenabled = false");
    assert_ne!(ingress, text);
    let daemon = Daemon::run_with_clock(&ingress, ShiftedClock::by(SignedDuration::from_hours(-4)));
    daemon.await_ready();
    let engine = setup.engine();
    let sender = sender(&daemon.config, "sg-main");
    for id in ["ps_1", "ps_2", "ps_3"] {
        let body = ready_body(id, "ready", Timestamp::now(), 100).to_string();
        let answer = daemon.client().post("sg-main", &sender.sign("", body.into(), Timestamp::now(), 0));
        assert!(matches!(&answer, Exchange::Answered(answered) if answered.status == 200), "{answer:?}");
    }
    for (id, outcome) in setup.await_outcomes(3) {
        assert_eq!((outcome.result(), outcome.decided_by_kind()), (Result::Accepted, DeciderKind::Rule), "{id}");
        assert_eq!(setup.provider.session(&id).unwrap().actions(), [Operation::Confirm], "{id}");
        assert!(outcome.remaining_seconds > 14_000, "{id}: {}", outcome.remaining_seconds);
    }
    engine.stop().unwrap();
}

/// With an existing ledger, in which a session has ended: it is neither forgotten nor decided again.
#[test]
fn an_engine_whose_clock_is_wrong_at_the_start_decides_nothing_and_loses_nothing() {
    // Side by side: each waits for more than a minute.
    thread::scope(|scope| {
        for hours in [25, 5, -30] {
            let (setup, text) = EngineSetup::for_process_with_topics(SMALL_ARE_CONFIRMED);
            scope.spawn(move || starts_with_a_wrong_clock(&setup, &text, hours));
        }
    });
}

fn starts_with_a_wrong_clock(setup: &EngineSetup, text: &str, hours: i64) {
    let engine = setup.engine();
    setup.ready("ps_ended", Timestamp::now(), 100);
    setup.await_outcome("ps_ended");
    engine.stop().unwrap();

    let daemon = Daemon::run_with_clock(text, ShiftedClock::by(SignedDuration::from_hours(hours)));
    daemon.await_ready();
    await_trust(&daemon, "0");
    setup.ready("ps_ruled", Timestamp::now(), 100);
    setup.ready("ps_held", Timestamp::now(), 600);
    setup.ready("ps_ended", Timestamp::now(), 100);
    setup.await_entries("ps_ruled", 1);
    setup.await_entries("ps_held", 1);
    assert_eq!(setup.outcomes().len(), 1, "{hours} h");
    // The line about the second one comes a minute after the first one's. Meanwhile the clock is proved wrong again.
    eventually(LIMIT, || {
        let log = daemon.log();
        let is_named =
            ["clock of this host is not trusted", "ps_ruled", "ps_held"].iter().all(|part| log.contains(part));
        is_named.then_some(()).ok_or(format!("the log names no sessions: {log}"))
    });
    assert!(setup.provider.session("ps_ruled").is_none_or(|session| session.actions().is_empty()), "{hours} h");
    daemon.shift_clock(RIGHT);
    await_trust(&daemon, "1");
    assert_eq!(setup.await_outcome("ps_ruled").decided_by_kind(), DeciderKind::Rule, "{hours} h");
    setup.decide("ps_held", Action::Cancel, "by hand");
    assert_eq!(setup.await_outcome("ps_held").decision_id, "by hand", "{hours} h");
    setup.await_outcomes(3);
    assert_eq!(setup.provider.session("ps_ended").unwrap().actions(), [Operation::Confirm], "{hours} h");
}

/// Its window would be over by the clock, or its memory.
#[test]
fn an_engine_whose_clock_is_set_while_it_runs_decides_nothing_by_it() {
    let (setup, text) = EngineSetup::for_process_with_topics(SMALL_ARE_CONFIRMED);
    let daemon = Daemon::run_with_clock(&text, ShiftedClock::by(RIGHT));
    daemon.await_ready();
    setup.ready("ps_waits", Timestamp::now(), 600);
    setup.await_entries("ps_waits", 1);
    for (round, hours) in [5, -3, 25].into_iter().enumerate() {
        daemon.shift_clock(SignedDuration::from_hours(hours));
        await_trust(&daemon, "0");
        let fresh = format!("ps_fresh_{round}");
        setup.ready(&fresh, Timestamp::now(), 100);
        setup.await_entries(&fresh, 1);
        assert_eq!(setup.outcomes().len(), round, "{hours} h");
        daemon.shift_clock(RIGHT);
        await_trust(&daemon, "1");
        assert_eq!(setup.await_outcome(&fresh).decided_by_kind(), DeciderKind::Rule, "{hours} h");
    }
    setup.decide("ps_waits", Action::Confirm, "in time");
    assert_eq!(setup.await_outcome("ps_waits").decision_id, "in time");
    setup.await_outcomes(4);
}

/// The provider cancelled the session within its window; by the clock it is over.
#[test]
fn a_session_is_not_told_as_expired_by_a_wrong_clock() {
    let (setup, text) = EngineSetup::for_process_with_topics("");
    let daemon = Daemon::run_with_clock(&text, ShiftedClock::by(RIGHT));
    daemon.await_ready();
    setup.ready("ps_1", Timestamp::now(), 100);
    setup.await_entries("ps_1", 1);
    await_trust(&daemon, "1");
    setup.provider.open("ps_1", SessionView { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified });
    daemon.shift_clock(SignedDuration::from_hours(5));
    await_trust(&daemon, "0");
    // The provider's word may end it at once, or when a decision brings the question.
    setup.decide("ps_1", Action::Cancel, "by hand");
    let outcome = setup.await_outcome("ps_1");
    let by_provider = [Result::Superseded, Result::AlreadyDone].contains(&outcome.result());
    assert!(by_provider && outcome.verified, "{outcome:?}");
}

/// An answer of the provider's came while the clock was wrong.
#[test]
fn trust_heals_by_itself_after_an_answer_that_came_while_the_clock_was_wrong() {
    let (setup, text) = EngineSetup::for_process_with_topics("");
    let daemon = Daemon::run_with_clock(&text, ShiftedClock::by(RIGHT));
    daemon.await_ready();
    setup.ready("ps_1", Timestamp::now(), 100);
    setup.await_entries("ps_1", 1);
    await_trust(&daemon, "1");
    daemon.shift_clock(SignedDuration::from_hours(1));
    await_trust(&daemon, "0");
    setup.decide("ps_1", Action::Confirm, "by hand");
    setup.await_outcome("ps_1");
    daemon.shift_clock(RIGHT);
    await_trust(&daemon, "1");
}

/// Ten minutes wrong for good: that holds this provider's sessions, and those of no other.
#[test]
fn a_wrong_date_of_one_provider_holds_no_session_of_another() {
    for other_clock in [ProviderClock::Offset(RIGHT), ProviderClock::Silent] {
        let other = EngineSetup::new("");
        other.provider.set_clock(other_clock);
        let (setup, text) = EngineSetup::for_process_with_topics("default = \"confirm\"");
        let (public, private) = (key_file("smart-glocal-public.pem"), key_file("smart-glocal-private.pem"));
        let second = format!(
            "[sources.sg-second]\nprovider = \"smart-glocal\"\npublic_key_files = [\"{}\"]\n[sources.sg-second.api]\n\
             base_url = \"http://{}\"\nversion = 2\nproject = \"{PROJECT}\"\nprivate_key_file = \"{}\"\n",
            public.display(),
            other.provider.address,
            private.display(),
        );
        let daemon = Daemon::run(&format!("{text}\n{second}"));
        daemon.await_ready();
        await_trust(&daemon, "1");
        setup.provider.set_clock(ProviderClock::Offset(SignedDuration::from_mins(10)));
        setup.ready("ps_main", Timestamp::now(), 100);
        setup.await_outcome("ps_main");
        let mut event = waiting_event("ps_second", Timestamp::now(), 100);
        event.metadata.as_mut().unwrap().source = "sg-second".to_owned();
        setup.write(READY, "ps_second", &event.encode_to_vec());
        let outcome = setup.await_outcome("ps_second");
        assert_eq!((outcome.result(), outcome.source.as_str()), (Result::Accepted, "sg-second"));
    }
}
