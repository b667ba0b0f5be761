//! One name stands for one type in the crate: types of a module's top, those of its tests and associated types apart.

use std::collections::BTreeMap;

use super::{check, sources};

#[test]
fn no_two_types_have_one_name() {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &sources() {
        for (number, line) in file.code() {
            if let Some(name) = type_name(line) {
                found.entry(name.to_owned()).or_default().push(format!("{}:{number}", file.path));
            }
        }
    }
    let twice = found.iter().filter(|(_, places)| places.len() > 1);
    let complaints: Vec<String> =
        twice.map(|(name, places)| format!("`{name}`: say which it is: {}", places.join(", "))).collect();
    check(&complaints);
}

/// The type that a line defines, where it is not indented.
fn type_name(line: &str) -> Option<&str> {
    let rest = match line.strip_prefix("pub") {
        None => line,
        Some(rest) => {
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest).trim_start()
        }
    };
    let keywords = ["struct ", "enum ", "union ", "trait ", "type "];
    let name = keywords.iter().find_map(|keyword| rest.strip_prefix(keyword))?;
    name.split(|letter: char| !letter.is_alphanumeric()).next()
}
