//! Comparisons: those that the evaluator silently finds to be false, and those of fields with literals, which are noted.
//! Pure: must not know which values a field has.

use cel::common::ast::{EntryExpr, MapExpr};
use cel::common::ast::{Expr, IdedExpr, LiteralValue};

use super::{FieldComparison, Inspection, Shape};
use crate::confirmation::rules::known_field::{Comparison, Literal};

impl<'a> Inspection<'a> {
    pub(super) fn equality(
        &mut self,
        node: &IdedExpr,
        one: &'a IdedExpr,
        comparison: Comparison,
        other: &'a IdedExpr,
    ) -> Shape {
        let (left, right) = (self.shape(one), self.shape(other));
        self.note(&left, comparison, other);
        self.note(&right, comparison, one);
        self.comparison(node, &left, &right);
        Shape::Truth
    }

    /// The evaluator finds values of two kinds to be different and goes on, so that such a rule is silently never true.
    fn comparison(&mut self, node: &IdedExpr, one: &Shape, other: &Shape) {
        let whole = |shape: &Shape| matches!(shape, Shape::Part(_) | Shape::Each(_));
        if (*one == Shape::Null || *other == Shape::Null) && one.excludes(other) {
            self.complain(node, "compares with null, which no field is", "test what may be absent with has()");
        } else if whole(one) || whole(other) {
            let message = format!("compares {one} with {other} as a whole");
            self.complain(node, message, "compare single fields, or use size()");
        } else if one.excludes(other) {
            let message = format!("compares {one} with {other}, which are never equal");
            self.complain(node, message, "compare what is of one kind");
        }
    }

    pub(super) fn order(
        &mut self,
        node: &IdedExpr,
        left: &'a IdedExpr,
        comparison: Comparison,
        right: &'a IdedExpr,
    ) -> Shape {
        let (one, other) = (self.shape(left), self.shape(right));
        self.note(&one, comparison, right);
        self.note(&other, turned(comparison), left);
        let has_order = |shape: &Shape| !matches!(shape, Shape::Part(_) | Shape::Each(_) | Shape::Null);
        if !has_order(&one) || !has_order(&other) || one.excludes(&other) {
            let message = format!("asks whether {one} is less or more than {other}");
            self.complain(node, message, "compare what is of one kind, and has an order");
        }
        Shape::Truth
    }

    pub(super) fn membership(&mut self, node: &IdedExpr, looked_for: &'a IdedExpr, elements: &'a IdedExpr) -> Shape {
        let (element, list) = (self.shape(looked_for), self.shape(elements));
        if let Expr::List(literals) = &elements.expr {
            literals.elements.iter().for_each(|literal| self.note(&element, Comparison::Equal, literal));
        }
        match list {
            Shape::Any => {}
            Shape::Each(known) => {
                self.note(&known, Comparison::Equal, looked_for);
                self.comparison(node, &element, &known);
            }
            other => {
                self.complain(node, format!("looks for an element of {other}"), "write a list: [\"a\", \"b\"]");
            }
        }
        Shape::Truth
    }

    /// The keys of a map that is asked for the value of a field.
    pub(super) fn note_keys(&mut self, map: &MapExpr, by: &Shape) {
        for entry in &map.entries {
            if let EntryExpr::MapEntry(entry) = &entry.expr {
                self.note(by, Comparison::Equal, &entry.key);
            }
        }
    }

    /// Notes that a value is compared with this node, if it is a field of known values and this a literal.
    fn note(&mut self, shape: &Shape, comparison: Comparison, node: &IdedExpr) {
        if let (Shape::Known(field), Some(literal)) = (shape, literal(node)) {
            let position = self.expression.position(node);
            self.found.comparisons.push(FieldComparison { position, field: *field, comparison, literal });
        }
    }
}

fn literal(node: &IdedExpr) -> Option<Literal> {
    let Expr::Literal(literal) = &node.expr else { return None };
    match literal {
        LiteralValue::String(text) => Some(Literal::Text(text.inner().to_owned())),
        // Amounts are compared with small ones, which a double holds exactly.
        LiteralValue::Int(number) => number.inner().to_string().parse().ok().map(Literal::Number),
        LiteralValue::UInt(number) => number.inner().to_string().parse().ok().map(Literal::Number),
        LiteralValue::Double(number) => Some(Literal::Number(*number.inner())),
        LiteralValue::Boolean(_) | LiteralValue::Bytes(_) | LiteralValue::Null => None,
    }
}

/// The same with its sides exchanged.
fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::More,
        Comparison::LessOrEqual => Comparison::MoreOrEqual,
        Comparison::More => Comparison::Less,
        Comparison::MoreOrEqual => Comparison::LessOrEqual,
        same @ (Comparison::Equal | Comparison::NotEqual) => same,
    }
}
