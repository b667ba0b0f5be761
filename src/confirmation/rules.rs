//! Rules: what is done with a session that has just opened, by what its webhook says of it.
//! Pure: no clock, no input or output; must not know what became of a session before, or how it is carried out.

mod absence;
mod excerpt;
mod expression;
mod facts;
mod functions;
mod inspect;
mod known_field;
pub mod sample;
mod shape;
mod steps;
mod unread;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::{Context, Env, ExecutionError, Value};

use crate::config::{Rule, RuleAction, SessionDefault};
use crate::confirmation::session::model::{Action, Decider};
use crate::message::confirmation::v1::DeciderKind;
use crate::message::smart_glocal::v1::Session;
use absence::AbsentRead;
use expression::Expression;
use facts::SessionFacts;
use inspect::{FieldComparison, Inspected};
use known_field::{Comparison, KnownField, Literal};
use shape::ModelPart;
use steps::{RULE_STEPS_MAX, SESSION_STEPS_MAX};
use unread::{Field, UnreadFields};

pub use excerpt::RulePosition;

/// Compiled rules in their order, and what is done where none is for a session.
pub struct Rules {
    in_order: Vec<CompiledRule>,
    default: SessionDefault,
    environment: Arc<Env>,
}

struct CompiledRule {
    name: String,
    tree: IdedExpr,
    /// The fields of the model that it reads.
    read: HashSet<Field>,
    then: RuleAction,
    comparisons: Vec<ComparedField>,
    absent_reads: Vec<(RulePlace, AbsentRead)>,
}

/// A field that a rule compares with a literal.
struct ComparedField {
    place: RulePlace,
    field: KnownField,
    comparison: Comparison,
    literal: Literal,
}

/// Where in a rule.
#[derive(Clone)]
struct RulePlace {
    position: RulePosition,
    excerpt: String,
}

/// Something that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {action}\n{excerpt}", self.sentence())]
pub struct RuleProblem {
    /// The rule's name.
    pub rule: String,
    /// Where in its `when`.
    pub position: RulePosition,
    /// What is wrong, as half a sentence after the rule's name; it may name fields and functions, but no value of the rule.
    pub message: String,
    /// What to do.
    pub action: String,
    /// Its line, with a caret below the place; what the rule has in quotes is hidden.
    pub excerpt: String,
}

impl RuleProblem {
    /// The rule, what is wrong, and where.
    pub fn sentence(&self) -> String {
        let Self { rule, position: RulePosition { line, column }, message, .. } = self;
        format!("rule \"{rule}\" {message} (line {line}, column {column})")
    }
}

/// What the rules say of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleVerdict {
    /// It is decided, by a rule or by the default.
    Act(Action, Decider),
    /// It waits for a decision or its deadline.
    Hold(HoldReason),
}

/// Why a session waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// The rule of this name says so.
    Rule(String),
    /// No rule is for it, and the default is to hold.
    NoRule,
    /// Rules were not asked: it has no operation, one without a known amount (none, or no currency) or with one of zero or
    /// less, a list with amounts that this version does not know, or attached data that cannot be read.
    NotEvaluated,
    /// The rule of this name reads a field that stands in the body and could not be read. Neither it nor those after it were asked.
    UnreadField(String),
    /// The rule of this name failed: it asked for what is absent, mixed kinds of values, gave no truth, or had too much
    /// to look at. The rules after it were not asked.
    Failed {
        /// The rule's name.
        rule: String,
        /// Why, as half a sentence after that; no value of the session.
        why: String,
    },
}

/// What one rule says of a session, alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTrial {
    /// The rule's name.
    pub rule: String,
    /// What it does when it is true.
    pub then: RuleAction,
    /// Whether it is true, or why it failed; no value of the session.
    pub outcome: Result<bool, String>,
}

impl Rules {
    /// Compiles rules. It takes a thread for a moment, for its stack.
    ///
    /// # Errors
    /// Everything that is wrong with them, in their order.
    pub fn compile(rules: &[Rule], default: SessionDefault) -> Result<Self, Vec<RuleProblem>> {
        // Optional values would be one more way for something to be absent.
        let environment = Env::stdlib().with_optional_support(false);
        let mut compiled = Vec::new();
        let mut problems = Vec::new();
        for rule in rules {
            match compile(rule, &environment) {
                Ok(rule) => compiled.push(rule),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { in_order: compiled, default, environment: Arc::new(environment) })
    }

    /// What is done with this session of this source: the first rule that is true decides, then the default. `unread_fields` are
    /// the paths of the fields of its body that could not be read.
    pub fn judge(&self, source: &str, session: &Session, unread_fields: &[String]) -> RuleVerdict {
        let unread = UnreadFields::of(unread_fields);
        let Some(facts) = SessionFacts::of(source, session) else {
            return RuleVerdict::Hold(HoldReason::NotEvaluated);
        };
        let context = self.context(&facts);
        let mut steps_left = SESSION_STEPS_MAX;
        for rule in &self.in_order {
            if unread.has_any_of(&rule.read) {
                return RuleVerdict::Hold(HoldReason::UnreadField(rule.name.clone()));
            }
            match rule.is_true(&facts, &context, &mut steps_left) {
                Ok(true) => return rule.verdict(),
                Ok(false) => {}
                Err(why) => return RuleVerdict::Hold(HoldReason::Failed { rule: rule.name.clone(), why }),
            }
        }
        match self.default {
            SessionDefault::Confirm => RuleVerdict::Act(Action::Confirm, decider(DeciderKind::Default, "")),
            SessionDefault::Cancel => RuleVerdict::Act(Action::Cancel, decider(DeciderKind::Default, "")),
            SessionDefault::Hold => RuleVerdict::Hold(HoldReason::NoRule),
        }
    }

    /// What each rule says of this session, whatever those before it say; empty for a session that is not evaluated.
    pub fn try_each(&self, source: &str, session: &Session) -> Vec<RuleTrial> {
        let Some(facts) = SessionFacts::of(source, session) else { return Vec::new() };
        let context = self.context(&facts);
        let trial = |rule: &CompiledRule| RuleTrial {
            rule: rule.name.clone(),
            then: rule.then,
            outcome: {
                let mut steps_left = SESSION_STEPS_MAX;
                rule.is_true(&facts, &context, &mut steps_left)
            },
        };
        self.in_order.iter().map(trial).collect()
    }

    /// Each confirm rule with each cancel rule that comes after it: a session that is right for both is confirmed.
    pub fn confirm_before_cancel(&self) -> Vec<(&str, &str)> {
        let mut pairs = Vec::new();
        let mut confirming: Vec<&str> = Vec::new();
        for rule in &self.in_order {
            match rule.then {
                RuleAction::Confirm => confirming.push(&rule.name),
                RuleAction::Cancel => pairs.extend(confirming.iter().map(|confirm| (*confirm, rule.name.as_str()))),
                RuleAction::Hold => {}
            }
        }
        pairs
    }

    /// Each comparison that gives the same whatever the session is, such as that of a currency with a text in lower case. `sources`
    /// are the names of the sources whose sessions may come.
    pub fn compare_in_vain(&self, sources: &[&str]) -> Vec<RuleProblem> {
        let of_rule = |rule: &CompiledRule| {
            let in_vain = |compared: &ComparedField| {
                let ComparedField { place, field, comparison, literal } = compared;
                let (message, action) = field.in_vain(*comparison, literal, sources)?;
                Some(rule.problem(place, message, action))
            };
            rule.comparisons.iter().filter_map(in_vain).collect::<Vec<_>>()
        };
        self.in_order.iter().flat_map(of_rule).collect()
    }

    /// Each field that may be absent and that a rule reads without a test, so that it fails.
    pub fn read_absent(&self) -> Vec<RuleProblem> {
        let of_rule = |rule: &CompiledRule| {
            let problem = |(place, read): &(RulePlace, AbsentRead)| {
                let AbsentRead { path, fails_without, .. } = read;
                let message = format!("reads {path}, and fails on a session without {}", fails_without.join(" or "));
                let tests: Vec<String> = fails_without.iter().map(|field| format!("has({field})")).collect();
                let action =
                    format!("write {} && before it: a session on which a rule fails is held", tests.join(" && "));
                rule.problem(place, message, action)
            };
            rule.absent_reads.iter().map(problem).collect::<Vec<_>>()
        };
        self.in_order.iter().flat_map(of_rule).collect()
    }

    fn context(&self, facts: &SessionFacts) -> Context<'static, 'static> {
        let mut context = Context::with_env(Arc::clone(&self.environment));
        context.add_variable_from_value("session", facts.session.clone());
        context
    }
}

impl CompiledRule {
    fn is_true(&self, facts: &SessionFacts, context: &Context<'_, '_>, steps_left: &mut u64) -> Result<bool, String> {
        let steps = steps::steps(&self.tree, facts.size);
        *steps_left = steps_left.saturating_sub(steps);
        if steps > RULE_STEPS_MAX || *steps_left == 0 {
            return Err("has too much to look at: too many operations, or too long texts".to_owned());
        }
        // A session that makes the evaluator panic would end the process, and again after each restart.
        match catch_unwind(AssertUnwindSafe(|| Value::resolve(&self.tree, context))) {
            Ok(Ok(Value::Bool(truth))) => Ok(truth),
            Ok(Ok(_)) => Err("gives neither true nor false".to_owned()),
            Ok(Err(error)) => Err(describe_error(&error)),
            Err(_) => Err("is more than the evaluator can take".to_owned()),
        }
    }

    fn problem(&self, place: &RulePlace, message: String, action: String) -> RuleProblem {
        let RulePlace { position, excerpt } = place.clone();
        RuleProblem { rule: self.name.clone(), position, message, action, excerpt }
    }

    fn verdict(&self) -> RuleVerdict {
        match self.then {
            RuleAction::Confirm => RuleVerdict::Act(Action::Confirm, decider(DeciderKind::Rule, &self.name)),
            RuleAction::Cancel => RuleVerdict::Act(Action::Cancel, decider(DeciderKind::Rule, &self.name)),
            RuleAction::Hold => RuleVerdict::Hold(HoldReason::Rule(self.name.clone())),
        }
    }
}

fn compile(rule: &Rule, environment: &Env) -> Result<CompiledRule, Vec<RuleProblem>> {
    let problem = |position, message, action| {
        let excerpt = excerpt::excerpt(&rule.when, position);
        RuleProblem { rule: rule.name.clone(), position, message, action, excerpt }
    };
    let expression = Expression::parse(&rule.when, environment).map_err(|misread| {
        let action = || "write a CEL expression over `session`".to_owned();
        misread.into_iter().map(|misread| problem(misread.position, misread.message, action())).collect::<Vec<_>>()
    })?;
    let Inspected { complaints, fields, comparisons } = inspect::inspect(&expression);
    if !complaints.is_empty() {
        return Err(complaints.into_iter().map(|found| problem(found.position, found.message, found.action)).collect());
    }
    let place = |position| RulePlace { position, excerpt: expression.excerpt(position) };
    let compared = |found: FieldComparison| ComparedField {
        place: place(found.position),
        field: found.field,
        comparison: found.comparison,
        literal: found.literal,
    };
    let reads = absence::absent_reads(&expression.tree, &fields).into_iter();
    let absent_reads = reads.map(|read| (place(expression.position_of(read.node)), read)).collect();
    Ok(CompiledRule {
        name: rule.name.clone(),
        comparisons: comparisons.into_iter().map(compared).collect(),
        absent_reads,
        tree: expression.tree,
        read: fields.into_values().collect(),
        then: rule.then,
    })
}

fn decider(kind: DeciderKind, name: &str) -> Decider {
    Decider { kind, name: name.to_owned(), decision_id: String::new(), reason: String::new() }
}

/// Why the evaluator failed, without the values that it failed on.
fn describe_error(error: &ExecutionError) -> String {
    match error {
        // A key that is no field of the model may be computed of the session, or be a customer's.
        ExecutionError::NoSuchKey(name) if ModelPart::ALL.iter().any(|part| part.field(name).is_some()) => {
            format!("asks for `{name}`, which is absent: test it with has() first")
        }
        ExecutionError::NoSuchKey(_) => "asks for a key that is absent: test it with has() or `in` first".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "asks for an element behind the end of a list".to_owned(),
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::ValuesNotComparable(_, _)
        | ExecutionError::UnsupportedBinaryOperator(_, _, _)
        | ExecutionError::UnexpectedType { .. } => "mixes kinds of values".to_owned(),
        _ => "computes what has no result".to_owned(),
    }
}

#[cfg(test)]
mod tests;
