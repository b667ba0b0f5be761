//! Target `rules`: any text as a rule, on any session.
//!
//! An input is the texts of rules, with a line `-----` behind each, and an answer of the session API that shows the session `ps_1`.

use http::StatusCode;
use paybridge::config::{Rule, RuleAction, SessionDefault};
use paybridge::confirmation::rules::{HoldReason, RuleProblem, RuleVerdict, Rules, sample};
use paybridge::message::smart_glocal::v1::Session;
use paybridge::provider::smart_glocal::api::session;

use crate::fixtures::NOW;
use crate::replies::SESSION_ID;
use crate::request;

/// What stands behind each rule.
pub const SEPARATOR: &[u8] = b"\n-----\n";
/// As many rules as an input has at most.
const RULES_MAX: usize = 4;
/// The source of every session.
const SOURCE: &str = "sg";

/// Checks one input.
pub fn check(input: &[u8]) {
    let (mut rules, mut rest) = (Vec::new(), input);
    while let Some((when, behind)) = request::split_once(rest, SEPARATOR).filter(|_| rules.len() < RULES_MAX) {
        let then = [RuleAction::Confirm, RuleAction::Hold, RuleAction::Cancel, RuleAction::Confirm];
        let place = rules.len();
        let (Ok(when), Some(then)) = (std::str::from_utf8(when), then.get(place)) else { return };
        rules.push(Rule { name: format!("rule {place}"), when: when.to_owned(), then: *then });
        rest = behind;
    }
    let compiled = match Rules::compile(&rules, SessionDefault::Cancel) {
        Ok(compiled) => compiled,
        Err(problems) => {
            assert!(!problems.is_empty(), "rules are refused without a reason");
            for problem in &problems {
                check_problem(&rules, problem);
            }
            return;
        }
    };
    let warnings = [compiled.read_absent(), compiled.compare_in_vain(&[SOURCE])].concat();
    for problem in &warnings {
        check_problem(&rules, problem);
    }
    let _pairs = compiled.confirm_before_cancel();
    let sample = sample::session(NOW);
    check_verdict(&compiled, &sample, &[]);
    if let Some(shown) = session(SESSION_ID, StatusCode::OK, rest) {
        check_verdict(&compiled, &shown.session, &shown.unread_fields);
    }
}

/// It points into the rule.
fn check_problem(rules: &[Rule], problem: &RuleProblem) {
    let Some(rule) = rules.iter().find(|rule| rule.name == problem.rule) else { panic!("{problem:?} of no rule") };
    let line = rule.when.split('\n').nth(problem.position.line.saturating_sub(1));
    let is_inside = line.is_some_and(|line| problem.position.column <= line.chars().count() + 1);
    assert!(is_inside && problem.position.column > 0, "{problem:?} is beside {:?}", rule.when);
    assert!(!problem.to_string().is_empty());
}

/// A verdict is that of the first rule that is not false, and the same each time.
fn check_verdict(rules: &Rules, session: &Session, unread_fields: &[String]) {
    let verdict = rules.judge(SOURCE, session, unread_fields);
    assert_eq!(verdict, rules.judge(SOURCE, session, unread_fields), "one session is judged in two ways");
    let trials = rules.try_each(SOURCE, session);
    let decides = trials.iter().find(|trial| trial.outcome != Ok(false));
    match (&verdict, decides) {
        (RuleVerdict::Hold(HoldReason::NotEvaluated), None) => assert!(trials.is_empty()),
        (RuleVerdict::Hold(HoldReason::UnreadField(_)), _) => assert!(!unread_fields.is_empty(), "{verdict:?}"),
        (RuleVerdict::Hold(HoldReason::Rule(name)), Some(trial)) => {
            assert!(trial.rule == *name && trial.then == RuleAction::Hold && trial.outcome == Ok(true), "{trial:?}");
        }
        // All rules of one session have a bound together, which a trial of one alone does not meet.
        (RuleVerdict::Hold(HoldReason::Failed { why, .. }), _) if why.contains("too much") => {}
        (RuleVerdict::Hold(HoldReason::Failed { rule, why }), Some(trial)) => {
            assert_eq!((&trial.rule, trial.outcome.as_ref()), (rule, Err(why)), "{trial:?}");
        }
        (RuleVerdict::Act(_, decider), Some(trial)) => {
            assert_eq!((&decider.name, &trial.outcome), (&trial.rule, &Ok(true)), "{verdict:?}");
        }
        (RuleVerdict::Act(_, decider), None) => assert!(decider.name.is_empty(), "{verdict:?} by no rule"),
        (RuleVerdict::Hold(_), _) => panic!("{verdict:?} of {trials:?}"),
    }
    check_warned(rules, &trials);
}

/// A rule that fails for a field that is absent was warned of when it was compiled.
fn check_warned(rules: &Rules, trials: &[paybridge::confirmation::rules::RuleTrial]) {
    let warned = rules.read_absent();
    for trial in trials {
        let fails = trial.outcome.as_ref().is_err_and(|why| why.starts_with("asks for `"));
        let is_warned = warned.iter().any(|problem| problem.rule == trial.rule);
        assert!(!fails || is_warned, "{trial:?} fails, and nobody was warned");
    }
}
