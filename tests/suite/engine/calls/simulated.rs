//! The simulated provider itself: that it remembers keys, tells the truth, hides no violation, and forgets on demand.

use std::sync::Mutex;

use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::SessionView;
use paybridge::simulator::{Applied, SecondActions, UnknownSessions};

use super::*;

const CONFIRM: Operation = Operation::Confirm;
const CANCEL: Operation = Operation::Cancel;
const STATUS: Operation = Operation::Status;

const WAITING: SessionView = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Confirm };
const TAKEN: SessionView = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Unspecified };

fn ended(status: SessionStatus) -> Reply {
    Reply::Ok(Some(SessionView { status, next_action: NextAction::Unspecified }))
}

fn said(code: &str) -> Reply {
    Reply::UnknownCode { code: code.to_owned(), description: "said by the simulated provider".to_owned() }
}

fn settings() -> simulator::SimulatorSettings {
    simulator::SimulatorSettings::new(PROJECT, known_keys())
}

fn simulating(settings: simulator::SimulatorSettings) -> CallsSetup {
    CallsSetup::with(Way::default(), settings)
}

#[test]
fn a_key_counts_once_until_it_is_forgotten() {
    let setup = simulating(settings());
    assert_eq!(setup.reply(STATUS, 0), Reply::Ok(Some(WAITING)));
    assert!(matches!(setup.reply(CONFIRM, 1), Reply::Ok(_)));
    assert_eq!(setup.reply(CONFIRM, 1), Reply::KeyExists);
    setup.simulator.misbehave(Fault::BurnKey, 1);
    assert_eq!(setup.reply(CONFIRM, 2), Reply::TryAgain);
    assert_eq!(setup.reply(CONFIRM, 2), Reply::KeyExists);
    assert_eq!(setup.applied(), [CONFIRM]);
    setup.simulator.forget_keys();
    assert!(matches!(setup.reply(CONFIRM, 1), Reply::Ok(_)));
    setup.simulator.misbehave(Fault::ForgetKeys, 1);
    assert!(matches!(setup.reply(CONFIRM, 1), Reply::Ok(_)));
    assert_eq!(setup.applied(), [CONFIRM; 3]);
}

#[test]
fn a_naive_one_applies_and_records_what_it_should_not() {
    let applied = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&applied);
    let hook = move |action: &Applied| told.lock().unwrap().push(action.operation);
    let setup = simulating(simulator::SimulatorSettings { applied: Some(Arc::new(hook)), ..settings() });
    for (operation, key_number) in [(CONFIRM, 1), (CONFIRM, 2), (CANCEL, 1)] {
        assert!(matches!(setup.reply(operation, key_number), Reply::Ok(_)));
    }
    assert_eq!(setup.applied(), [CONFIRM, CONFIRM, CANCEL]);
    assert_eq!(*applied.lock().unwrap(), [CONFIRM, CONFIRM, CANCEL]);
    assert_eq!(setup.reply(STATUS, 0), ended(SessionStatus::Accepted), "the first decided");
    let session = setup.simulator.sessions().remove("ps_1").unwrap();
    let keys: Vec<Option<&str>> = session.received.iter().map(|received| received.key.as_deref()).collect();
    assert_eq!(keys, [Some("confirm:ps_1:1"), Some("confirm:ps_1:2"), Some("cancel:ps_1:1"), None]);
    assert_eq!(session.applied[2].key.as_deref(), Some("cancel:ps_1:1"));
}

#[test]
fn a_strict_one_refuses_second_actions_and_strangers() {
    let setup = simulating(simulator::SimulatorSettings {
        unknown_sessions: UnknownSessions::Refuse,
        second_actions: SecondActions::Refuse,
        finish_after: Duration::from_hours(1),
        ..settings()
    });
    assert_eq!(setup.reply(CONFIRM, 1), said("session_not_found"));
    setup.simulator.open("ps_1", WAITING);
    assert_eq!(setup.reply(CANCEL, 1), Reply::Ok(Some(TAKEN)));
    assert_eq!(setup.reply(STATUS, 0), Reply::Ok(Some(TAKEN)), "it has not ended yet");
    assert_eq!(setup.reply(CONFIRM, 2), said("session_already_finished"));
    assert_eq!(setup.applied(), [CANCEL]);
    setup
        .simulator
        .open("ps_1", SessionView { status: SessionStatus::Cancelled, next_action: NextAction::Unspecified });
    assert_eq!(setup.reply(STATUS, 0), ended(SessionStatus::Cancelled));
}

#[test]
fn a_session_that_is_refused_is_never_acted_on() {
    let setup = simulating(settings());
    setup.simulator.refuse("ps_1", "account_not_found");
    assert_eq!(setup.reply(STATUS, 0), Reply::Ok(Some(WAITING)));
    for (operation, key_number) in [(CONFIRM, 1), (CANCEL, 1), (CONFIRM, 2)] {
        assert!(
            matches!(setup.reply(operation, key_number), Reply::Refused { code, .. } if code == "account_not_found")
        );
    }
    assert_eq!(setup.applied(), []);
}

#[test]
fn a_forgotten_session_is_unknown_to_calls_only() {
    let setup = simulating(settings());
    assert!(matches!(setup.reply(CONFIRM, 1), Reply::Ok(_)));
    setup.simulator.forget_session("ps_1");
    assert_eq!(setup.reply(STATUS, 0), said("session_not_found"));
    assert_eq!(setup.applied(), [CONFIRM]);
    setup.simulator.open("ps_1", WAITING);
    setup.simulator.misbehave_at(STATUS, Fault::ForgetSession, 1);
    assert_eq!(setup.reply(STATUS, 0), said("session_not_found"));
    assert_eq!(setup.reply(CONFIRM, 2), said("session_not_found"));
}

#[test]
fn chance_is_repeated_by_its_seed() {
    let replies = |seed| {
        let per_mille = vec![(300, Fault::FailAfter), (300, Fault::BurnKey)];
        let faults = simulator::Faults { seed, per_mille };
        let setup = simulating(simulator::SimulatorSettings { faults, ..settings() });
        // Fewer than five unclear ones in a row, or the breaker would join in.
        (1..=12).map(|number| setup.reply(CONFIRM, number)).collect::<Vec<_>>()
    };
    assert_eq!(replies(3), replies(3));
    assert_ne!(replies(3), replies(4));
}
