//! Each test that the page on faults names is there, and so is each variable that asks for a long form.

use std::path::Path;

use super::page;
use crate::support::cache::CHECKOUT;

/// What stands between backticks.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

/// Whether the suite has a module of this path, or a test of this name in one.
fn is_there(path: &str) -> bool {
    let file = |path: &str| Path::new(CHECKOUT).join("tests/suite").join(path.replace("::", "/")).with_extension("rs");
    let (module, test) = path.rsplit_once("::").unwrap();
    let has = |text: String| text.contains(&format!("fn {test}() {{"));
    file(path).exists() || std::fs::read_to_string(file(module)).is_ok_and(has)
}

#[test]
fn the_tests_and_variables_that_the_page_on_faults_names_are_there() {
    let page = page("docs/reliability.md");
    let tests: Vec<&str> = quoted(&page).filter(|name| name.contains("::") && !name.contains(' ')).collect();
    let missing: Vec<&&str> = tests.iter().filter(|path| !is_there(path)).collect();
    assert!(missing.is_empty(), "docs/reliability.md names tests that are not there: {missing:?}");
    assert!(tests.len() > 15, "only {} tests were found", tests.len());
    for variable in quoted(&page).filter_map(|text| text.split_once("=full").map(|(name, _)| name)) {
        let named = ["ingress/kills", "ingress/shared_dedup/kills", "ingress/outage/nodes", "ingress/flood"];
        let named = named.into_iter().chain(["engine/decisions", "engine/chaos", "ingress/spool/away"]);
        let mut pages = named.map(|path| super::page(format!("tests/suite/{path}.rs")));
        assert!(pages.any(|text| text.contains(&format!("\"{variable}\""))), "no test reads {variable}");
    }
}
