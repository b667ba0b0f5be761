//! Every relative link of the documentation leads to a file that is there, and to a heading that it has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::page;
use crate::support::cache::CHECKOUT;

/// The pages, by their paths from the root of the checkout.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "helm/paybridge"];
    let files = folders.iter().flat_map(|folder| {
        let entries = fs::read_dir(Path::new(CHECKOUT).join(folder)).unwrap();
        entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name()))
    });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The lines of a page that are not in a block of code.
fn text_lines(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_fence && !is_code
    })
}

/// The targets of a page's links and pictures.
fn links(page: &str) -> Vec<&str> {
    let after_texts = text_lines(page).flat_map(|line| line.split("](").skip(1));
    after_texts.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// What links call the headings of a page: lower case, without punctuation, with hyphens for spaces.
fn anchors(page: &str) -> BTreeSet<String> {
    let is_kept = |letter: &char| letter.is_alphanumeric() || "-_ ".contains(*letter);
    let anchor = |heading: &str| heading.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-");
    let headings = text_lines(page).filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// What is wrong with a link of the page at `path`; nothing where it leads somewhere, or to another site.
fn complaint(path: &Path, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { path.to_owned() } else { path.parent().unwrap().join(file) };
    if !Path::new(CHECKOUT).join(&target).exists() {
        return Some(format!("{}: {link}: there is no such file", path.display()));
    }
    let is_there = anchor.is_empty() || anchors(&page(&target)).contains(anchor);
    (!is_there).then(|| format!("{}: {link}: there is no such heading", path.display()))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut complaints = Vec::new();
    let mut links_seen = 0;
    for path in pages() {
        let page = page(&path);
        let links = links(&page);
        links_seen += links.len();
        complaints.extend(links.into_iter().filter_map(|link| complaint(&path, link)));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    assert!(links_seen > 150, "only {links_seen} links were found");
}

#[test]
fn a_link_to_a_missing_file_or_heading_is_found() {
    let page = "# Two `words`, here\n[a](b.md) ![c](d.svg#e-f)\n```\n[g](h)\n# i\n```\n";
    assert_eq!(links(page), ["b.md", "d.svg#e-f"]);
    assert_eq!(anchors(page), BTreeSet::from(["two-words-here".to_owned()]));
    let in_docs = |link| complaint(Path::new("docs/answers.md"), link);
    for good in ["providers.md", "../README.md#promises", "#answers", "../config/local.toml", "https://example.com/x"] {
        assert_eq!(in_docs(good), None);
    }
    for bad in ["README.md", "providers.md#nothing", "#nothing"] {
        assert!(in_docs(bad).is_some(), "{bad}");
    }
}
