//! The file and the environment laid over each other, with where each key came from.
//! Must not know what the keys mean, except which tables hold Kafka's dotted names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};

use super::paths;
use super::problem::Problem;
use super::variables::{self, PROPERTY_TABLES, VariableName};

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
    /// Variables with our prefix that set no key, because their names have no two underscores in a row.
    pub(crate) without_levels: Vec<String>,
    /// What relative names of files are relative to; nothing where they stay as they are.
    pub(crate) folder: Option<PathBuf>,
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
        let sources = names_of_sources(&table);
        let mut without_levels = Vec::new();
        for (variable, value) in environment {
            let set = match variables::key_path(&variable, &sources) {
                VariableName::Foreign => Ok(()),
                VariableName::WithoutLevels => {
                    without_levels.push(variable);
                    Ok(())
                }
                VariableName::Ambiguous(problem) => Err(problem),
                VariableName::Key(path) => set(&mut overlay, &mut origins, path, &variable, value),
            };
            problems.extend(set.err());
        }
        merge(&mut table, overlay);
        Self { table, origins: Arc::new(origins), problems, without_levels, folder: None }
    }

    /// The same with names of files relative to this folder, which is an absolute path.
    pub(crate) fn relative_to(mut self, folder: &Path) -> Self {
        paths::make_absolute(&mut self.table, folder);
        Self { folder: Some(folder.to_owned()), ..self }
    }
}

fn names_of_sources(table: &Dict) -> Vec<String> {
    match table.get(variables::SOURCES) {
        Some(Value::Dict(_, sources)) => sources.keys().cloned().collect(),
        Some(_) | None => Vec::new(),
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
