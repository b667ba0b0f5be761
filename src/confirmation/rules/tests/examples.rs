//! The rules that our pages and default.toml show as examples.

use super::*;

#[test]
fn the_rules_of_the_documentation_decide_as_it_says() {
    let blocked = r#"session.operations.exists(o, has(o.customer) && has(o.customer.reference) && o.customer.reference in ["user-13", "user-66"])"#;
    let small = r#"session.operations.all(o, o.kind == "payout" && o.amount.currency == "USD" && o.amount.minor_units >= 100 && o.amount.minor_units <= 50000)"#;
    let unknown = "session.operations.exists(o, !has(o.customer) || !has(o.customer.reference))";
    let mut all = rules(&[unknown, blocked, small]);
    all[0].then = RuleAction::Hold;
    all[1].then = RuleAction::Cancel;
    let rules = Rules::compile(&all, SessionDefault::Hold).unwrap();
    let customer = |reference: &str| with_operation(|operation| operation["customer"]["reference"] = json!(reference));
    let amount = |amount: u32| with_operation(|operation| operation["amount_details"]["amount"] = json!(amount));
    let mut payment = full();
    payment["payment_list"] = payment["payout_list"].take();
    for (given, expected) in [
        (customer("user-66"), RuleVerdict::Act(Action::Cancel, decider(DeciderKind::Rule, "rule 1"))),
        (customer("user-6"), RuleVerdict::Act(Action::Confirm, decider(DeciderKind::Rule, "rule 2"))),
        (amount(99), RuleVerdict::Hold(HoldReason::NoRule)),
        (amount(100), RuleVerdict::Act(Action::Confirm, decider(DeciderKind::Rule, "rule 2"))),
        (amount(50_000), RuleVerdict::Act(Action::Confirm, decider(DeciderKind::Rule, "rule 2"))),
        (amount(50_001), RuleVerdict::Hold(HoldReason::NoRule)),
        (payment, RuleVerdict::Hold(HoldReason::NoRule)),
        (bare(), RuleVerdict::Hold(HoldReason::Rule("rule 0".to_owned()))),
    ] {
        assert_eq!(without_why(rules.judge("sg", &session(&given), &[])), expected, "{given}");
    }
}

#[test]
fn the_examples_of_default_toml_compile() {
    let text = include_str!("../../../../config/default.toml");
    let (_, examples) = text.split_once("\n#[[confirmation.rules]]").unwrap();
    let lines = examples.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
    let examples = lines.fold(String::from("[[confirmation.rules]]"), |text, line| text + "\n" + line);
    let config = Config::from_toml(&examples, []).unwrap().confirmation;
    assert_eq!(config.rules.len(), 3);
    let compiled = Rules::compile(&config.rules, config.default).unwrap();
    assert_eq!(compiled.confirm_before_cancel(), []);
    assert_eq!((compiled.read_absent(), compiled.compare_in_vain(&[])), (vec![], vec![]));
    let confirmed = RuleVerdict::Act(Action::Confirm, decider(DeciderKind::Rule, "small payouts"));
    assert_eq!(compiled.judge("sg", &session(&full()), &[]), confirmed);
}
