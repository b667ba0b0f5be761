//! Which sessions the rules are not asked about, whatever they would say.

use super::*;

#[test]
fn a_session_without_a_known_amount_is_not_evaluated() {
    let mut none = full();
    none["payout_list"] = json!([]);
    let mut second = full();
    second["payment_list"] = json!([{"id": "pm_1"}]);
    for given in [
        none,
        second,
        with_operation(|operation| operation["amount_details"] = Json::Null),
        with_operation(|operation| operation["amount_details"] = json!({"amount": 1})),
        with_operation(|operation| operation["amount_details"] = json!({"amount": 1, "currency": ""})),
        with_operation(|operation| operation["metadata"] = (0..200).fold(json!(1), |inner, _| json!([inner]))),
    ] {
        for default in [SessionDefault::Confirm, SessionDefault::Cancel, SessionDefault::Hold] {
            let rules = Rules::compile(&rules(&["true"]), default).unwrap();
            let held = rules.judge("sg", &session(&given), &[]);
            assert_eq!(held, RuleVerdict::Hold(HoldReason::NotEvaluated), "{given}");
            assert_eq!(rules.try_each("sg", &session(&given)), []);
        }
    }
}

#[test]
fn a_session_that_gives_nothing_or_less_than_nothing_is_not_evaluated() {
    for amount in [0, -1, -5_000_000, i64::MIN] {
        let mut second = full();
        let details = json!({"amount": amount, "currency": "usd"});
        second["payment_list"] = json!([{"id": "pm_1", "amount_details": details}]);
        for given in [with_operation(|operation| operation["amount_details"] = details), second] {
            check("true", &given, &RuleVerdict::Hold(HoldReason::NotEvaluated));
        }
    }
    let least = with_operation(|operation| operation["amount_details"]["amount"] = json!(1));
    check("true", &least, &confirmed());
}

#[test]
fn a_session_with_amounts_that_are_not_read_is_not_evaluated() {
    let other = json!({"id": "tr_1", "amount_details": {"amount": 99_999_999, "currency": "usd"}});
    let mut given = Vec::new();
    for transfers in [json!([other]), json!({"1": other}), json!([[other]]), json!({"in": [other]})] {
        let mut session = full();
        session["transfer_list"] = transfers.clone();
        given.push(session);
        given.push(with_operation(|operation| operation["splits"] = transfers.clone()));
        given.push(with_operation(|operation| operation["payout_details"]["splits"] = transfers));
    }
    // Nobody knows which amount of an id is meant.
    let mut twice = full();
    twice["payments"] = json!([{"id": "po_1", "amount_details": {"amount": 99_999_999, "currency": "usd"}}]);
    given.push(twice);
    let mut repeated = full();
    let operation = repeated["payout_list"][0].clone();
    repeated["payout_list"] = json!([operation, operation]);
    given.push(repeated);
    for given in given {
        check("true", &given, &RuleVerdict::Hold(HoldReason::NotEvaluated));
    }
    let mut same = full();
    same["payments"] = same["payout_list"].clone();
    same["transfer_list"] = json!([]);
    same["payout_list"][0]["metadata"] = json!({"items": [other]});
    check("true", &same, &confirmed());
}
