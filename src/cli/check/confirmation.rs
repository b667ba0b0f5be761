//! What can be found of the confirmation engine without Kafka: its rules, and what they say of a sample.
//! Must not show a rule's text.

use jiff::Timestamp;

use crate::config::{Config, Confirmation};
use crate::confirmation::rules::{HoldReason, RuleProblem, RuleVerdict, Rules, sample};
use crate::confirmation::session::model::Action;
use crate::finding::{Code, Finding};
use crate::message::confirmation::v1::DeciderKind;

/// What findings about rules are about.
const RULES: &str = "confirmation.rules";

/// What is to be said of the engine at `now`, which the sample session's times are.
pub(super) fn of_config(config: &Config, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let confirmation = &config.confirmation;
    if confirmation.enabled && confirmation.dry_run {
        let message = "the engine calls no provider: outcomes say what it would have done";
        findings.push(Finding::new(Code::DryRun, "confirmation.dry_run", message));
    }
    match Rules::compile(&confirmation.rules, confirmation.default) {
        Ok(rules) => {
            let sources: Vec<&str> = config.sources.keys().map(AsRef::as_ref).collect();
            let of = |code| move |problem: &RuleProblem| of_problem(code, problem);
            findings.extend(rules.compare_in_vain(&sources).iter().map(of(Code::RuleComparesInVain)));
            findings.extend(rules.read_absent().iter().map(of(Code::RuleReadsAbsentField)));
            findings.extend(of_rules(confirmation, &rules, now));
        }
        Err(problems) => {
            findings.extend(problems.iter().map(|problem| of_problem(Code::RuleUnusable, problem)));
        }
    }
    findings
}

fn of_problem(code: Code, problem: &RuleProblem) -> Finding {
    let message = format!("{}\n{}", problem.sentence(), problem.excerpt);
    Finding::new(code, RULES, message).with_action(problem.action.as_str())
}

fn of_rules(confirmation: &Confirmation, rules: &Rules, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (confirm, cancel) in rules.confirm_before_cancel() {
        let message = format!("rule \"{confirm}\" confirms, and stands before rule \"{cancel}\", which cancels");
        findings.push(Finding::new(Code::RuleOrder, RULES, message));
    }
    if confirmation.rules.is_empty() {
        return findings;
    }
    let session = sample::session(now);
    for trial in rules.try_each(sample::SOURCE, &session) {
        if let Err(why) = trial.outcome {
            let message = format!("rule \"{}\" fails on {}: it {why}", trial.rule, sample::DESCRIPTION);
            findings.push(Finding::new(Code::RuleFails, RULES, message));
        }
    }
    let verdict = describe_verdict(&rules.judge(sample::SOURCE, &session, &[]));
    findings.push(Finding::new(Code::RulesTried, RULES, format!("{} would be {verdict}", sample::DESCRIPTION)));
    findings
}

fn describe_verdict(verdict: &RuleVerdict) -> String {
    match verdict {
        RuleVerdict::Act(action, decider) => {
            let done = match action {
                Action::Confirm => "confirmed",
                Action::Cancel => "cancelled",
            };
            match decider.kind {
                DeciderKind::Rule => format!("{done} by rule \"{}\"", decider.name),
                _ => format!("{done} by default: no rule matches it"),
            }
        }
        RuleVerdict::Hold(HoldReason::Rule(name)) => format!("held by rule \"{name}\""),
        RuleVerdict::Hold(HoldReason::NoRule) => "held: no rule matches it".to_owned(),
        RuleVerdict::Hold(HoldReason::NotEvaluated) => "held before any rule is tried".to_owned(),
        RuleVerdict::Hold(HoldReason::UnreadField(name)) => {
            format!("held, because rule \"{name}\" reads a field that cannot be read")
        }
        RuleVerdict::Hold(HoldReason::Failed { rule, .. }) => format!("held, because rule \"{rule}\" fails"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "[sources.sg]\nprovider = 'smart-glocal'\npublic_key_files = []\n";

    fn rule(name: &str, when: &str, then: &str) -> String {
        format!("[[confirmation.rules]]\nname = '{name}'\nwhen = \"{when}\"\nthen = '{then}'\n")
    }

    #[track_caller]
    fn check(toml: &str, expected: &[(Code, &str, &str)]) {
        let findings = of_config(&Config::from_toml(toml, []).unwrap(), "2026-02-03T04:05:06Z".parse().unwrap());
        let found: Vec<(Code, &str, &str)> =
            findings.iter().map(|finding| (finding.code, finding.subject.as_str(), finding.message.as_str())).collect();
        assert_eq!(found, expected, "{toml}");
    }

    #[test]
    fn tells_every_rule_that_cannot_be_used() {
        let rules = rule("a", "session.idd == 'x'", "hold") + &rule("b", "1 +", "hold") + &rule("c", "true", "hold");
        let misspelt = "rule \"a\" names `idd`, which is no field of the session (line 1, column 9)\n  \
                        | session.idd == '*'\n  |         ^";
        let cut = "rule \"b\" ends too early (line 1, column 4)\n  | 1 +\n  |    ^";
        check(&rules, &[(Code::RuleUnusable, RULES, misspelt), (Code::RuleUnusable, RULES, cut)]);
    }

    #[test]
    fn tries_the_rules_on_a_sample() {
        let sample = sample::DESCRIPTION;
        let tried = |verdict: &str| format!("{sample} would be {verdict}");
        let small = "session.operations.all(o, o.amount.minor_units >= 100 && o.amount.minor_units <= 50000)";
        for (when, then, verdict) in [
            (small, "confirm", "confirmed by rule \"a\""),
            (small, "cancel", "cancelled by rule \"a\""),
            (small, "hold", "held by rule \"a\""),
            ("false", "hold", "held: no rule matches it"),
        ] {
            check(&rule("a", when, then), &[(Code::RulesTried, RULES, &tried(verdict))]);
        }
        check(
            &("[confirmation]\ndefault = 'cancel'\n".to_owned() + &rule("a", "false", "hold")),
            &[(Code::RulesTried, RULES, &tried("cancelled by default: no rule matches it"))],
        );
        let fails = format!("rule \"a\" fails on {sample}: it asks for an element behind the end of a list");
        check(
            &(rule("a", "session.operations[1].id == 'x'", "hold") + &rule("b", "true", "hold")),
            &[(Code::RuleFails, RULES, &fails), (Code::RulesTried, RULES, &tried("held, because rule \"a\" fails"))],
        );
    }

    #[test]
    fn warns_of_comparisons_that_always_give_the_same() {
        let rules = rule("a", "session.operations.all(o, o.amount.currency == 'usd')", "hold");
        let findings = of_config(&Config::from_toml(&rules, []).unwrap(), "2026-02-03T04:05:06Z".parse().unwrap());
        let found = &findings[0];
        assert_eq!(
            (found.code, found.action.as_str()),
            (Code::RuleComparesInVain, "write the currency in upper case, such as \"USD\"",)
        );
        let message = "rule \"a\" compares the currency with a text that has lower-case letters, and it is never equal to that \
                       (line 1, column 48)\n  | session.operations.all(o, o.amount.currency == '***')\n  |";
        assert!(found.message.starts_with(message), "{found:?}");
        let source = rule("a", "session.source != 'sg_'", "hold") + "[sources.sg]\nprovider = 'smart-glocal'\n";
        let findings = of_config(&Config::from_toml(&source, []).unwrap(), "2026-02-03T04:05:06Z".parse().unwrap());
        assert_eq!(findings[0].action, "did you mean `sg`?");
    }

    #[test]
    fn warns_of_fields_that_are_read_without_a_test() {
        let rules = rule("vip", "session.operations.exists(o, o.customer.reference == 'x')", "hold");
        let findings = of_config(&Config::from_toml(&rules, []).unwrap(), "2026-02-03T04:05:06Z".parse().unwrap());
        let found = &findings[0];
        assert_eq!(found.code, Code::RuleReadsAbsentField);
        let message = "rule \"vip\" reads o.customer.reference, and fails on a session without o.customer or o.customer.reference (line 1, ";
        assert!(found.message.starts_with(message), "{found:?}");
        assert!(
            found.action.starts_with("write has(o.customer) && has(o.customer.reference) && before it"),
            "{found:?}"
        );
    }

    #[test]
    fn tells_which_rules_stand_in_an_order_that_confirms_too_much() {
        let rules = rule("a", "false", "confirm") + &rule("b", "true", "cancel");
        let order = "rule \"a\" confirms, and stands before rule \"b\", which cancels";
        let verdict = format!("{} would be cancelled by rule \"b\"", sample::DESCRIPTION);
        check(&rules, &[(Code::RuleOrder, RULES, order), (Code::RulesTried, RULES, &verdict)]);
    }

    #[test]
    fn tells_of_calls_that_are_left_out() {
        check("", &[]);
        let dry = "[confirmation]\ndry_run = true\n";
        check(dry, &[]);
        let message = "the engine calls no provider: outcomes say what it would have done";
        let on = format!("{dry}enabled = true\n{SOURCE}");
        check(&on, &[(Code::DryRun, "confirmation.dry_run", message)]);
    }
}
