//! What must hold whatever the rule and the session: nothing panics, and a verdict has a cause.

use proptest::prelude::*;

use super::*;

/// Expressions that look at everything, and some that fail on most sessions.
const WHENS: [&str; 12] = [
    "true",
    "session.status == 'in_progress'",
    "session.operations.all(o, o.amount.minor_units <= 50000)",
    "session.operations.exists(o, o.customer.reference in ['a', 'b'])",
    "session.operations.map(o, o.amount.currency).all(c, c == 'USD')",
    "session.operations[0].metadata.a.b > 3",
    "session.operations.exists(o, o.metadata.exists(m, m == 'a'))",
    "session.operations.all(o, has(o.metadata) && int(o.metadata) % 2 == 0)",
    "session.updated_at - session.created_at > duration('1h')",
    "session.operations.all(o, -o.amount.minor_units * 1000000 < 0)",
    "session.operations.exists_one(o, o.instrument.card.bin.startsWith('4'))",
    "session.operations.filter(o, o.kind == 'payout').size() > 1 ? session.id.size() > 3 : session.source == 'sg'",
];

fn attached() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(|truth| json!(truth)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-z\u{e9}]{0,4}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|list| json!(list)),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|fields| json!(fields)),
        ]
    })
}

fn operation() -> impl Strategy<Value = Json> {
    let amount =
        (prop_oneof![3 => 1..=i64::MAX, 1 => any::<i64>()], prop_oneof![Just("usd"), Just("xyz"), Just("jpy")]);
    let customer = prop::option::of(prop::option::of("[ab]{0,2}"));
    let card = prop::option::of("[0-9]{0,6}");
    (0..9_u8, prop::option::of(amount), customer, card, prop::option::of(attached())).prop_map(
        |(id, amount, customer, bin, metadata)| {
            let mut operation = json!({"id": format!("po_{id}"), "metadata": metadata});
            if let Some((amount, currency)) = amount {
                operation["amount_details"] = json!({"amount": amount, "currency": currency});
            }
            if let Some(reference) = customer {
                operation["customer"] = json!({"reference": reference});
            }
            if let Some(bin) = bin {
                operation["payout_details"] = json!({"type": "card", "card": {"bin": bin}});
            }
            operation
        },
    )
}

fn any_session() -> impl Strategy<Value = Json> {
    let time = prop::option::of(prop_oneof![
        Just("2024-05-27T02:03:00.123456Z"),
        Just("0001-01-01T00:00:00Z"),
        Just("9999-12-30T22:00:00.999999Z")
    ]);
    let operations = prop::collection::vec(operation(), 0..4);
    (prop::option::of("[a-z_]{0,11}"), time.clone(), time, operations).prop_map(
        |(status, created, updated, operations)| {
            json!({"id": "ps_1", "status": status, "created_at": created, "updated_at": updated,
            "payout_list": operations})
        },
    )
}

/// A condition on the operation `o`, with tests for fields in any place, right and wrong.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "has(o.customer)",
        "has(o.customer.reference)",
        "o.customer.reference == 'a'",
        "has(o.instrument)",
        "has(o.instrument.card)",
        "has(o.instrument.card.bin)",
        "o.instrument.card.bin == '4'",
        "has(session.status)",
        "session.status == 'created'",
        "o.amount.currency == 'USD'",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} && {other})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} || {other})")),
            1 => inner.clone().prop_map(|one| format!("!({one})")),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(one, other, third)| format!("({one} ? {other} : {third})")),
        ]
    })
}

proptest! {
    #[test]
    fn a_rule_without_a_warning_fails_for_no_absent_field(
        given in any_session(),
        condition in condition(),
        form in prop::sample::select(vec![
            "session.operations.all(o, {})",
            "session.operations.exists(o, {})",
            "session.operations.filter(o, {}).size() > 0",
            "session.operations.filter(o, has(o.customer)).all(o, {})",
        ]),
    ) {
        let compiled = compiled(&form.replace("{}", &condition));
        if compiled.read_absent().is_empty() {
            for trial in compiled.try_each("sg", &session(&given)) {
                prop_assert!(trial.outcome.is_ok(), "{:?}", trial);
            }
        }
    }

    #[test]
    fn every_session_gets_a_verdict_with_a_cause(
        given in any_session(),
        order in Just(WHENS.to_vec()).prop_shuffle(),
        many in 0..4_usize,
    ) {
        let session = session(&given);
        let all = rules(&order[..many]);
        let compiled = Rules::compile(&all, SessionDefault::Cancel).unwrap();
        let verdict = compiled.judge("sg", &session, &[]);
        let trials = compiled.try_each("sg", &session);
        let first = trials.iter().find(|trial| trial.outcome != Ok(false));
        let expected = match first.map(|trial| (&trial.outcome, trial.rule.as_str())) {
            _ if SessionFacts::of("sg", &session).is_none() => RuleVerdict::Hold(HoldReason::NotEvaluated),
            Some((Ok(_), name)) => RuleVerdict::Act(Action::Confirm, decider(DeciderKind::Rule, name)),
            Some((Err(why), name)) => RuleVerdict::Hold(HoldReason::Failed { rule: name.to_owned(), why: why.clone() }),
            None => RuleVerdict::Act(Action::Cancel, decider(DeciderKind::Default, "")),
        };
        prop_assert_eq!(verdict, expected);
    }

    #[test]
    fn any_text_compiles_or_says_where_it_does_not(when in prop_oneof![
        any::<String>(),
        r#"[a-z0-9.()\[\]{}!&|<>=?:+*/%,"'\\ \n-]{0,60}"#,
        prop::collection::vec(prop_oneof![
            Just("session"), Just(".id"), Just(".operations"), Just(".all(o, "), Just("o.amount.minor_units"), Just("("),
            Just(")"), Just("=="), Just("&&"), Just("'a'"), Just("1"), Just("["), Just("]"), Just("has("), Just("!"),
            Just(" in "), Just("{"), Just("}"), Just(":"), Just("?"),
        ], 0..14).prop_map(|parts| parts.concat()),
    ]) {
        match Rules::compile(&rules(&[&when]), SessionDefault::Hold) {
            Ok(compiled) => { compiled.judge("sg", &session(&full()), &[]); }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    let line = when.split('\n').nth(problem.position.line - 1);
                    prop_assert!(line.is_some_and(|line| problem.position.column <= line.chars().count() + 1), "{problem:?}");
                }
            }
        }
    }
}
