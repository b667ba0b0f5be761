//! The file and the environment laid over each other, with where each key came from.
//! Must not know what the keys mean, except which tables hold Kafka's dotted names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};

use super::problem::Problem;

/// What our variables begin with.
const PREFIX: &str = "PAYBRIDGE_";

/// What separates the levels of a key in a variable's name.
const SEPARATOR: &str = "__";

/// Tables whose keys are Kafka's own names with dots in them: nested tables below them join with dots,
/// before the layers are merged, so that `"sasl.password"` and `sasl.password` are one key. `*` is any table.
const PROPERTY_TABLES: [&[&str]; 5] = [
    &["kafka", "properties"],
    &["kafka", "property_files"],
    &["kafka", "ingress", "properties"],
    &["kafka", "engine", "properties"],
    &["kafka", "topic_settings", "*"],
];

/// Where each key came from.
#[derive(Default)]
pub(crate) struct Origins {
    file: String,
    in_file: BTreeSet<String>,
    variables: BTreeMap<Vec<String>, String>,
}

impl Origins {
    /// The variable or the file that has this key (its parts joined by dots); for a key that is nowhere, the file.
    pub(crate) fn of(&self, key: &str) -> String {
        let below = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
        let related = |at: &str| at == key || (!self.in_file.contains(key) && (below(at, key) || below(key, at)));
        match self.variables.iter().find(|(path, _)| related(&path.join("."))) {
            Some((_, name)) => format!("environment variable {name}"),
            None => self.file.clone(),
        }
    }
}

/// Everything that is configured, the environment over the file.
pub(crate) struct Layers {
    pub(crate) table: Dict,
    pub(crate) origins: Arc<Origins>,
    pub(crate) problems: Vec<Problem>,
}

impl Layers {
    /// `file` is the name to tell, `text` its TOML.
    pub(crate) fn new(file: &str, text: &str, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut problems = Vec::new();
        let mut table = parse(file, text).unwrap_or_else(|problem| {
            problems.push(problem);
            Dict::new()
        });
        for path in PROPERTY_TABLES {
            join_with_dots(&mut table, path, file, &mut problems);
        }
        let mut origins = Origins { file: file.to_owned(), ..Origins::default() };
        note_keys(&table, "", &mut origins.in_file);
        let mut overlay = Dict::new();
        for (variable, value) in environment {
            if let Some(path) = key_path(&variable)
                && let Err(problem) = set(&mut overlay, &mut origins, path, &variable, value)
            {
                problems.push(problem);
            }
        }
        merge(&mut table, overlay);
        Self { table, origins: Arc::new(origins), problems }
    }
}

/// The parser's own message tells the line's text, which may hold a secret: only its place and kind are passed on.
fn parse(file: &str, text: &str) -> Result<Dict, Problem> {
    Toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let origin = before.map_or_else(|| file.to_owned(), |before| format!("{file}:{}", before.split('\n').count()));
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Problem::of_source(origin, format!("this is not TOML: {message}"), "correct the line")
    })
}

/// The key that a variable sets; none when the variable is not ours.
fn key_path(variable: &str) -> Option<Vec<String>> {
    let rest = variable.strip_prefix(PREFIX)?;
    let path = match rest.strip_prefix('_') {
        Some(top_level) => top_level,
        None if rest.contains(SEPARATOR) => rest,
        None => return None,
    };
    let mut path: Vec<String> = path.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
    for table in PROPERTY_TABLES {
        if path.len() > table.len() && path.iter().zip(table).all(|(part, name)| part == name) {
            let property = path.split_off(table.len()).join(".");
            path.push(property);
        }
    }
    Some(path)
}

fn set(
    overlay: &mut Dict,
    origins: &mut Origins,
    path: Vec<String>,
    variable: &str,
    value: String,
) -> Result<(), Problem> {
    let refuse = |message: &str, action: &str| {
        let origin = format!("environment variable {variable}");
        Err(Problem::with_key(path.join("."), message, action).at_origin(origin))
    };
    if path.iter().any(String::is_empty) {
        return refuse("has an empty part", "separate the levels by two underscores, and set no other such variable");
    }
    let clashes = |at: &Vec<String>| at.starts_with(&path) || path.starts_with(at);
    if let Some((_, other)) = origins.variables.iter().find(|(at, _)| clashes(at)) {
        return refuse(&format!("is set by {other} too"), "remove one of the two");
    }
    insert(overlay, &path, Value::from(value));
    origins.variables.insert(path, variable.to_owned());
    Ok(())
}

fn insert(table: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            let inner = table.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn merge(base: &mut Dict, overlay: Dict) {
    for (key, value) in overlay {
        match (base.get_mut(&key), value) {
            (Some(Value::Dict(_, inner)), Value::Dict(_, over)) => merge(inner, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn note_keys(table: &Dict, prefix: &str, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        keys.insert(format!("{prefix}{key}"));
        if let Value::Dict(_, inner) = value {
            note_keys(inner, &format!("{prefix}{key}."), keys);
        }
    }
}

/// Flattens the property tables at `path`, if there are any.
fn join_with_dots(table: &mut Dict, path: &[&str], file: &str, problems: &mut Vec<Problem>) {
    let Some((first, rest)) = path.split_first() else {
        return flatten(table, file, problems);
    };
    let on_path = table.iter_mut().filter(|(key, _)| *first == "*" || key == first);
    for (_, value) in on_path {
        if let Value::Dict(_, inner) = value {
            join_with_dots(inner, rest, file, problems);
        }
    }
}

fn flatten(table: &mut Dict, file: &str, problems: &mut Vec<Problem>) {
    let mut flat = Dict::new();
    for (name, value) in leaves(std::mem::take(table), "") {
        if flat.insert(name.clone(), value).is_some() {
            let problem = Problem::with_key(name, "is there twice, with and without quotes", "remove one of the two");
            problems.push(problem.at_origin(file.to_owned()));
        }
    }
    *table = flat;
}

fn leaves(table: Dict, prefix: &str) -> Vec<(String, Value)> {
    let leaf = |(key, value): (String, Value)| match value {
        Value::Dict(_, inner) => leaves(inner, &format!("{prefix}{key}.")),
        value => vec![(format!("{prefix}{key}"), value)],
    };
    table.into_iter().flat_map(leaf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(text: &str, environment: &[(&str, &str)]) -> Layers {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Layers::new("p.toml", text, pairs)
    }

    #[test]
    fn takes_only_variables_that_are_ours() {
        for (variable, expected) in [
            ("PATH", None),
            ("PAYBRIDGE_CONFIG", None),
            ("PAYBRIDGE_PORT_8080_TCP", None),
            ("PAYBRIDGE__BRIDGE_INSTANCE", Some("bridge_instance")),
            ("PAYBRIDGE_KAFKA__BOOTSTRAP_SERVERS", Some("kafka/bootstrap_servers")),
            ("PAYBRIDGE_SOURCES__SG-MAIN__API__VERSION", Some("sources/sg-main/api/version")),
            ("PAYBRIDGE_KAFKA__PROPERTIES__SASL__PASSWORD", Some("kafka/properties/sasl.password")),
            ("PAYBRIDGE_KAFKA__ENGINE__PROPERTIES__LINGER__MS", Some("kafka/engine/properties/linger.ms")),
        ] {
            assert_eq!(key_path(variable).map(|path| path.join("/")).as_deref(), expected, "{variable}");
        }
    }

    #[test]
    fn lays_the_environment_over_the_file() {
        let text = "[kafka]\npartitions = 3\ntopic_prefix = 'a'\n[kafka.properties]\n'sasl.password' = 'old'\n\
                    security.protocol = 'ssl'";
        let layers = layers(
            text,
            &[("PAYBRIDGE_KAFKA__PARTITIONS", "1234"), ("PAYBRIDGE_KAFKA__PROPERTIES__SASL__PASSWORD", "new")],
        );
        assert_eq!(layers.problems, []);
        let kafka = layers.table["kafka"].as_dict().unwrap();
        assert_eq!(kafka["partitions"], Value::from("1234"));
        assert_eq!(kafka["topic_prefix"], Value::from("a"));
        let properties = kafka["properties"].as_dict().unwrap();
        assert_eq!(properties.keys().collect::<Vec<_>>(), ["sasl.password", "security.protocol"]);
        assert_eq!(properties["sasl.password"], Value::from("new"));
    }

    #[test]
    fn knows_where_a_key_came_from() {
        let layers = layers(
            "[ingress]\nlisten = 'x'\nport = 1",
            &[("PAYBRIDGE_INGRESS__LISTEN", "y"), ("PAYBRIDGE_ODD__A", "")],
        );
        for (key, expected) in [
            ("ingress.listen", "environment variable PAYBRIDGE_INGRESS__LISTEN"),
            ("ingress.listen.0", "environment variable PAYBRIDGE_INGRESS__LISTEN"),
            ("ingress.port", "p.toml"),
            ("ingress.nowhere", "p.toml"),
            ("ingress", "p.toml"),
            ("odd", "environment variable PAYBRIDGE_ODD__A"),
        ] {
            assert_eq!(layers.origins.of(key), expected, "{key}");
        }
    }

    #[test]
    fn tells_the_line_but_not_the_text_of_what_is_no_toml() {
        let layers = layers("[kafka]\n\n'sasl.password' = hunter2", &[]);
        let told = layers.problems[0].to_string();
        assert!(told.starts_with("p.toml:3: this is not TOML: ") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn refuses_what_is_set_twice() {
        for (text, environment, expected) in [
            (
                "",
                &[("PAYBRIDGE_A__B", ""), ("PAYBRIDGE_a__b", "")][..],
                "environment variable PAYBRIDGE_a__b: `a.b` is set by PAYBRIDGE_A__B too",
            ),
            (
                "",
                &[("PAYBRIDGE_A__B", ""), ("PAYBRIDGE_A__B__C", "")],
                "environment variable PAYBRIDGE_A__B__C: `a.b.c` is set by PAYBRIDGE_A__B too",
            ),
            ("", &[("PAYBRIDGE_A__", "")], "environment variable PAYBRIDGE_A__: `a.` has an empty part"),
            (
                "[kafka.properties]\nsasl.x = 1\n'sasl.x' = 2",
                &[],
                "p.toml: `sasl.x` is there twice, with and without quotes",
            ),
        ] {
            let problems = layers(text, environment).problems;
            assert!(problems.len() == 1 && problems[0].to_string().starts_with(expected), "{problems:?}");
        }
    }
}
