//! Who imports whom: one direction between the modules at the top, and no circle between those of one folder.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, check, check_words, sources};

/// The modules at the top, and which of them each may import: only such as stand above it.
const IMPORTS: [(&str, &[&str]); 23] = [
    ("error_chain", &[]),
    ("finding", &[]),
    ("https", &[]),
    ("latch", &[]),
    ("log_limit", &[]),
    ("message", &[]),
    ("server", &[]),
    ("settings", &[]),
    ("provider", &["message", "settings"]),
    ("config", &["provider", "settings"]),
    ("metrics", &["message", "provider"]),
    ("admin", &["latch", "metrics"]),
    ("kafka", &["config", "finding", "log_limit", "metrics", "provider", "settings"]),
    ("short_line", &["kafka"]),
    ("encode", &["config", "kafka", "message", "provider"]),
    ("release", &["config", "encode", "kafka", "log_limit", "message", "metrics", "provider", "settings"]),
    ("spool", &["error_chain", "kafka", "log_limit", "metrics", "provider"]),
    ("ingress", &["config", "encode", "kafka", "log_limit", "message", "metrics", "provider", "spool"]),
    (
        "confirmation",
        &[
            "config",
            "error_chain",
            "https",
            "kafka",
            "latch",
            "log_limit",
            "message",
            "metrics",
            "provider",
            "settings",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "config",
            "confirmation",
            "error_chain",
            "finding",
            "https",
            "ingress",
            "kafka",
            "latch",
            "log_limit",
            "metrics",
            "provider",
            "release",
            "server",
            "spool",
        ],
    ),
    ("simulator", &["message", "provider", "server"]),
    (
        "cli",
        &[
            "app",
            "config",
            "confirmation",
            "error_chain",
            "finding",
            "https",
            "ingress",
            "kafka",
            "message",
            "metrics",
            "provider",
            "release",
            "settings",
            "short_line",
            "simulator",
            "spool",
        ],
    ),
    ("main", &["cli"]),
];

/// Modules further down that must not import some others, of which a change would then reach them. One line a rule.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    // A console needs what a session is, what rules say of it, and how the ledger is read, without an engine.
    (
        "confirmation::session",
        &["confirmation::engine", "confirmation::calls", "confirmation::codec", "confirmation::rules", "ingress"],
    ),
    ("confirmation::rules", &["confirmation::engine", "confirmation::calls", "confirmation::codec", "ingress"]),
    ("confirmation::codec", &["confirmation::engine", "confirmation::calls", "ingress"]),
    ("confirmation::calls", &["confirmation::engine"]),
];

/// What one module imports: the paths of modules of the crate, without `crate::`.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn modules_at_the_top_import_in_one_direction() {
    let sources = sources();
    // `crate::{a, b}` would hide what is imported.
    check_words(&sources, &["crate::{"], "import each module of the crate in a line of its own");
    let mut complaints = Vec::new();
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let imports = imports(&sources);
    for (module, imported) in &imports {
        let others = imported.iter().map(|path| top(path).to_owned()).filter(|other| other != top(module));
        found.entry(top(module)).or_default().extend(others);
    }
    let mut above: BTreeSet<&str> = BTreeSet::new();
    for (module, may) in IMPORTS {
        let Some(does) = found.remove(module) else {
            complaints.push(format!("src/{module}.rs is gone: take it out of the table"));
            continue;
        };
        let may: BTreeSet<String> = may.iter().map(|name| (*name).to_owned()).collect();
        for other in does.difference(&may) {
            complaints
                .push(format!("{module} imports {other}: take what it needs as an argument, or say so in the table"));
        }
        for other in may.difference(&does) {
            complaints.push(format!("{module} does not import {other} any more: take it out of the table"));
        }
        for other in may.iter().filter(|other| !above.contains(other.as_str())) {
            complaints.push(format!("{module} imports {other}, which stands below it: that makes a circle"));
        }
        above.insert(module);
    }
    complaints
        .extend(found.keys().map(|module| format!("src/{module}.rs is not in the table: say whom it may import")));
    for (module, others) in FORBIDDEN {
        if !imports.keys().any(|path| is_below(path, module)) {
            complaints.push(format!("{module} is gone: name its successor"));
        }
        for (path, imported) in imports.iter().filter(|(path, _)| is_below(path, module)) {
            let wrong = imported.iter().filter(|import| others.iter().any(|other| is_below(import, other)));
            complaints.extend(wrong.map(|import| format!("{path} imports {import}: {module} must not know it")));
        }
    }
    check(&complaints);
}

#[test]
fn modules_of_one_folder_make_no_circle() {
    let mut siblings: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, imported) in imports(&sources()) {
        for import in imported {
            if let Some((folder, from, to)) = fork(&module, &import) {
                siblings.entry(folder).or_default().entry(from).or_default().insert(to);
            }
        }
    }
    let mut complaints = Vec::new();
    for (folder, imports) in siblings {
        let path = format!("src/{}", folder.replace("::", "/"));
        let circle: Vec<&String> = imports.keys().filter(|module| reached(&imports, module).contains(module)).collect();
        if !circle.is_empty() {
            complaints.push(format!("{path}: {circle:?} import each other: give what they share a file of its own"));
        }
    }
    check(&complaints);
}

/// What each module imports, in the code that is not for tests.
fn imports(sources: &[File]) -> Imports {
    let sources: Vec<&File> = sources.iter().filter(|file| file.path != "src/lib.rs").collect();
    let modules: BTreeSet<String> = sources.iter().map(|file| file.module()).collect();
    let of = |file: &&File| {
        let code: Vec<&str> = file.code().map(|(_, line)| line).collect();
        let module = file.module();
        let paths = paths(&code.join("\n"));
        let imports = paths.iter().filter_map(|path| resolve(&module, path, &modules)).collect();
        (module, imports)
    };
    sources.iter().map(of).collect()
}

/// Every path in `code` that begins with `crate`, `super` or (in `main`) the crate's name; groups in braces are taken apart.
fn paths(code: &str) -> Vec<Vec<String>> {
    let starts = ["crate::", "super::", "paybridge::"].iter().flat_map(|start| code.match_indices(start));
    let begins =
        |place: usize| !code[..place].ends_with(|letter: char| letter.is_alphanumeric() || "_:".contains(letter));
    starts.filter(|(place, _)| begins(*place)).flat_map(|(place, _)| path_tree(&code[place..]).0).collect()
}

/// The paths of the tree that `text` begins with, and what follows it.
fn path_tree(text: &str) -> (Vec<Vec<String>>, &str) {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut paths = Vec::new();
        while !rest.trim_start().starts_with('}') && !rest.is_empty() {
            let (inner, after) = path_tree(rest);
            paths.extend(inner);
            // An alias ends where the next path begins.
            rest = after.trim_start_matches(|letter| letter != ',' && letter != '}').trim_start_matches(',');
        }
        return (paths, rest.trim_start().strip_prefix('}').unwrap_or(rest));
    }
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        None => (vec![vec![name.to_owned()]], rest),
        Some(rest) => {
            let (inner, rest) = path_tree(rest);
            (inner.into_iter().map(|path| [vec![name.to_owned()], path].concat()).collect(), rest)
        }
    }
}

/// The module of the crate that `path`, written in `module`, leads into.
fn resolve(module: &str, path: &[String], modules: &BTreeSet<String>) -> Option<String> {
    let supers = path.iter().take_while(|name| *name == "super").count();
    let own: Vec<&str> = module.split("::").collect();
    let mut whole = if supers == 0 { Vec::new() } else { own[..own.len().checked_sub(supers)?].to_vec() };
    whole.extend(path.iter().skip(supers.max(1)).map(String::as_str));
    (1..=whole.len()).rev().map(|length| whole[..length].join("::")).find(|prefix| modules.contains(prefix))
}

/// Where the paths of two modules part, and where each goes on; none where one lies below the other.
fn fork(module: &str, import: &str) -> Option<(String, String, String)> {
    let (left, right): (Vec<&str>, Vec<&str>) = (module.split("::").collect(), import.split("::").collect());
    let same = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    Some((left[..same].join("::"), (*left.get(same)?).to_owned(), (*right.get(same)?).to_owned()))
}

/// Every module that `start` imports, or one of those does.
fn reached<'a>(imports: &'a BTreeMap<String, BTreeSet<String>>, start: &str) -> BTreeSet<&'a String> {
    let mut reached: BTreeSet<&String> = BTreeSet::new();
    let mut next: Vec<&String> = imports.get(start).into_iter().flatten().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(imports.get(module).into_iter().flatten());
        }
    }
    reached
}

fn top(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

fn is_below(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
