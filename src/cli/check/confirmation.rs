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
        let message = "nobody is called: outcomes tell what would have been done";
        findings.push(Finding::new(Code::DryRun, "confirmation.dry_run", message));
    }
    match Rules::compile(&confirmation.rules, confirmation.default) {
        Ok(rules) => findings.extend(of_rules(confirmation, &rules, now)),
        Err(problems) => findings.extend(problems.iter().map(unusable)),
    }
    findings
}

fn unusable(problem: &RuleProblem) -> Finding {
    let RuleProblem { rule, position, message, action } = problem;
    let message = format!("the rule \"{rule}\", line {}, column {}: {message}", position.line, position.column);
    Finding::new(Code::RuleUnusable, RULES, message).with_action(action.as_str())
}

fn of_rules(confirmation: &Confirmation, rules: &Rules, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (confirm, cancel) in rules.confirm_before_cancel() {
        let message = format!("\"{confirm}\" confirms before \"{cancel}\" is asked whether to cancel");
        findings.push(Finding::new(Code::RuleOrder, RULES, message));
    }
    if confirmation.rules.is_empty() {
        return findings;
    }
    let session = sample::session(now);
    for trial in rules.try_each(sample::SOURCE, &session) {
        if let Err(why) = trial.outcome {
            let message = format!("the rule \"{}\" fails on {}: it {why}", trial.rule, sample::DESCRIPTION);
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
                DeciderKind::Rule => format!("{done} by the rule \"{}\"", decider.name),
                _ => format!("{done} by default: no rule is for it"),
            }
        }
        RuleVerdict::Hold(HoldReason::Rule(name)) => format!("held by the rule \"{name}\""),
        RuleVerdict::Hold(HoldReason::NoRule) => "held: no rule is for it".to_owned(),
        RuleVerdict::Hold(HoldReason::NotEvaluated) => "held without asking the rules".to_owned(),
        RuleVerdict::Hold(HoldReason::UnreadField(name)) => {
            format!("held, because the rule \"{name}\" reads an unreadable field")
        }
        RuleVerdict::Hold(HoldReason::Failed { rule, why }) => format!("held, because the rule \"{rule}\" {why}"),
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
        let misspelt = "the rule \"a\", line 1, column 9: names `idd`, which is no field of the session";
        let cut = "the rule \"b\", line 1, column 4: ends too early";
        check(&rules, &[(Code::RuleUnusable, RULES, misspelt), (Code::RuleUnusable, RULES, cut)]);
    }

    #[test]
    fn tries_the_rules_on_a_sample() {
        let sample = sample::DESCRIPTION;
        let tried = |verdict: &str| format!("{sample} would be {verdict}");
        let small = "session.operations.all(o, o.amount.minor_units >= 100 && o.amount.minor_units <= 50000)";
        for (when, then, verdict) in [
            (small, "confirm", "confirmed by the rule \"a\""),
            (small, "cancel", "cancelled by the rule \"a\""),
            (small, "hold", "held by the rule \"a\""),
            ("false", "hold", "held: no rule is for it"),
        ] {
            check(&rule("a", when, then), &[(Code::RulesTried, RULES, &tried(verdict))]);
        }
        check(
            &("[confirmation]\ndefault = 'cancel'\n".to_owned() + &rule("a", "false", "hold")),
            &[(Code::RulesTried, RULES, &tried("cancelled by default: no rule is for it"))],
        );
        let fails = format!("the rule \"a\" fails on {sample}: it asks for an element behind the end of a list");
        check(
            &(rule("a", "session.operations[1].id == 'x'", "hold") + &rule("b", "true", "hold")),
            &[
                (Code::RuleFails, RULES, &fails),
                (
                    Code::RulesTried,
                    RULES,
                    &tried("held, because the rule \"a\" asks for an element behind the end of a list"),
                ),
            ],
        );
    }

    #[test]
    fn tells_which_rules_stand_in_an_order_that_confirms_too_much() {
        let rules = rule("a", "false", "confirm") + &rule("b", "true", "cancel");
        let order = "\"a\" confirms before \"b\" is asked whether to cancel";
        let verdict = format!("{} would be cancelled by the rule \"b\"", sample::DESCRIPTION);
        check(&rules, &[(Code::RuleOrder, RULES, order), (Code::RulesTried, RULES, &verdict)]);
    }

    #[test]
    fn tells_of_calls_that_are_left_out() {
        check("", &[]);
        let dry = "[confirmation]\ndry_run = true\n";
        check(dry, &[]);
        let message = "nobody is called: outcomes tell what would have been done";
        let on = format!("{dry}enabled = true\n{SOURCE}");
        check(&on, &[(Code::DryRun, "confirmation.dry_run", message)]);
    }
}
