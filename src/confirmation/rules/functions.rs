//! The functions that a rule may call, how many arguments each takes, and what it gives.
//! Pure: must not know what they do. What
//! joins, repeats or searches with a pattern is left out, as it has no bounded cost, and what hides a value's kind.

use super::shape::Shape;

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStyle {
    /// `size(list)`.
    Plain,
    /// `text.contains(part)`.
    On,
}

/// A function that a rule may call.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// How it is called.
    pub style: CallStyle,
    /// Fewest arguments, without what it is called on.
    pub least: usize,
    /// Most arguments.
    pub most: usize,
    /// What it gives.
    pub gives: Shape,
}

const fn plain(name: &'static str, gives: Shape) -> Function {
    Function { name, style: CallStyle::Plain, least: 1, most: 1, gives }
}

const fn on_text(name: &'static str) -> Function {
    Function { name, style: CallStyle::On, least: 1, most: 1, gives: Shape::Truth }
}

/// A part of a time, in UTC or in the zone that is its argument.
const fn on_time(name: &'static str) -> Function {
    Function { name, style: CallStyle::On, least: 0, most: 1, gives: Shape::Number }
}

/// Every function, by name.
pub static FUNCTIONS: [Function; 23] = [
    plain("bool", Shape::Truth),
    plain("bytes", Shape::Bytes),
    on_text("contains"),
    plain("double", Shape::Number),
    plain("duration", Shape::Span),
    on_text("endsWith"),
    on_time("getDate"),
    on_time("getDayOfMonth"),
    on_time("getDayOfWeek"),
    on_time("getDayOfYear"),
    on_time("getFullYear"),
    on_time("getHours"),
    on_time("getMilliseconds"),
    on_time("getMinutes"),
    on_time("getMonth"),
    on_time("getSeconds"),
    plain("int", Shape::Number),
    plain("size", Shape::Number),
    Function { name: "size", style: CallStyle::On, least: 0, most: 0, gives: Shape::Number },
    on_text("startsWith"),
    plain("string", Shape::Text),
    plain("timestamp", Shape::Time),
    plain("uint", Shape::Number),
];

/// What is a function to CEL, and none that a rule may call.
pub const REGULAR_EXPRESSIONS: &str = "matches";

/// The function of this name that is called in this way.
pub fn find(name: &str, style: CallStyle) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name && function.style == style)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cel::{Context, Env, ExecutionError, Value};

    use super::*;

    #[test]
    fn every_function_is_one_of_the_evaluator() {
        let environment = Arc::new(Env::stdlib());
        for function in &FUNCTIONS {
            for count in function.least..=function.most {
                let arguments = vec!["'1'"; count].join(", ");
                let name = function.name;
                let text = match function.style {
                    CallStyle::Plain => format!("{name}({arguments})"),
                    CallStyle::On if count > 0 || name == "size" => format!("'1'.{name}({arguments})"),
                    CallStyle::On => format!("timestamp('2024-01-01T00:00:00Z').{name}({arguments})"),
                };
                let outcome = Context::with_env(Arc::clone(&environment))
                    .resolve(environment.compile(&text).unwrap().expression());
                assert!(!matches!(outcome, Err(ExecutionError::UndeclaredReference(_))), "{text}: {outcome:?}");
                let gives = outcome.as_ref().map(|value| match value {
                    Value::Bool(_) => Shape::Truth,
                    Value::Int(_) | Value::UInt(_) | Value::Float(_) => Shape::Number,
                    Value::String(_) => Shape::Text,
                    Value::Bytes(_) => Shape::Bytes,
                    _ => Shape::Any,
                });
                assert!(
                    gives.as_ref().is_ok_and(|gives| !gives.excludes(&function.gives)) || gives.is_err(),
                    "{text}: {outcome:?}"
                );
            }
        }
    }
}
