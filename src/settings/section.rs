//! One table of the configuration, parsed later by whoever knows its keys.
//! Must not know which keys there are.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use figment::Figment;
use figment::providers::Serialized;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::layers::Origins;
use super::list;
use super::problem::{ConfigErrors, Problem};

/// A table of the configuration: `[sources.sg-main]` without the keys that every source has.
#[derive(Clone)]
pub struct Section {
    name: String,
    table: Dict,
    /// Keys that were in the same table and that another reader takes: known, but not to be found here.
    also_known: &'static [&'static str],
    origins: Arc<Origins>,
}

/// Keys of a section that are unknown, missing, or of the wrong type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SectionError(ConfigErrors);

impl SectionError {
    /// Each of them.
    pub fn problems(&self) -> &[Problem] {
        self.0.problems()
    }
}

impl Section {
    /// A section named as in the file, its parts joined by dots.
    pub fn new(name: impl Into<String>, table: Dict) -> Self {
        Self::with_origins(name, table, Arc::default())
    }

    pub(crate) fn with_origins(name: impl Into<String>, table: Dict, origins: Arc<Origins>) -> Self {
        Self { name: name.into(), table, also_known: &[], origins }
    }

    pub(crate) fn also_knowing(self, also_known: &'static [&'static str]) -> Self {
        Self { also_known, ..self }
    }

    /// The section with these values where it has none of its own; tables inside it are merged key by key.
    #[must_use]
    pub fn with_defaults(&self, defaults: &Dict) -> Self {
        Self { table: merged(defaults, &self.table), ..self.clone() }
    }

    /// The section's name in the file: `sources.sg-main`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The section once for each file in a list at a key that ends in `_files`, with that key, and with this file alone in its list.
    pub fn with_each_file(&self) -> Vec<(String, PathBuf, Self)> {
        let lists = self.table.iter().filter(|(key, _)| key.ends_with("_files"));
        let files = lists.flat_map(|(key, value)| {
            let elements = match value {
                Value::Array(_, elements) => elements.clone(),
                Value::String(_, text) => list::elements(text).unwrap_or_default(),
                _ => Vec::new(),
            };
            elements.into_iter().filter_map(move |file| Some((key, PathBuf::from(file.as_str()?), file)))
        });
        let with = |(key, path, file): (&String, PathBuf, Value)| {
            let mut table = self.table.clone();
            table.insert(key.clone(), Value::from(vec![file]));
            (key.clone(), path, Self { table, ..self.clone() })
        };
        files.map(with).collect()
    }

    /// Parses the section. Text is taken as a number or boolean where one is wanted, as environment values are text.
    ///
    /// # Errors
    /// Every key that is unknown, missing, or of the wrong type, by its whole path and without its value.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SectionError> {
        self.parse_all().map_err(|problems| SectionError(ConfigErrors::of(problems)))
    }

    /// Serde stops at the first problem; so that key is taken out and the rest is read again, until nothing is wrong.
    pub(crate) fn parse_all<T: DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        let mut table = self.table.clone();
        let mut problems = Vec::new();
        loop {
            let error = match Figment::from(Serialized::defaults(&table)).extract_lossy() {
                Ok(value) if problems.is_empty() => return Ok(value),
                Ok(_) => return Err(problems),
                Err(error) => error,
            };
            let problem = self.problem(&error);
            // A key that was taken out for another reason is not missing.
            let taken_out = |earlier: &Problem| {
                earlier.key.strip_prefix(&problem.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            if !(error.missing() && problems.iter().any(taken_out)) {
                problems.push(problem);
            }
            if !remove(&mut table, &error.path) {
                return Err(problems);
            }
        }
    }

    fn problem(&self, error: &figment::Error) -> Problem {
        let key = error.path.iter().fold(self.name.clone(), |key, part| format!("{key}.{part}"));
        let also_known = if error.path.len() == 1 { self.also_known } else { &[] };
        let origin = self.origins.of(&key);
        Problem::from_figment(key, error, also_known).at_origin(origin)
    }
}

/// Names and keys only: a provider's setting may be a secret.
impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.table.keys().collect();
        f.debug_struct("Section").field("name", &self.name).field("keys", &keys).finish_non_exhaustive()
    }
}

/// Each key of either table; where both have it, the second's value, but for tables, which are merged.
fn merged(defaults: &Dict, own: &Dict) -> Dict {
    let mut merged = defaults.clone();
    for (key, value) in own {
        let value = match (defaults.get(key), value) {
            (Some(Value::Dict(_, defaults)), Value::Dict(tag, own)) => Value::Dict(*tag, self::merged(defaults, own)),
            _ => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    merged
}

/// Takes out the innermost key on the path that there is (a list counts as one key); whether there was one.
fn remove(table: &mut Dict, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if let Some(Value::Dict(_, inner)) = table.get_mut(first)
        && remove(inner, rest)
    {
        return true;
    }
    table.remove(first).is_some()
}

#[cfg(test)]
mod tests {
    use figment::providers::{Format, Toml};
    use serde::Deserialize;

    use super::*;
    use crate::settings::list::list;

    #[test]
    fn gives_each_file_alone() {
        let table: Dict = Toml::from_str("a_files = ['x', 'y']\nb_files = 'z'\nc_file = 'w'\nd = ['v']").unwrap();
        let sections = Section::new("sources.sg", table).with_each_file();
        let told: Vec<(&str, &str, Option<&str>)> = sections
            .iter()
            .map(|(key, path, section)| {
                let list = section.table.values().find_map(|value| match value.as_array() {
                    Some([one]) if one.as_str() != Some("v") => one.as_str(),
                    _ => None,
                });
                (key.as_str(), path.to_str().unwrap(), list)
            })
            .collect();
        assert_eq!(told, [("a_files", "x", Some("x")), ("a_files", "y", Some("y")), ("b_files", "z", Some("z"))]);
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what is refused matters here")]
    struct Settings {
        #[serde(deserialize_with = "list")]
        public_key_files: Vec<PathBuf>,
        padding: Option<bool>,
        api: Option<Api>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what is refused matters here")]
    struct Api {
        base_url: String,
        version: u8,
    }

    fn check(toml: &str, expected: &[&str]) {
        let table: Dict = Toml::from_str(toml).unwrap();
        let section = Section::new("sources.sg-main", table).also_knowing(&["provider", "allow_from"]);
        let found = match section.parse::<Settings>() {
            Ok(_) => Vec::new(),
            Err(error) => error.problems().iter().map(ToString::to_string).collect(),
        };
        assert_eq!(found, expected, "{toml}");
    }

    #[test]
    fn names_the_whole_path_of_every_wrong_key() {
        check("public_key_files = ['/a']", &[]);
        check("", &["`sources.sg-main.public_key_files` is missing: set it"]);
        check(
            "public_key_files = 'a'\nallow_form = []",
            &["unknown key `sources.sg-main.allow_form`: did you mean `allow_from`?"],
        );
        check(
            "public_key_filez = ['/a']\npadding = 3\n[api]\nbase_url = 'x'\nversio = 1",
            &[
                "unknown key `sources.sg-main.api.versio`: did you mean `version`?",
                "`sources.sg-main.api.version` is missing: set it",
                "`sources.sg-main.padding` must be true or false: correct the value",
                "unknown key `sources.sg-main.public_key_filez`: did you mean `public_key_files`?",
                "`sources.sg-main.public_key_files` is missing: set it",
            ],
        );
        check(
            "public_key_files = [1, 2]",
            &["`sources.sg-main.public_key_files.0` must be a path in quotes: correct the value"],
        );
    }

    #[test]
    fn shows_no_value_when_printed_for_debugging() {
        let table: Dict = Toml::from_str("secret = 'hunter2'").unwrap();
        let printed = format!("{:?}", Section::new("sources.udt", table));
        assert_eq!(printed, r#"Section { name: "sources.udt", keys: ["secret"], .. }"#);
    }
}
