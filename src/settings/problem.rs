//! What is wrong with a configuration, told so that its reader can put it right.
//! Must never hold a value that was configured: it may be a secret.

use std::fmt;

use figment::error::{Error, Kind};

/// Below this likeness (0 to 1) a guess is no help, and all known keys are told instead.
const LIKENESS_MIN: f64 = 0.4;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file (and line, where known) or environment variable that it came from; empty when neither is known.
    pub origin: String,
    /// The key, from the top: `ingress.listen`; empty when the whole file cannot be read.
    pub key: String,
    /// What is wrong, as half a sentence that names the key.
    pub message: String,
    /// What to do about it.
    pub action: String,
}

impl Problem {
    /// `message` follows the key: "must be …".
    pub(crate) fn with_key(key: impl Into<String>, message: &str, action: impl Into<String>) -> Self {
        let key = key.into();
        Self { origin: String::new(), message: format!("`{key}` {message}"), key, action: action.into() }
    }

    /// A problem of the whole source of configuration.
    pub(crate) fn of_source(origin: String, message: String, action: &str) -> Self {
        Self { origin, key: String::new(), message, action: action.to_owned() }
    }

    /// The same about this key, which its message does not name.
    pub(crate) fn about(self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self }
    }

    /// A key that nothing here knows. `known` are the keys of the same table.
    pub(crate) fn unknown_key(key: String, known: &[&str]) -> Self {
        let last = key.rsplit('.').next().unwrap_or_default();
        let action = suggestion(last, known);
        Self { origin: String::new(), message: format!("unknown key `{key}`"), key, action }
    }

    /// A key that has to be there and is not.
    pub(crate) fn missing_key(key: String) -> Self {
        Self { origin: String::new(), message: format!("`{key}` is missing"), key, action: "set it".to_owned() }
    }

    /// The same, found there.
    pub(crate) fn at_origin(self, origin: String) -> Self {
        Self { origin, ..self }
    }

    /// What figment found at `key`, without the value. `also_known` are keys that another reader of the table takes.
    pub(crate) fn from_figment(key: String, error: &Error, also_known: &[&str]) -> Self {
        match &error.kind {
            Kind::UnknownField(_, known) => Self::unknown_key(key, &[*known, also_known].concat()),
            Kind::MissingField(name) if key.is_empty() => Self::missing_key(name.to_string()),
            Kind::MissingField(name) => Self::missing_key(format!("{key}.{name}")),
            other => {
                let (message, action) = explain(other);
                Self::with_key(key, &message, action)
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin.as_str() {
            "" => write!(f, "{}: {}", self.message, self.action),
            origin => write!(f, "{origin}: {}: {}", self.message, self.action),
        }
    }
}

/// Every problem that was found, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    pub(crate) fn of(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    /// The problems, in the order of the file's sections.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The nearest of `known` to what was written, as a question; all of them when none is near.
pub fn suggestion(written: &str, known: &[&str]) -> String {
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(written, name);
    let nearest = known.iter().max_by(|left, right| likeness(left).total_cmp(&likeness(right)));
    match nearest {
        None => "remove it".to_owned(),
        Some(name) if likeness(name) >= LIKENESS_MIN => format!("did you mean `{name}`?"),
        Some(_) => format!("known here are `{}`", known.join("`, `")),
    }
}

/// Our own types' errors read "must be …: what to do"; figment's are told by what was expected.
pub(crate) fn explain(kind: &Kind) -> (String, String) {
    let correct = || "correct the value".to_owned();
    match kind {
        Kind::Message(text) => match text.split_once(": ") {
            Some((message, action)) => (message.to_owned(), action.to_owned()),
            None => (text.clone(), correct()),
        },
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) | Kind::InvalidLength(_, expected) => {
            (format!("must be {}", kind_of_value(expected)), correct())
        }
        Kind::UnknownVariant(_, known) => {
            (format!("must be one of \"{}\"", known.join("\", \"")), "write one of them".to_owned())
        }
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => ("is too large a number".to_owned(), correct()),
        Kind::UnknownField(..) | Kind::MissingField(_) | Kind::DuplicateField(_) => {
            ("has an unknown, a missing or a repeated key".to_owned(), correct())
        }
        Kind::Unsupported(_) | Kind::UnsupportedKey(..) => {
            ("has a value of a kind that is not accepted here".to_owned(), correct())
        }
    }
}

/// What serde calls a type, in a reader's words.
fn kind_of_value(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, zero or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "a string" => "text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "path string" => "a path in quotes".to_owned(),
        _ if expected.starts_with("struct ") || expected == "a map" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_key_or_tells_all() {
        for (written, expected) in [
            ("listn", "did you mean `listen`?"),
            ("enable", "did you mean `enabled`?"),
            ("zzz", "known here are `enabled`, `listen`"),
        ] {
            assert_eq!(suggestion(written, &["enabled", "listen"]), expected, "{written}");
        }
        assert_eq!(suggestion("any", &[]), "remove it");
    }

    #[test]
    fn never_tells_the_value() {
        let wrong: Result<u64, Error> = figment::value::Value::from("hunter2").deserialize();
        let problem = Problem::from_figment("dedup.window_s".to_owned(), &wrong.unwrap_err(), &[]);
        assert_eq!(problem.to_string(), "`dedup.window_s` must be a whole number, zero or more: correct the value");
    }

    #[test]
    fn prints_one_problem_a_line() {
        let first = Problem::missing_key("a.b".to_owned()).at_origin("x.toml".to_owned());
        let second = Problem::with_key("c", "must be text in quotes", "correct the value");
        let errors = ConfigErrors::of(vec![first, second]);
        assert_eq!(
            errors.to_string(),
            "x.toml: `a.b` is missing: set it\n`c` must be text in quotes: correct the value"
        );
    }
}
