//! What rules say of sessions that came through the provider's own normalizer.

mod examples;
mod properties;
mod refusals;
mod unevaluated;

use std::fmt::Write;

use prost::Message;
use serde_json::{Value as Json, json};

use super::*;
use crate::config::Config;
use crate::message::smart_glocal::v1::ReadyToConfirm;
use crate::provider::tests::fixtures::{FixtureKeys, normalized, section};
use crate::provider::{self, Content};

/// A rule for each `when`, which confirms; named after its place.
fn rules(whens: &[&str]) -> Vec<Rule> {
    let rule = |(place, when): (usize, &&str)| Rule {
        name: format!("rule {place}"),
        when: (*when).to_owned(),
        then: RuleAction::Confirm,
    };
    whens.iter().enumerate().map(rule).collect()
}

fn compiled(when: &str) -> Rules {
    Rules::compile(&rules(&[when]), SessionDefault::Hold).unwrap_or_else(|problems| panic!("{when}: {problems:?}"))
}

/// The session of a `ready_to_confirm` with this body, as the engine reads it from its topic.
fn session(session: &Json) -> Session {
    let source = provider::find("smart-glocal").unwrap();
    let source = source.configure(&section("public_key_files = ['smart-glocal-public.pem']"), &FixtureKeys).unwrap();
    let body = json!({"type": "ready_to_confirm", "session": session}).to_string();
    match normalized(&*source, "", body).content {
        Content::Event(encoded) => ReadyToConfirm::decode(encoded.fields.as_slice()).unwrap().session.unwrap(),
        Content::Unrecognized => panic!("not recognized: {session}"),
        Content::Undecodable(undecodable) => panic!("{undecodable:?}: {session}"),
    }
}

/// A session in which nothing is absent.
fn full() -> Json {
    json!({"id": "ps_1", "status": "in_progress", "next_action": "confirm",
        "created_at": "2024-05-27T02:03:00.000000Z", "updated_at": "2024-05-27T02:04:00.000000Z",
        "payout_list": [{"id": "po_1", "status": "pending", "created_at": "2024-05-27T02:03:00.000000Z",
            "customer": {"reference": "user-1"},
            "payout_details": {"type": "card", "card": {"brand": "visa", "bin": "424242", "last4": "4242"}},
            "amount_details": {"amount": 10_000, "currency": "usd"}, "metadata": {"tier": "gold", "tries": 3}}]})
}

/// One with only what it must have.
fn bare() -> Json {
    json!({"id": "ps_1", "payout_list": [{"id": "po_1", "amount_details": {"amount": 1, "currency": "usd"}}]})
}

fn with_operation(change: impl FnOnce(&mut Json)) -> Json {
    let mut session = full();
    change(&mut session["payout_list"][0]);
    session
}

fn confirmed() -> RuleVerdict {
    confirmed_by("rule 0")
}

fn confirmed_by(rule: &str) -> RuleVerdict {
    RuleVerdict::Act(Action::Confirm, decider(DeciderKind::Rule, rule))
}

fn failed() -> RuleVerdict {
    RuleVerdict::Hold(HoldReason::Failed { rule: "rule 0".to_owned(), why: String::new() })
}

/// A verdict as [`failed`] has it: tests of why a rule fails are about `try_each`.
fn without_why(verdict: RuleVerdict) -> RuleVerdict {
    let RuleVerdict::Hold(HoldReason::Failed { rule, .. }) = verdict else { return verdict };
    RuleVerdict::Hold(HoldReason::Failed { rule, why: String::new() })
}

#[track_caller]
fn check(when: &str, given: &Json, expected: &RuleVerdict) {
    assert_eq!(&without_why(compiled(when).judge("sg-main", &session(given), &[])), expected, "{when} on {given}");
}

#[test]
fn a_rule_that_fails_holds_the_session() {
    for when in [
        "session.operations.all(o, o.customer.reference == 'user-1')",
        "session.status == 'in_progress'",
        "session.operations[1].id == 'po_1'",
        "session.operations[0].metadata == 'a'",
        "!has(session.operations[0].customer.reference)",
        "session.operations.exists(o, o.customer.reference == 'user-1')",
        "1 / (session.operations[0].amount.minor_units - 1) > 0",
    ] {
        check(when, &bare(), &failed());
    }
    for when in [
        "session.operations[0].metadata > 3",
        "session.operations[0].metadata",
        "session.operations[0].metadata.tier < 4",
        "session.operations[0].metadata.other == 'x'",
        "session.operations[0].metadata.exists(m, m == 'tier') && session.operations[0].metadata.tier",
        "int(session.id) > 0",
        "session.operations.all(o, o.metadata.tier)",
    ] {
        check(when, &full(), &failed());
    }
}

/// The rule before it decides, or is not true; it and those after it are not asked.
#[test]
fn a_rule_that_reads_a_field_that_could_not_be_read_holds_the_session() {
    let judge = |whens: &[&str], unread: &str| {
        let rules = Rules::compile(&rules(whens), SessionDefault::Confirm).unwrap();
        rules.judge("sg", &session(&full()), &[unread.to_owned()])
    };
    let held = |rule: &str| RuleVerdict::Hold(HoldReason::UnreadField(rule.to_owned()));
    let reads_reference = "session.operations.exists(o, has(o.customer.reference) && o.customer.reference == 'x')";
    for unread in
        ["session.payout_list[0].customer", "session.payments[7].customer.reference", "session.payout_list", "…"]
    {
        assert_eq!(judge(&[reads_reference], unread), held("rule 0"), "{unread}");
    }
    for unread in
        ["session.payout_list[0].transaction_info", "session.payout_list[0].payment_method", "session.error", "type"]
    {
        assert_eq!(
            judge(&["session.id == 'none'", reads_reference, "true"], unread),
            confirmed_by("rule 2"),
            "{unread}"
        );
    }
    let unread = "session.payout_list[0].customer.reference";
    assert_eq!(judge(&["session.id == 'none'", reads_reference, "true"], unread), held("rule 1"));
    assert_eq!(judge(&["true", reads_reference], unread), confirmed());
    assert_eq!(
        judge(
            &["session.operations.all(o, o.instrument.card['bin'] == '1')"],
            "session.payments[0].payment_details.card.bin"
        ),
        held("rule 0")
    );
}

#[test]
fn a_rule_after_one_that_failed_is_not_asked() {
    let both = rules(&["session.status == 'in_progress'", "true"]);
    let judge = |default, rules: &[Rule]| Rules::compile(rules, default).unwrap().judge("sg", &session(&bare()), &[]);
    assert_eq!(without_why(judge(SessionDefault::Confirm, &both)), failed());
}

#[test]
fn a_currency_that_is_not_in_the_list_of_iso_has_no_exponent_and_is_known() {
    let given = with_operation(|operation| operation["amount_details"] = json!({"amount": 5, "currency": "xyz"}));
    check("session.operations.all(o, o.amount.currency == 'XYZ' && !has(o.amount.exponent))", &given, &confirmed());
}

/// Each field of the model, its value in [`full`], and whether it is absent in [`bare`].
const FIELDS: [(&str, &str, bool); 19] = [
    ("session.id", "'ps_1'", false),
    ("session.source", "'sg-main'", false),
    ("session.status", "'in_progress'", true),
    ("session.next_action", "'confirm'", true),
    ("session.created_at", "timestamp('2024-05-27T02:03:00Z')", true),
    ("session.updated_at", "timestamp('2024-05-27T02:04:00Z')", true),
    ("session.operations.size()", "1", false),
    ("session.operations[0].id", "'po_1'", false),
    ("session.operations[0].kind", "'payout'", false),
    ("session.operations[0].status", "'pending'", true),
    ("session.operations[0].amount.currency", "'USD'", false),
    ("session.operations[0].amount.minor_units", "10000", false),
    ("session.operations[0].amount.exponent", "2", false),
    ("session.operations[0].customer.reference", "'user-1'", true),
    ("session.operations[0].instrument.type", "'card'", true),
    ("session.operations[0].instrument.card.brand", "'visa'", true),
    ("session.operations[0].instrument.card.bin", "'424242'", true),
    ("session.operations[0].instrument.card.last4", "'4242'", true),
    ("session.operations[0].metadata.tier", "'gold'", true),
];

#[test]
fn every_field_of_the_model_can_be_read() {
    for (field, value, absent) in FIELDS {
        check(&format!("{field} == {value}"), &full(), &confirmed());
        check(&format!("{field} != {value}"), &full(), &RuleVerdict::Hold(HoldReason::NoRule));
        if absent {
            check(&format!("{field} == {value}"), &bare(), &failed());
        }
    }
}

#[test]
fn every_field_of_the_model_has_its_place_among_the_tested_ones() {
    let mut model = Vec::new();
    let mut open = vec![("session".to_owned(), shape::ModelPart::Session)];
    while let Some((path, part)) = open.pop() {
        for (name, shape) in part.fields() {
            let path = format!("{path}.{name}");
            match shape {
                shape::Shape::Part(part) => open.push((path, part)),
                shape::Shape::Each(element) => match *element {
                    shape::Shape::Part(part) => open.push((format!("{path}[0]"), part)),
                    _ => model.push(path),
                },
                _ => model.push(path),
            }
        }
    }
    for path in model {
        assert!(FIELDS.iter().any(|(field, ..)| field.starts_with(&path)), "no test reads {path}");
    }
}

#[test]
fn absent_is_neither_empty_nor_zero() {
    let given = with_operation(|operation| {
        operation["customer"] = json!({"reference": ""});
        operation["metadata"] = json!("");
        operation["status"] = Json::Null;
    });
    for when in [
        "session.operations.all(o, has(o.customer.reference) && o.customer.reference == '')",
        "session.operations.all(o, has(o.metadata) && o.metadata == '')",
        "session.operations.all(o, !has(o.status))",
    ] {
        check(when, &given, &confirmed());
    }
    for when in [
        "!has(session.status) && !has(session.next_action) && !has(session.created_at) && !has(session.updated_at)",
        "session.operations.all(o, !has(o.customer) && !has(o.instrument) && !has(o.metadata) && !has(o.status))",
        "session.operations.all(o, has(o.amount.minor_units) && o.amount.minor_units == 1)",
    ] {
        check(when, &bare(), &confirmed());
    }
}

#[test]
fn the_merchants_data_is_read_as_it_was_sent() {
    for (metadata, when) in [
        (json!("good"), "== 'good'"),
        (json!(7), "== 7"),
        (json!({"a": {"b": [1, "x", null, true, 1.5]}}), ".a.b[4] == 1.5"),
        (json!({"a": {"b": [1, "x", null, true, 1.5]}}), ".a.b[2] == null"),
        (json!({"a b": 1}), "['a b'] == 1"),
        (json!({"list": ["x", "y"]}), ".list.exists(l, l == 'y')"),
        (json!(18_446_744_073_709_551_615_u64), "== 18446744073709551615u"),
    ] {
        let given = with_operation(|operation| operation["metadata"] = metadata.clone());
        check(&format!("session.operations[0].metadata{when}"), &given, &confirmed());
    }
}

#[test]
fn rules_can_be_shared_by_threads() {
    fn check<T: Send + Sync>() {}
    check::<Rules>();
}

#[test]
fn the_first_true_rule_decides_then_the_default() {
    let judge = |whens: &[(&str, RuleAction)], default| {
        let mut all = rules(&whens.iter().map(|(when, _)| *when).collect::<Vec<_>>());
        for (rule, (_, then)) in all.iter_mut().zip(whens) {
            rule.then = *then;
        }
        Rules::compile(&all, default).unwrap().judge("sg", &session(&full()), &[])
    };
    let rule = |action, name| RuleVerdict::Act(action, decider(DeciderKind::Rule, name));
    let (confirm, cancel, hold) = (RuleAction::Confirm, RuleAction::Cancel, RuleAction::Hold);
    let default = SessionDefault::Confirm;
    assert_eq!(judge(&[("true", cancel), ("true", confirm)], default), rule(Action::Cancel, "rule 0"));
    assert_eq!(judge(&[("false", cancel), ("true", confirm)], default), rule(Action::Confirm, "rule 1"));
    assert_eq!(
        judge(&[("true", hold), ("true", confirm)], default),
        RuleVerdict::Hold(HoldReason::Rule("rule 0".to_owned()))
    );
    let by_default = |action| RuleVerdict::Act(action, decider(DeciderKind::Default, ""));
    for (default, expected) in [
        (SessionDefault::Confirm, by_default(Action::Confirm)),
        (SessionDefault::Cancel, by_default(Action::Cancel)),
        (SessionDefault::Hold, RuleVerdict::Hold(HoldReason::NoRule)),
    ] {
        assert_eq!(judge(&[("false", cancel)], default), expected);
        assert_eq!(judge(&[], default), expected);
    }
}

#[test]
fn a_session_that_is_too_large_for_a_rule_is_held() {
    let mut many = full();
    let operation = &many["payout_list"][0];
    let operations: Vec<Json> = (0..2_000)
        .map(|number| {
            let mut operation = operation.clone();
            operation["id"] = json!(format!("po_{number}"));
            operation
        })
        .collect();
    many["payout_list"] = json!(operations);
    check("session.operations.all(o, o.kind == 'payout' && o.amount.minor_units <= 50000)", &many, &confirmed());
    let each =
        "session.operations.exists(o, session.operations.exists(p, p.id != o.id && p.customer.reference == o.id))";
    check(each, &many, &failed());
    let told = compiled(each).try_each("sg", &session(&many)).remove(0).outcome;
    assert_eq!(told, Err("has too much to look at: too many operations, or too long texts".to_owned()));
}

#[test]
fn tells_which_confirm_rules_stand_before_cancel_rules() {
    let mut all = rules(&["true", "true", "true", "true"]);
    for (rule, then) in
        all.iter_mut().zip([RuleAction::Cancel, RuleAction::Confirm, RuleAction::Hold, RuleAction::Cancel])
    {
        rule.then = then;
    }
    let compiled = Rules::compile(&all, SessionDefault::Hold).unwrap();
    assert_eq!(compiled.confirm_before_cancel(), [("rule 1", "rule 3")]);
    all.reverse();
    all.truncate(1);
    assert_eq!(Rules::compile(&all, SessionDefault::Hold).unwrap().confirm_before_cancel(), []);
}

#[test]
fn each_rule_is_tried_on_the_sample_and_tells_why_it_fails_without_values() {
    let whens = [
        "session.operations.all(o, o.kind == 'payout')",
        "session.operations.all(o, o.metadata.tier == 'gold')",
        "session.operations[3].id == 'a'",
        "int(session.id) > 3",
        "false",
    ];
    let sample = sample::session("2024-05-27T02:03:00Z".parse().unwrap());
    let trials = Rules::compile(&rules(&whens), SessionDefault::Hold).unwrap().try_each("sg-main", &sample);
    let outcomes: Vec<Result<bool, &str>> =
        trials.iter().map(|trial| trial.outcome.as_ref().map(|truth| *truth).map_err(String::as_str)).collect();
    let mixed = "mixes kinds of values";
    assert_eq!(
        outcomes,
        [
            Ok(true),
            Err(mixed),
            Err("asks for an element behind the end of a list"),
            Err("computes what has no result"),
            Ok(false)
        ]
    );
}

#[test]
fn the_sample_has_every_field() {
    let sample = sample::session("2024-05-27T02:03:00Z".parse().unwrap());
    let mut when = String::from("true");
    for (field, ..) in FIELDS.iter().filter(|(field, ..)| !field.contains("size()") && !field.contains("tier")) {
        write!(when, " && has({field})").unwrap();
    }
    assert_eq!(compiled(&when).judge("sg-main", &sample, &[]), confirmed());
}
