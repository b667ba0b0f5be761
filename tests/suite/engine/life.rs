//! The life of single sessions: rules, decisions, the deadline, and what cannot count.

use jiff::Timestamp;
use paybridge::message::confirmation::v1::{Action, DeciderKind, RejectionReason, Result};
use paybridge::message::smart_glocal::v1::SessionStatus;
use paybridge::provider::smart_glocal::api::Operation;

use crate::support::engine_setup::{EngineSetup, ago};
use crate::support::eventually::{LIMIT, eventually};

/// Small payouts are confirmed, large ones cancelled, all others wait.
const RULES: &str = r#"
[[confirmation.rules]]
name = "large"
when = 'session.operations.exists(o, o.amount.minor_units > 1000000)'
then = "cancel"
[[confirmation.rules]]
name = "small"
when = 'session.operations.all(o, o.kind == "payout" && o.amount.currency == "USD" && o.amount.minor_units >= 100 && o.amount.minor_units <= 50000)'
then = "confirm"
"#;

#[test]
fn a_rule_confirms_a_decision_cancels_and_what_comes_late_is_rejected() {
    let setup = EngineSetup::new(RULES);
    let engine = setup.engine();
    setup.ready("ps_small", Timestamp::now(), 100);
    setup.ready("ps_large", Timestamp::now(), 2_000_000);
    setup.ready("ps_held", Timestamp::now(), 60_000);
    setup.decide("ps_held", Action::Cancel, "one");
    setup.decide("ps_held", Action::Confirm, "two");
    let outcomes = setup.await_outcomes(3);
    for (session, action, kind, name, applied) in [
        ("ps_small", Action::Confirm, DeciderKind::Rule, "small", Operation::Confirm),
        ("ps_large", Action::Cancel, DeciderKind::Rule, "large", Operation::Cancel),
        ("ps_held", Action::Cancel, DeciderKind::Decision, "risk", Operation::Cancel),
    ] {
        let outcome = &outcomes[session];
        assert_eq!(outcome.action(), action, "{session}");
        assert_eq!((outcome.decided_by_kind(), outcome.decided_by_name.as_str()), (kind, name), "{session}");
        assert_eq!((outcome.result(), outcome.verified, outcome.attempts), (Result::Accepted, true, 1), "{session}");
        assert_eq!(setup.provider.session(session).unwrap().actions(), [applied], "{session}");
    }
    let rejections = eventually(LIMIT, || match setup.rejections() {
        rejections if rejections.is_empty() => Err("no rejection".to_owned()),
        rejections => Ok(rejections),
    });
    assert_eq!(rejections[0].reason(), RejectionReason::AlreadyDecided);
    assert_eq!(rejections[0].decision.as_ref().unwrap().decision_id, "two");
    assert_eq!(engine.count("paybridge_confirmation_decisions_total{kind=\"rule\",rule=\"small\"}"), 1);
    engine.stop().unwrap();
}

#[test]
fn a_session_that_nobody_decides_is_cancelled_before_its_window_closes_also_after_a_downtime() {
    let setup = EngineSetup::new("");
    // 120 s before the window of 240 minutes closes: the margin of 20 minutes has begun long ago.
    setup.ready("ps_late", ago(14_400 - 120), 100);
    setup.ready("ps_decided", ago(14_400 - 120), 100);
    setup.decide("ps_decided", Action::Confirm, "in time");
    setup.ready("ps_young", Timestamp::now(), 100);
    let engine = setup.engine();
    let outcomes = setup.await_outcomes(2);
    assert_eq!(outcomes["ps_late"].decided_by_kind(), DeciderKind::Deadline);
    assert_eq!(outcomes["ps_late"].action(), Action::Cancel);
    assert!(outcomes["ps_late"].remaining_seconds > 0);
    assert_eq!(outcomes["ps_decided"].decided_by_kind(), DeciderKind::Decision);
    assert_eq!(setup.provider.session("ps_decided").unwrap().actions(), [Operation::Confirm]);
    setup.finished("ps_young", SessionStatus::Accepted);
    assert_eq!(setup.await_outcome("ps_young").result(), Result::Superseded);
    engine.stop().unwrap();
}
