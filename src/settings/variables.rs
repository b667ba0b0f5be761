//! The names of environment variables: which key a variable sets. Must not know what keys mean, except where Kafka's dotted names
//! and the names of sources stand.

use super::problem::Problem;

/// What our variables begin with.
pub(crate) const PREFIX: &str = "PAYBRIDGE_";

/// What separates the levels of a key in a variable's name.
pub(crate) const SEPARATOR: &str = "__";

/// The table whose tables have names that users choose.
pub(super) const SOURCES: &str = "sources";

/// Tables whose keys are Kafka's own names with dots in them: nested tables below them join with dots,
/// before the layers are merged, so that `"sasl.password"` and `sasl.password` are one key. `*` is any table.
pub(super) const PROPERTY_TABLES: [&[&str]; 5] = [
    &["kafka", "properties"],
    &["kafka", "property_files"],
    &["kafka", "ingress", "properties"],
    &["kafka", "engine", "properties"],
    &["kafka", "topic_settings", "*"],
];

/// What the name of a variable says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VariableName {
    /// It is somebody else's.
    Foreign,
    /// It begins as ours do and has no two underscores in a row: Kubernetes sets such ones, so it sets no key.
    WithoutLevels,
    /// The key that it sets.
    Key(Vec<String>),
    /// It may mean two sources.
    Ambiguous(Problem),
}

/// Reads the name of a variable. `sources` are the names of sources in the file.
pub(super) fn key_path(variable: &str, sources: &[String]) -> VariableName {
    let Some(rest) = variable.strip_prefix(PREFIX) else { return VariableName::Foreign };
    let path = match rest.strip_prefix('_') {
        Some(top_level) => top_level,
        None if rest.contains(SEPARATOR) => rest,
        None => return VariableName::WithoutLevels,
    };
    let mut path: Vec<String> = path.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
    for table in PROPERTY_TABLES {
        if path.len() > table.len() && path.iter().zip(table).all(|(part, name)| part == name) {
            let property = path.split_off(table.len()).join(".");
            path.push(property);
        }
    }
    match path.as_slice() {
        [first, name, rest @ ..] if first == SOURCES => of_source(variable, name, rest, sources),
        _ => VariableName::Key(path),
    }
}

/// A shell exports no name with a hyphen, so the hyphens of a source may be written `_`, which no source's name has. A name with two
/// hyphens in a row then looks as if it had two levels: it is found among `sources`.
fn of_source(variable: &str, name: &str, rest: &[String], sources: &[String]) -> VariableName {
    let written = |parts: usize| {
        let more = rest.iter().take(parts).map(String::as_str);
        [name].into_iter().chain(more).collect::<Vec<_>>().join(SEPARATOR).replace('_', "-")
    };
    let is_known = |parts: &usize| sources.contains(&written(*parts));
    let known: Vec<usize> = (0..=rest.len()).filter(is_known).collect();
    match known.as_slice() {
        [] | [_] => {
            let parts = known.first().copied().unwrap_or_default();
            let behind = rest.iter().skip(parts).cloned();
            VariableName::Key([SOURCES.to_owned(), written(parts)].into_iter().chain(behind).collect())
        }
        several => {
            let names: Vec<String> = several.iter().map(|parts| format!("`{SOURCES}.{}`", written(*parts))).collect();
            let message = format!("may set a key of {}", names.join(" or of "));
            let action = "write the hyphens of the source in the name, as `env` can, or set the key in the file";
            let origin = format!("environment variable {variable}");
            VariableName::Ambiguous(Problem::of_source(origin, message, action).about(SOURCES))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variable: &str, expected: &str) {
        let sources = ["sg", "sg-main", "a--b", "a--b--c", "x", "x--y"].map(str::to_owned);
        let told = match key_path(variable, &sources) {
            VariableName::Foreign => "foreign".to_owned(),
            VariableName::WithoutLevels => "without levels".to_owned(),
            VariableName::Key(path) => path.join("/"),
            VariableName::Ambiguous(problem) => problem.message,
        };
        assert_eq!(told, expected, "{variable}");
    }

    #[test]
    fn takes_only_variables_that_are_ours() {
        check("PATH", "foreign");
        check("PAYBRIDGE_CONFIG", "without levels");
        check("PAYBRIDGE_PORT_8080_TCP", "without levels");
        check("PAYBRIDGE__BRIDGE_INSTANCE", "bridge_instance");
        check("PAYBRIDGE_KAFKA__BOOTSTRAP_SERVERS", "kafka/bootstrap_servers");
        check("PAYBRIDGE_KAFKA__PROPERTIES__SASL__PASSWORD", "kafka/properties/sasl.password");
        check("PAYBRIDGE_KAFKA__ENGINE__PROPERTIES__LINGER__MS", "kafka/engine/properties/linger.ms");
    }

    #[test]
    fn the_hyphens_of_a_source_may_be_underscores() {
        check("PAYBRIDGE_SOURCES__SG-MAIN__API__VERSION", "sources/sg-main/api/version");
        check("PAYBRIDGE_SOURCES__SG_MAIN__API__VERSION", "sources/sg-main/api/version");
        check("PAYBRIDGE_SOURCES__SG__API__BASE_URL", "sources/sg/api/base_url");
        check("PAYBRIDGE_SOURCES__NEW_ONE__PATH", "sources/new-one/path");
        check("PAYBRIDGE_SOURCES__SG_MAIN", "sources/sg-main");
    }

    #[test]
    fn two_hyphens_in_a_row_are_read_where_only_one_source_can_be_meant() {
        check("PAYBRIDGE_SOURCES__A__B__PATH", "sources/a--b/path");
        check("PAYBRIDGE_SOURCES__A__OTHER__PATH", "sources/a/other/path");
        check("PAYBRIDGE_SOURCES__X__Y__PATH", "may set a key of `sources.x` or of `sources.x--y`");
        check("PAYBRIDGE_SOURCES__X--Y__PATH", "sources/x--y/path");
        check("PAYBRIDGE_SOURCES__X__PATH", "sources/x/path");
    }
}
