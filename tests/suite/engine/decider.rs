//! The example program for other teams, `tests/subscribers/python/decider.py`, decides for a real engine.

use jiff::Timestamp;
use paybridge::message::confirmation::v1::{Action, DeciderKind, Result};

use crate::docs::subscribers::python;
use crate::support::cache::run;
use crate::support::engine_setup::EngineSetup;

#[test]
fn python_decides_and_on_the_right_partition() {
    let setup = EngineSetup::new("");
    let engine = setup.engine();
    let decisions = [
        ("ps_1", "confirm", Action::Confirm),
        ("ps_2", "cancel", Action::Cancel),
        ("ps_3", "confirm", Action::Confirm),
    ];
    let topic = setup.topic("confirmation.decision.v1");
    for (session, word, _) in decisions {
        setup.ready(session, Timestamp::now(), 100);
        let arguments = [setup.kafka.bootstrap(), &topic, "sg-main", session, word, "known customer"];
        run(python("decider.py").args(arguments).args(["--decision-id", session])).unwrap();
    }
    let outcomes = setup.await_outcomes(decisions.len());
    for (session, _, action) in decisions {
        let outcome = &outcomes[session];
        assert_eq!((outcome.action(), outcome.result()), (action, Result::Accepted));
        let decider = (outcome.decided_by_kind(), outcome.decided_by_name.as_str(), outcome.reason.as_str());
        assert_eq!(decider, (DeciderKind::Decision, "decider.py", "known customer"));
        assert_eq!(outcome.decision_id, session);
    }
    assert_eq!(engine.count("paybridge_confirmation_passed_on_total"), 0);
    engine.stop().unwrap();
}
