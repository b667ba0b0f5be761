//! Quarantine as an operator meets it: looked at, released after a fix, twice by two at once, and killed in the middle.

mod fixture;
mod interrupted;
mod looking;
mod mended;
mod requests;

use std::collections::BTreeMap;

use serde_json::Value;

/// How many records had each verdict, by the last line of `release --format json`.
fn verdicts(output: &str) -> BTreeMap<String, u64> {
    let last: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap_or_else(|_| panic!("{output}"));
    let mut counts = BTreeMap::new();
    for row in last["counts"].as_array().unwrap() {
        *counts.entry(row["verdict"].as_str().unwrap().to_owned()).or_default() += row["count"].as_u64().unwrap();
    }
    counts
}

/// A map of these numbers.
fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}
