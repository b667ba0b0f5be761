//! What the rules of this configuration say of a session, rule by rule. Must not know what became of it.

use std::fmt;

use serde::Serialize;

use crate::config::RuleAction;
use crate::confirmation::codec::inputs::ReadyEvent;
use crate::confirmation::rules::{HoldReason, RuleTrial, RuleVerdict, Rules};
use crate::confirmation::session::model::Action;
use crate::message::confirmation::v1::DeciderKind;

/// What the rules say.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RulesToday {
    /// Whether they confirm, cancel or hold it.
    pub(super) verdict: RuleWord,
    /// The same with its reason, as the end of a sentence.
    pub(super) because: String,
    /// The rules that were tried, in their order, up to the one that decided.
    pub(super) tried: Vec<TriedRule>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RuleWord {
    Confirm,
    Cancel,
    Hold,
}

/// One rule that was tried.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TriedRule {
    rule: String,
    then: RuleWord,
    /// `true`, `false`, or why it failed.
    result: String,
}

impl RulesToday {
    /// Tries the rules on what the event says.
    pub(super) fn of(rules: &Rules, event: &ReadyEvent) -> Self {
        let trials = rules.try_each(&event.key.source, &event.session);
        let verdict = rules.judge(&event.key.source, &event.session, &event.unread_fields);
        let word = match &verdict {
            RuleVerdict::Act(Action::Confirm, _) => RuleWord::Confirm,
            RuleVerdict::Act(Action::Cancel, _) => RuleWord::Cancel,
            RuleVerdict::Hold(_) => RuleWord::Hold,
        };
        let because = because(&verdict);
        let last = last_rule(&verdict);
        let mut tried = Vec::new();
        for RuleTrial { rule, then, outcome } in trials {
            let is_last = last.as_deref() == Some(rule.as_str());
            let result = match outcome {
                _ if is_last && matches!(verdict, RuleVerdict::Hold(HoldReason::UnreadField(_))) => {
                    "not tried: it reads a field that could not be read".to_owned()
                }
                Ok(truth) => truth.to_string(),
                Err(why) => format!("failed: it {why}"),
            };
            let then = match then {
                RuleAction::Confirm => RuleWord::Confirm,
                RuleAction::Cancel => RuleWord::Cancel,
                RuleAction::Hold => RuleWord::Hold,
            };
            tried.push(TriedRule { rule, then, result });
            if is_last {
                break;
            }
        }
        Self { verdict: word, because, tried }
    }
}

/// The rule after which no other is tried.
fn last_rule(verdict: &RuleVerdict) -> Option<String> {
    match verdict {
        RuleVerdict::Act(_, decider) if decider.kind == DeciderKind::Rule => Some(decider.name.clone()),
        RuleVerdict::Hold(
            HoldReason::Rule(name) | HoldReason::UnreadField(name) | HoldReason::Failed { rule: name, .. },
        ) => Some(name.clone()),
        RuleVerdict::Act(..) | RuleVerdict::Hold(HoldReason::NoRule | HoldReason::NotEvaluated) => None,
    }
}

fn because(verdict: &RuleVerdict) -> String {
    match verdict {
        RuleVerdict::Act(action, decider) => {
            let action = action.verb();
            match decider.kind {
                DeciderKind::Rule => format!("{action}, because the rule \"{}\" is true", decider.name),
                _ => format!("{action}, because no rule is true and confirmation.default is \"{action}\""),
            }
        }
        RuleVerdict::Hold(HoldReason::Rule(name)) => format!("hold, because the rule \"{name}\" is true"),
        RuleVerdict::Hold(HoldReason::NoRule) => {
            "hold, because no rule is true and confirmation.default is \"hold\"".to_owned()
        }
        RuleVerdict::Hold(HoldReason::NotEvaluated) => "hold, and no rule is tried: the session has no operation, an amount that \
             is unknown or not above zero, a list of amounts that this version does not know, or metadata that cannot be read"
            .to_owned(),
        RuleVerdict::Hold(HoldReason::UnreadField(name)) => format!(
            "hold, because the rule \"{name}\" reads a field that could not be read (metadata.unread_fields names it)"
        ),
        RuleVerdict::Hold(HoldReason::Failed { rule, why }) => {
            format!("hold, because the rule \"{rule}\" failed: it {why}")
        }
    }
}

impl fmt::Display for RuleWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
            Self::Hold => "hold",
        })
    }
}

impl fmt::Display for TriedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" (then {}): {}", self.rule, self.then, self.result)
    }
}
