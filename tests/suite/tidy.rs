//! The rules of the code that a machine can check and that are not lints: each with what to do instead.

mod imports;
mod sizes;
mod types;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use paybridge::provider::{PRESETS, PROVIDERS, Provider};

use crate::support::cache::CHECKOUT;

/// One text file of the tree.
struct File {
    /// Its path from the root of the checkout.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    fn is_source(&self) -> bool {
        self.is_rust() && self.path.starts_with("src/")
    }

    /// Whether it is the module of this path (`src/ingress`) or below it.
    fn is_of(&self, module: &str) -> bool {
        self.path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Its module's path, without `crate`.
    fn module(&self) -> String {
        self.path.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::")
    }

    /// Its lines of code with their numbers, up to its tests, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = (1..).zip(code.lines());
        lines.map(|(number, line)| (number, without_comment(line))).filter(|(_, line)| !line.is_empty())
    }

    /// What is said of it at a line.
    fn at(&self, line: usize, complaint: &str) -> String {
        format!("{}:{line}: {complaint}", self.path)
    }
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split(" // ").next().unwrap_or_default()
}

/// What a fuzzing engine wrote, which says whatever it says.
const CORPORA: &str = "fuzz/corpus/";

/// Every text file that is tracked, or would be, but for inputs of the fuzz targets.
fn tree() -> Vec<File> {
    let mut git = Command::new("git");
    git.current_dir(CHECKOUT).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let paths: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .split('\0')
        .filter(|path| !path.is_empty() && !path.starts_with(CORPORA))
        .map(str::to_owned)
        .collect();
    // What is not text has no lines; what is deleted and not yet committed is not there.
    let read = |path: String| Some(File { text: fs::read_to_string(Path::new(CHECKOUT).join(&path)).ok()?, path });
    paths.into_iter().filter_map(read).collect()
}

/// The sources without the modules that are only there for tests.
fn sources() -> Vec<File> {
    let all: Vec<File> = tree().into_iter().filter(File::is_source).collect();
    let tests: Vec<String> = all.iter().flat_map(test_modules).collect();
    all.into_iter().filter(|file| !tests.iter().any(|module| file.is_of(module))).collect()
}

/// The paths of the modules in files of their own that a file declares for tests only.
fn test_modules(file: &File) -> Vec<String> {
    let folder = file.path.trim_end_matches("/lib.rs").trim_end_matches(".rs");
    let declared = file.text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| {
        let line = rest.lines().next()?.trim();
        line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')
    });
    declared.map(|name| format!("{folder}/{name}")).collect()
}

#[track_caller]
fn check(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// No line of code in `files` has one of `words`.
#[track_caller]
fn check_words<'a>(files: impl IntoIterator<Item = &'a File>, words: &[&str], instead: &str) {
    let mut complaints = Vec::new();
    for file in files {
        for (number, line) in file.code() {
            let found = words.iter().filter(|word| has_word(line, word));
            complaints.extend(found.map(|word| file.at(number, &format!("`{word}`: {instead}"))));
        }
    }
    check(&complaints);
}

/// Whether `word` stands in `line` and is not the end of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let begins = |place: usize| !line[..place].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    line.match_indices(word).any(|(place, _)| begins(place))
}

#[test]
fn nothing_is_left_for_later() {
    // Written apart, or this file would have them.
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["todo", "!("], ["unimple", "mented!("], ["#[ig", "nore"]];
    let words = words.map(|parts| parts.concat());
    let mut complaints = Vec::new();
    for file in tree().iter().filter(|file| !file.path.ends_with("Cargo.lock")) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let found = words.iter().filter(|word| has_word(line, word));
            complaints.extend(found.map(|word| file.at(number, &format!("`{word}`: do it, or say what is not done"))));
        }
    }
    check(&complaints);
}

/// What a file that does no input or output and reads no clock cannot have.
const IMPURE: [&str; 12] = [
    "tokio::",
    "hyper::",
    "rdkafka::",
    "metrics::",
    "tracing::",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
];

#[test]
fn what_is_pure_stays_pure() {
    let files = ["src/encode.rs", "src/ingress/answer.rs", "src/kafka/topics.rs", "src/kafka/cloud_events.rs"];
    let more = ["src/kafka/record.rs", "src/ingress/forwarded.rs"];
    let calls = [
        "src/kafka/broker_clock.rs",
        "src/confirmation/engine/pending.rs",
        "src/confirmation/engine/refused_records.rs",
        "src/confirmation/engine/engine_settings.rs",
        "src/confirmation/calls/breaker.rs",
        "src/confirmation/calls/content_encoding.rs",
        "src/confirmation/calls/retry_after_and_date.rs",
        "src/confirmation/calls/deferred_status_calls.rs",
        "src/confirmation/calls/queue.rs",
        "src/simulator/faults.rs",
        "src/simulator/sessions.rs",
    ];
    let sources = sources();
    let named = files.iter().chain(&more).chain(&calls).map(|path| {
        sources
            .iter()
            .find(|file| file.path == **path)
            .unwrap_or_else(|| panic!("{path} is gone: name its successor here"))
    });
    let folders = [
        "src/provider",
        "src/confirmation/session",
        "src/confirmation/codec",
        "src/confirmation/engine/assignment",
        "src/confirmation/engine/partition",
        "src/kafka/partition",
        "src/spool/batch",
    ];
    let below = sources.iter().filter(|file| folders.iter().any(|folder| file.is_of(folder)));
    let lines = sources.iter().filter(|file| file.is_of("src/short_line"));
    // The parser of rules has a thread, for its stack alone.
    let is_rules =
        |file: &File| file.is_of("src/confirmation/rules") && file.path != "src/confirmation/rules/expression.rs";
    let pure = below.chain(lines).chain(sources.iter().filter(|file| is_rules(file))).chain(named);
    check_words(pure, &IMPURE, "this file is pure: take the value as an argument, and let the caller do this");
}

#[test]
fn only_config_reads_files_and_the_environment() {
    let sources = sources();
    // The spool has files of its own, and reads no others. `main` hands the arguments and the environment over; the demonstration writes, in a folder of its own, what
    // `config` then reads; `protos` writes files for other programs.
    let exceptions = ["src/main.rs", "src/cli/demo/setup.rs", "src/cli/protos.rs"];
    let owners = ["src/config", "src/spool"];
    let is_owner = |file: &File| owners.iter().any(|module| file.is_of(module));
    let others = sources.iter().filter(|file| !is_owner(file) && !exceptions.contains(&file.path.as_str()));
    let words = ["std::fs", "std::env", "tokio::fs", "env::var", "fs::read", "File::open"];
    check_words(others, &words, "let `config` read it and give the value, or take a `KeyFiles`");
}

#[test]
fn only_metrics_names_metrics() {
    let sources = sources();
    let others = sources.iter().filter(|file| !file.is_of("src/metrics"));
    let words =
        ["counter!(", "gauge!(", "histogram!(", "describe_counter!(", "describe_gauge!(", "describe_histogram!("];
    check_words(
        others,
        &words,
        "give it a line in metrics/catalogue.rs, a handle in metrics.rs and a panel in helm/paybridge/files/dashboards",
    );
}

/// Who starts tasks beside `app`, and why that is not a long-lived task of the daemon.
const SPAWNING: [(&str, &str); 10] = [
    ("src/cli/demo.rs", "the daemon itself, as a task of the demonstration"),
    ("src/cli.rs", "the one that waits for SIGTERM, before there is an app"),
    ("src/confirmation/calls.rs", "one a call on its way, bounded, and ended with the runtime"),
    ("src/confirmation/engine/duplicate_instance.rs", "one an engine, for its first seconds"),
    ("src/confirmation/engine/partition_counts.rs", "one an engine, and ended with it"),
    ("src/confirmation/engine/ledger_restore.rs", "one an assignment, for as long as its ledger is read"),
    ("src/kafka/transaction.rs", "one a transaction, for a call that may never return"),
    ("src/simulator.rs", "the demonstration's and the tests' own provider, ended with its handle"),
    ("src/server/connections.rs", "one a connection, tracked, and ended with the server"),
    ("src/server/requests.rs", "one a request, tracked, and ended with the server"),
];

#[test]
fn only_app_starts_tasks() {
    let sources = sources();
    let named = |file: &&File| file.is_of("src/app") || SPAWNING.iter().any(|(path, _)| *path == file.path);
    let spawns = [".spawn(", "::spawn("];
    let mut complaints = Vec::new();
    for file in sources.iter().filter(|file| !named(file)) {
        for (number, line) in file.code().filter(|(_, line)| spawns.iter().any(|word| line.contains(word))) {
            complaints
                .push(file.at(number, &format!("`{}`: give `app` the future, or name the exception", line.trim())));
        }
    }
    for (path, _) in SPAWNING {
        let file = sources.iter().find(|file| file.path == path);
        let spawns =
            file.is_some_and(|file| file.code().any(|(_, line)| spawns.iter().any(|word| line.contains(word))));
        if !spawns {
            complaints.push(format!("{path} starts no task any more: take it from the exceptions"));
        }
    }
    check(&complaints);
}

#[test]
fn each_provider_is_one_module_of_its_name_in_a_sorted_list() {
    let sources = sources();
    let presets: Vec<&str> = PRESETS.iter().map(Provider::name).collect();
    assert!(presets.is_sorted(), "sort the list of presets by name");
    let own = PROVIDERS.iter().map(|provider| provider.name()).filter(|name| !presets.contains(name));
    let modules: Vec<String> = own.map(|name| name.replace('-', "_")).collect();
    assert!(modules.is_sorted(), "sort the list of providers by name");
    let has_provider = |file: &&File| file.code().any(|(_, line)| line.starts_with("pub static PROVIDER:"));
    let defined: Vec<&str> = sources.iter().filter(has_provider).map(|file| file.path.as_str()).collect();
    let expected: Vec<String> = modules.iter().map(|module| format!("src/provider/{module}.rs")).collect();
    assert_eq!(defined, expected, "one provider a file, named after it, and in the list");
    for module in &modules {
        let others = modules.iter().filter(|other| *other != module);
        let words: Vec<String> = others
            .flat_map(|other| [format!("super::{other}"), format!("provider::{other}"), format!("message::{other}")])
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let files = sources.iter().filter(|file| file.is_of(&format!("src/provider/{module}")));
        check_words(files, &words, "providers do not know each other: what they share stands beside them");
    }
    let known: Vec<String> = modules.iter().map(|module| format!("provider::{module}")).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    // The engine carries out one provider's sessions, and the simulated provider is that one.
    let exceptions = ["src/provider", "src/confirmation", "src/simulator"];
    let others = sources.iter().filter(|file| !exceptions.iter().any(|module| file.is_of(module)));
    check_words(others, &known, "find the provider by its name: a fifth one must change nothing here");
    // Sessions wait for confirmation with one provider alone: the engine knows the shape of its calls, and no more of it.
    let engine: Vec<File> = sources.into_iter().filter(|file| file.is_of("src/confirmation")).collect();
    let beside_calls = engine.into_iter().map(|file| {
        let text = file.text.replace("provider::smart_glocal::api", "its calls");
        File { text, ..file }
    });
    let beside_calls: Vec<File> = beside_calls.collect();
    check_words(&beside_calls, &known, "the engine knows `provider::smart_glocal::api` alone");
}

/// What a checkout must not say: where its dependencies come from beside the lock files, and whose machine it was on.
#[test]
fn no_line_leans_on_a_registry_or_a_machine() {
    let hosts =
        ["crates.io", "registry.npmjs.org", "pypi.org", "pythonhosted.org", "repo.maven.apache.org", "repo1.maven.org"];
    let folders = ["root", "home"].map(|folder| format!("/{folder}/"));
    let mut complaints = Vec::new();
    let locks = ["Cargo.lock", "package-lock.json"];
    for file in tree().iter().filter(|file| !locks.iter().any(|lock| file.path.ends_with(lock))) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if line.contains("://") && hosts.iter().any(|host| line.contains(host)) {
                complaints.push(file.at(number, "a registry's address: its client knows where it is"));
            }
            if folders.iter().any(|folder| has_path(line, folder)) {
                complaints
                    .push(file.at(number, "a folder of one machine: take it from the environment or the checkout"));
            }
        }
    }
    check(&complaints);
}

/// Whether an absolute path that begins with `folder` stands in `line`.
fn has_path(line: &str, folder: &str) -> bool {
    let is_inside = |before: char| before.is_alphanumeric() || "_-.}~*".contains(before);
    line.match_indices(folder).any(|(place, _)| !line[..place].ends_with(is_inside))
}
