//! Tries a rule on sessions without one of the optional fields, and finds where it would fail. What else decides between true and
//! false is not known, so both are followed: a comparison that a single sample would not reach is found too.
//! Pure: must not know a session.

use std::collections::{BTreeMap, HashMap, HashSet};

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::expression::children;
use super::unread::Field;

/// Rounds of a loop until nothing new can come of it; there are four outcomes.
const ROUNDS_MAX: usize = 4;

/// A field that a rule reads where it may be absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbsentRead {
    /// The node that reads it, by its id.
    pub node: u64,
    /// As the rule writes it: `o.customer.reference`.
    pub path: String,
    /// The fields on the way of which the rule fails without one, as it writes them: `o.customer`.
    pub fails_without: Vec<String>,
}

/// Every field that the rule reads and fails without, in the order of the text as far as nodes are numbered so. `fields` says which
/// field of the model each node reads.
pub fn absent_reads(tree: &IdedExpr, fields: &HashMap<u64, Field>) -> Vec<AbsentRead> {
    let optional: HashSet<Field> = fields.values().copied().filter(|(part, name)| part.may_be_absent(name)).collect();
    let chains = Chains::of(tree, fields);
    let mut found: BTreeMap<u64, AbsentRead> = BTreeMap::new();
    for absent in optional {
        let trial = AbsenceTrial { fields, absent };
        let Some(failed) = trial.outcomes(tree, &mut Vec::new()).fails else { continue };
        let whole = chains.end(failed);
        let read = found.entry(whole).or_insert_with(|| AbsentRead {
            node: failed,
            path: chains.path(whole),
            fails_without: Vec::new(),
        });
        read.fails_without.push(chains.path(failed));
        read.fails_without.sort_by_key(String::len);
    }
    found.into_values().collect()
}

/// Which fields of fields the rule names.
#[derive(Default)]
struct Chains {
    /// The node that reads a field of this node.
    outer: HashMap<u64, u64>,
    paths: HashMap<u64, String>,
}

impl Chains {
    fn of(tree: &IdedExpr, fields: &HashMap<u64, Field>) -> Self {
        let mut chains = Self::default();
        let mut open = vec![tree];
        while let Some(node) = open.pop() {
            if let Some((of, _)) = named_field(node).filter(|_| fields.contains_key(&node.id)) {
                chains.outer.insert(of.id, node.id);
                chains.paths.insert(node.id, path(node));
            }
            open.extend(children(node));
        }
        chains
    }

    /// The last node of the chain that this node is in.
    fn end(&self, node: u64) -> u64 {
        let mut last = node;
        // A chain is no longer than the tree is deep.
        for _ in 0..self.outer.len() {
            match self.outer.get(&last) {
                Some(outer) => last = *outer,
                None => break,
            }
        }
        last
    }

    fn path(&self, node: u64) -> String {
        self.paths.get(&node).cloned().unwrap_or_default()
    }
}

/// What a field is taken of, and its name: `a.b` or `a['b']`.
fn named_field(node: &IdedExpr) -> Option<(&IdedExpr, &str)> {
    match &node.expr {
        Expr::Select(select) => Some((&select.operand, &select.field)),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => Some((of, name.inner())),
            _ => None,
        },
        _ => None,
    }
}

/// As the rule writes it. Only fields of the model are on it: other names, in quotes, may be a customer's.
fn path(node: &IdedExpr) -> String {
    match (&node.expr, named_field(node)) {
        (Expr::Ident(name), _) => name.clone(),
        (_, Some((of, name))) => format!("{}.{name}", path(of)),
        (Expr::Call(call), None) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, IdedExpr { expr: Expr::Literal(LiteralValue::Int(number)), .. }] => {
                format!("{}[{}]", path(of), number.inner())
            }
            _ => "…".to_owned(),
        },
        _ => "…".to_owned(),
    }
}

/// What an expression may give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "it is a set of four outcomes, and each may be in it")]
struct Outcomes {
    truth: bool,
    untruth: bool,
    /// A list without elements.
    empty: bool,
    /// Anything else.
    other: bool,
    /// The node that reads an absent field.
    fails: Option<u64>,
}

const NOTHING: Outcomes = Outcomes { truth: false, untruth: false, empty: false, other: false, fails: None };
const TRUTH: Outcomes = Outcomes { truth: true, ..NOTHING };
const UNTRUTH: Outcomes = Outcomes { untruth: true, ..NOTHING };
const EMPTY: Outcomes = Outcomes { empty: true, ..NOTHING };
const OTHER: Outcomes = Outcomes { other: true, ..NOTHING };
const ANYTHING: Outcomes = Outcomes { truth: true, untruth: true, empty: true, other: true, fails: None };

impl Outcomes {
    fn or(self, more: Self) -> Self {
        Self {
            truth: self.truth || more.truth,
            untruth: self.untruth || more.untruth,
            empty: self.empty || more.empty,
            other: self.other || more.other,
            fails: self.fails.or(more.fails),
        }
    }

    fn and_fails(self, fails: Option<u64>) -> Self {
        Self { fails: self.fails.or(fails), ..self }
    }

    fn without_failure(self) -> Self {
        Self { fails: None, ..self }
    }

    fn not(self) -> Self {
        Self { truth: self.untruth, untruth: self.truth, ..self }
    }

    /// A failure beside a false is false, as the evaluator has it, whichever comes first.
    fn and(self, more: Self) -> Self {
        let left = self.fails.filter(|_| more.truth || more.fails.is_some());
        let right = more.fails.filter(|_| self.truth || self.fails.is_some());
        Self {
            truth: self.truth && more.truth,
            untruth: self.untruth || more.untruth,
            fails: left.or(right),
            ..NOTHING
        }
    }
}

/// One trial: without one field.
struct AbsenceTrial<'a> {
    fields: &'a HashMap<u64, Field>,
    absent: Field,
}

/// The variables of the loops around, innermost last.
type Scope<'a> = Vec<(&'a str, Outcomes)>;

impl AbsenceTrial<'_> {
    fn outcomes<'t>(&self, node: &'t IdedExpr, scope: &mut Scope<'t>) -> Outcomes {
        match &node.expr {
            Expr::Literal(LiteralValue::Boolean(truth)) => {
                if *truth.inner() {
                    TRUTH
                } else {
                    UNTRUTH
                }
            }
            Expr::Literal(_) | Expr::Unspecified => OTHER,
            Expr::Ident(name) => scope.iter().rev().find(|(known, _)| known == name).map_or(OTHER, |(_, known)| *known),
            Expr::Select(select) => self.field(node, select, scope),
            Expr::Call(call) => self.call(node, call, scope),
            Expr::List(list) if list.elements.is_empty() => EMPTY,
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => OTHER.and_fails(self.failure_below(node, scope)),
            Expr::Comprehension(loops) => self.comprehension(loops, scope),
        }
    }

    fn failure_below<'t>(&self, node: &'t IdedExpr, scope: &mut Scope<'t>) -> Option<u64> {
        children(node).into_iter().find_map(|child| self.outcomes(child, scope).fails)
    }

    fn field<'t>(&self, node: &'t IdedExpr, select: &'t SelectExpr, scope: &mut Scope<'t>) -> Outcomes {
        let of = self.outcomes(&select.operand, scope).fails;
        match (self.fields.get(&node.id), select.test) {
            (Some(field), true) if *field == self.absent => UNTRUTH.and_fails(of),
            // Other fields may be absent too.
            (Some((part, name)), true) if !part.may_be_absent(name) => TRUTH.and_fails(of),
            (_, true) => TRUTH.or(UNTRUTH).and_fails(of),
            (_, false) => self.value(node).and_fails(of),
        }
    }

    /// What a node that reads a field gives, where what it reads it from is there.
    fn value(&self, node: &IdedExpr) -> Outcomes {
        match self.fields.get(&node.id) {
            Some(field) if *field == self.absent => NOTHING.and_fails(Some(node.id)),
            // Neither a truth nor an empty list: rules are asked about sessions with operations alone.
            Some((_, name)) if *name != "metadata" => OTHER,
            Some(_) | None => ANYTHING,
        }
    }

    fn call<'t>(&self, node: &'t IdedExpr, call: &'t CallExpr, scope: &mut Scope<'t>) -> Outcomes {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, one, other]) => {
                let condition = self.outcomes(condition, scope);
                let one = if condition.truth { self.outcomes(one, scope) } else { NOTHING };
                let other = if condition.untruth { self.outcomes(other, scope) } else { NOTHING };
                one.or(other).and_fails(condition.fails)
            }
            (operators::LOGICAL_AND, [one, other]) => self.outcomes(one, scope).and(self.outcomes(other, scope)),
            (operators::LOGICAL_OR, [one, other]) => {
                self.outcomes(one, scope).not().and(self.outcomes(other, scope).not()).not()
            }
            (operators::LOGICAL_NOT, [one]) => self.outcomes(one, scope).not(),
            (operators::INDEX, [_, _]) => self.value(node).and_fails(self.failure_below(node, scope)),
            // Of lists, what `filter()` and `map()` gather.
            (operators::ADD, [_, _]) => OTHER.and_fails(self.failure_below(node, scope)),
            _ => ANYTHING.and_fails(self.failure_below(node, scope)),
        }
    }

    fn comprehension<'t>(&self, loops: &'t ComprehensionExpr, scope: &mut Scope<'t>) -> Outcomes {
        let range = self.outcomes(&loops.iter_range, scope);
        let begin = self.outcomes(&loops.accu_init, scope);
        let mut fails = range.fails.or(begin.fails);
        let mut gathered = if range.empty { begin.without_failure() } else { NOTHING };
        if range.other {
            let mut before = begin.without_failure();
            for _ in 0..ROUNDS_MAX {
                scope.push((&loops.iter_var, ANYTHING));
                scope.push((&loops.accu_var, before));
                let step = self.outcomes(&loops.loop_step, scope);
                scope.pop();
                scope.pop();
                fails = fails.or(step.fails);
                gathered = gathered.or(step.without_failure());
                let after = before.or(gathered);
                if after == before {
                    break;
                }
                before = after;
            }
        }
        scope.push((&loops.accu_var, gathered));
        let result = self.outcomes(&loops.result, scope);
        scope.pop();
        result.and_fails(fails)
    }
}

#[cfg(test)]
mod tests {
    use cel::Env;

    use super::*;
    use crate::confirmation::rules::expression::Expression;
    use crate::confirmation::rules::inspect::inspect;

    fn reads(text: &str) -> Vec<(String, String)> {
        let environment = Env::stdlib().with_optional_support(false);
        let expression = Expression::parse(text, &environment).ok().unwrap();
        let found = inspect(&expression);
        assert_eq!(found.complaints, [], "{text}");
        let reads = absent_reads(&expression.tree, &found.fields).into_iter();
        reads.map(|read| (read.path, read.fails_without.join(" "))).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = reads(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(path, without)| (path.as_str(), without.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn finds_what_is_read_and_not_tested() {
        check("session.status == 'created'", &[("session.status", "session.status")]);
        check(
            "session.operations.exists(o, o.customer.reference in ['a'])",
            &[("o.customer.reference", "o.customer o.customer.reference")],
        );
        check("session.operations.all(o, has(o.customer.reference))", &[("o.customer.reference", "o.customer")]);
        check(
            "session.operations[0].instrument.card['bin'] == '1'",
            &[(
                "session.operations[0].instrument.card.bin",
                "session.operations[0].instrument session.operations[0].instrument.card \
                 session.operations[0].instrument.card.bin",
            )],
        );
        check("session.operations.all(o, o.metadata['user-13'] == 1)", &[("o.metadata", "o.metadata")]);
        check("session.operations.map(o, o.status).size() == 1", &[("o.status", "o.status")]);
        check("session.created_at.getHours() > 8", &[("session.created_at", "session.created_at")]);
        check("[session.status].size() == 1", &[("session.status", "session.status")]);
        check("session.operations.all(o, o.amount.exponent == 2)", &[("o.amount.exponent", "o.amount.exponent")]);
    }

    /// A sample payout in dollars would not get so far.
    #[test]
    fn finds_what_a_sample_would_not_reach() {
        check("session.operations.all(o, o.kind == 'payment' && o.status == 'pending')", &[("o.status", "o.status")]);
        check(
            "session.operations.exists(o, o.amount.currency == 'EUR' ? o.status == 'pending' : false)",
            &[("o.status", "o.status")],
        );
        check("session.source == 'b' || session.status == 'created'", &[("session.status", "session.status")]);
        check(
            "has(session.status) ? session.status == 'created' : session.next_action == 'confirm'",
            &[("session.next_action", "session.next_action")],
        );
    }

    #[test]
    fn is_content_with_every_way_to_test() {
        for text in [
            "session.operations.all(o, o.kind == 'payout' && o.amount.minor_units < 5)",
            "has(session.status) && session.status == 'created'",
            "session.status == 'created' && has(session.status)",
            "!has(session.status) || session.status == 'created'",
            "!(!has(session.status)) && session.status == 'created'",
            "has(session.status) ? session.status == 'created' : false",
            "session.operations.all(o, has(o.customer) && has(o.customer.reference) && o.customer.reference == 'a')",
            "session.operations.filter(o, has(o.customer)).all(o, has(o.customer.reference) && o.customer.reference == 'a')",
            "session.operations.filter(o, has(o.status)).exists(o, o.status == 'pending')",
            "session.operations.filter(o, has(o.status)).map(o, o.status).all(s, s == 'pending')",
            "session.operations.all(o, has(o.metadata) && o.metadata.tier == 'gold')",
            "has(session.created_at) && has(session.updated_at) && session.updated_at - session.created_at < duration('1h')",
        ] {
            check(text, &[]);
        }
    }
}
