//! Walks an expression and finds what the evaluator would find too late or never: names that are not in the model,
//! comparisons that cannot come true, results that are no decision, and costs that cannot be bounded.
//! Pure: must not know a session.

mod comparisons;

use std::collections::HashMap;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, MapExpr, SelectExpr};
use cel::common::ast::{ListExpr, operators};

use super::excerpt::RulePosition;
use super::expression::Expression;
use super::functions::{self, CallStyle, FUNCTIONS, REGULAR_EXPRESSIONS};
use super::known_field::{Comparison, KnownField, Literal};
use super::shape::{ModelPart, Shape};
use super::unread::Field;
use crate::settings::suggestion;

/// Loops inside each other. Each multiplies the work by the number of operations, which the provider chooses.
const LOOPS_MAX: usize = 3;

/// The one variable of the model.
const SESSION: &str = "session";

/// Something that is wrong with an expression.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleComplaint {
    /// Where.
    pub position: RulePosition,
    /// What is wrong, as half a sentence after the rule's name; names of fields and functions, no other text of the rule.
    pub message: String,
    /// What to do.
    pub action: String,
}

/// A field that is compared with a literal.
#[derive(Debug)]
pub struct FieldComparison {
    /// Where the literal stands.
    pub position: RulePosition,
    /// The field.
    pub field: KnownField,
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub literal: Literal,
}

/// What was found in an expression.
#[derive(Default)]
pub struct Inspected {
    /// Everything that is wrong, in the order of the text: empty when it can be evaluated.
    pub complaints: Vec<RuleComplaint>,
    /// The field of the model that each node reads, by the node's id.
    pub fields: HashMap<u64, Field>,
    /// Fields of known values that are compared with literals.
    pub comparisons: Vec<FieldComparison>,
}

/// Walks an expression.
pub fn inspect(expression: &Expression<'_>) -> Inspected {
    let mut walk = Inspection { expression, scope: Vec::new(), loops: 0, found: Inspected::default() };
    let result = walk.shape(&expression.tree);
    if result.excludes(&Shape::Truth) {
        walk.complain(
            &expression.tree,
            format!("gives {result} instead of true or false"),
            "compare it with something",
        );
    }
    walk.found.complaints.sort();
    walk.found.complaints.dedup();
    walk.found
}

struct Inspection<'a> {
    expression: &'a Expression<'a>,
    /// The variables of the loops around, innermost last.
    scope: Vec<(&'a str, Shape)>,
    loops: usize,
    found: Inspected,
}

impl<'a> Inspection<'a> {
    /// The shape of what a node gives. What is wrong was complained about, and can be anything.
    fn shape(&mut self, node: &'a IdedExpr) -> Shape {
        match &node.expr {
            Expr::Literal(literal) => of_literal(literal),
            Expr::Ident(name) => self.variable(node, name),
            Expr::Select(select) => self.field(node, select),
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(loops) => self.comprehension(node, loops),
            Expr::Struct(_) => self.complain(node, "makes a message", "there is none to make: write a condition"),
            Expr::Unspecified => self.complain(node, "does not compile", "write a condition"),
        }
    }

    fn complain(&mut self, node: &IdedExpr, message: impl Into<String>, action: impl Into<String>) -> Shape {
        let position = self.expression.position(node);
        self.found.complaints.push(RuleComplaint { position, message: message.into(), action: action.into() });
        Shape::Any
    }

    fn variable(&mut self, node: &IdedExpr, name: &str) -> Shape {
        if let Some((_, shape)) = self.scope.iter().rev().find(|(known, _)| *known == name) {
            return shape.clone();
        }
        // A leading dot passes the loops' variables over.
        if name.trim_start_matches('.') == SESSION {
            return Shape::Part(ModelPart::Session);
        }
        let known: Vec<&str> = self.scope.iter().map(|(name, _)| *name).filter(|name| !name.starts_with('@')).collect();
        let action = suggestion(name, &[&[SESSION], known.as_slice()].concat());
        self.complain(node, format!("names `{name}`, which is no variable"), action)
    }

    fn field(&mut self, node: &IdedExpr, select: &'a SelectExpr) -> Shape {
        let of = self.shape(&select.operand);
        let shape = self.member(node, &of, &select.field);
        if select.test { Shape::Truth } else { shape }
    }

    fn member(&mut self, node: &IdedExpr, of: &Shape, name: &str) -> Shape {
        match of {
            Shape::Any | Shape::Nothing => Shape::Any,
            Shape::Part(part) => {
                if let Some((name, shape)) = part.field(name) {
                    self.found.fields.insert(node.id, (*part, name));
                    return shape;
                }
                let fields = part.fields();
                let known: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                let message = format!("names `{name}`, which is no field of {part}");
                self.complain(node, message, suggestion(name, &known))
            }
            Shape::Each(_) => {
                let message = format!("takes the field `{name}` of a list");
                self.complain(node, message, "look at each element with all() or exists(), or at one with [0]")
            }
            other => {
                let message = format!("takes the field `{name}` of {other}");
                self.complain(node, message, "only the session, its parts and metadata have fields")
            }
        }
    }

    fn list(&mut self, list: &'a ListExpr) -> Shape {
        let elements = list.elements.iter().fold(Shape::Nothing, |all, element| all.or(self.single(element)));
        Shape::Each(Box::new(elements))
    }

    fn map(&mut self, map: &'a MapExpr) -> Shape {
        for entry in &map.entries {
            if let EntryExpr::MapEntry(entry) = &entry.expr {
                self.single(&entry.key);
                self.single(&entry.value);
            }
        }
        Shape::Any
    }

    /// Something that may be put into a list or a map. With lists or objects in them these could double at each step of a
    /// chain of loops.
    fn single(&mut self, node: &'a IdedExpr) -> Shape {
        let before = self.found.complaints.len();
        let shape = self.shape(node);
        if shape.is_single() || self.found.complaints.len() > before {
            return shape;
        }
        self.complain(node, format!("puts {shape} into a list or a map"), "put text, numbers, times or truths there")
    }

    fn comprehension(&mut self, node: &'a IdedExpr, loops: &'a ComprehensionExpr) -> Shape {
        let element = match self.shape(&loops.iter_range) {
            Shape::Each(element) => *element,
            Shape::Any => Shape::Any,
            other => self.complain(node, format!("goes through {other}"), "only lists have elements"),
        };
        self.loops = self.loops.saturating_add(1);
        if self.loops > LOOPS_MAX {
            let message = format!(
                "has more than {LOOPS_MAX} loops inside each other: each multiplies the work by the number of operations"
            );
            self.complain(node, message, "split the rule, or compare less");
        }
        let begin = self.shape(&loops.accu_init);
        self.scope.push((&loops.iter_var, element));
        self.scope.push((&loops.accu_var, begin));
        self.shape(&loops.loop_cond);
        let step = self.shape(&loops.loop_step);
        self.loops = self.loops.saturating_sub(1);
        self.scope.pop();
        self.scope.pop();
        self.scope.push((&loops.accu_var, step));
        let result = self.shape(&loops.result);
        self.scope.pop();
        result
    }

    fn call(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Shape {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, one, other]) => {
                self.truth(condition);
                self.either(node, one, other)
            }
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [one, other]) => {
                self.truth(one);
                self.truth(other);
                Shape::Truth
            }
            (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [one]) => {
                self.truth(one);
                Shape::Truth
            }
            (operators::EQUALS, [one, other]) => self.equality(node, one, Comparison::Equal, other),
            (operators::NOT_EQUALS, [one, other]) => self.equality(node, one, Comparison::NotEqual, other),
            (operators::LESS, [one, other]) => self.order(node, one, Comparison::Less, other),
            (operators::LESS_EQUALS, [one, other]) => self.order(node, one, Comparison::LessOrEqual, other),
            (operators::GREATER, [one, other]) => self.order(node, one, Comparison::More, other),
            (operators::GREATER_EQUALS, [one, other]) => self.order(node, one, Comparison::MoreOrEqual, other),
            (operators::IN, [element, list]) => self.membership(node, element, list),
            (operators::INDEX, [of, index]) => self.index(node, of, index),
            (operators::ADD, [accumulated, added]) if is_accumulator(accumulated) => self.added(accumulated, added),
            (
                operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
                [one, other],
            ) => self.arithmetic(node, one, other),
            (operators::NEGATE, [one]) => self.shape(one),
            (name, _) => self.function(node, name, call),
        }
    }

    fn truth(&mut self, node: &'a IdedExpr) {
        let shape = self.shape(node);
        if shape.excludes(&Shape::Truth) {
            self.complain(node, format!("takes {shape} for true or false"), "compare it with something");
        }
    }

    /// What is one thing or another could not be checked any further.
    fn either(&mut self, node: &IdedExpr, one: &'a IdedExpr, other: &'a IdedExpr) -> Shape {
        let (one, other) = (self.shape(one), self.shape(other));
        if one.excludes(&other) {
            let message = format!("gives {one} or {other}");
            return self.complain(node, message, "give the same kind of value on both sides of the colon");
        }
        one.or(other)
    }

    fn index(&mut self, node: &'a IdedExpr, of: &'a IdedExpr, index: &'a IdedExpr) -> Shape {
        let (shape, by) = (self.shape(of), self.shape(index));
        if let Expr::Map(map) = &of.expr {
            self.note_keys(map, &by);
        }
        match (shape, &index.expr) {
            (Shape::Each(element), _) if !by.excludes(&Shape::Number) => *element,
            (Shape::Any, _) => Shape::Any,
            (part @ Shape::Part(_), Expr::Literal(LiteralValue::String(name))) => {
                self.member(node, &part, name.inner())
            }
            (Shape::Part(part), _) => {
                let message = format!("computes the name of a field of {part}");
                self.complain(node, message, "write the field's name, so that it can be checked")
            }
            (other, _) => {
                self.complain(node, format!("takes {by} as an index of {other}"), "lists have numbers as an index")
            }
        }
    }

    /// What `map()` and `filter()` add to their result, which is written as a list of one.
    fn added(&mut self, accumulated: &'a IdedExpr, added: &'a IdedExpr) -> Shape {
        let all = self.shape(accumulated);
        let Expr::List(list) = &added.expr else {
            return all.or(self.shape(added));
        };
        let mut elements = Shape::Nothing;
        for element in &list.elements {
            let own = matches!(&element.expr, Expr::Ident(name) if self.is_innermost(name));
            // An element as it stands makes no list longer or deeper than the one that it came from.
            elements = elements.or(if own { self.shape(element) } else { self.single(element) });
        }
        all.or(Shape::Each(Box::new(elements)))
    }

    fn is_innermost(&self, name: &str) -> bool {
        self.scope.iter().rev().find(|(known, _)| !known.starts_with('@')).is_some_and(|(known, _)| *known == name)
    }

    fn arithmetic(&mut self, node: &IdedExpr, one: &'a IdedExpr, other: &'a IdedExpr) -> Shape {
        match (self.shape(one).kind(), self.shape(other).kind()) {
            (Shape::Number, Shape::Number) => Shape::Number,
            (Shape::Time, Shape::Time) | (Shape::Span, Shape::Span) => Shape::Span,
            (Shape::Time, Shape::Span) | (Shape::Span, Shape::Time) => Shape::Time,
            (Shape::Any, _) | (_, Shape::Any) => {
                let action = "say what it is: int(), timestamp() or duration()";
                self.complain(node, "computes with what may be no number", action)
            }
            (one, other) => {
                let action = "compute with numbers, times and durations alone; join no texts or lists";
                self.complain(node, format!("computes with {one} and {other}"), action)
            }
        }
    }

    fn function(&mut self, node: &'a IdedExpr, name: &str, call: &'a CallExpr) -> Shape {
        let style = match &call.target {
            Some(target) => {
                self.shape(target);
                CallStyle::On
            }
            None => CallStyle::Plain,
        };
        for argument in &call.args {
            self.shape(argument);
        }
        match functions::find(name, style) {
            Some(function) if (function.least..=function.most).contains(&call.args.len()) => function.gives.clone(),
            Some(_) => {
                self.complain(node, format!("calls `{name}` with too many or too few arguments"), "correct them")
            }
            None if name == REGULAR_EXPRESSIONS => {
                let message = format!("calls `{name}`: the cost of a regular expression cannot be bounded");
                self.complain(node, message, "use startsWith(), endsWith(), contains() or a list")
            }
            None => {
                let known: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).chain(LOOPS).collect();
                self.complain(node, format!("calls `{name}`, which is no function here"), suggestion(name, &known))
            }
        }
    }
}

/// What is written as a function and is a loop or a test.
const LOOPS: [&str; 6] = ["all", "exists", "exists_one", "filter", "has", "map"];

fn is_accumulator(node: &IdedExpr) -> bool {
    matches!(&node.expr, Expr::Ident(name) if name.starts_with('@'))
}

fn of_literal(literal: &LiteralValue) -> Shape {
    match literal {
        LiteralValue::Boolean(_) => Shape::Truth,
        LiteralValue::Bytes(_) => Shape::Bytes,
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Shape::Number,
        LiteralValue::Null => Shape::Null,
        LiteralValue::String(_) => Shape::Text,
    }
}
