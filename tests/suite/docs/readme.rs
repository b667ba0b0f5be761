//! README is short, and correct to the letter: its commands run, and so do those that go on from there.

use std::fmt::Write as _;
use std::fs;

use super::{block, page, run};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;

/// What one reads before one tries it.
const README_LINES_MAX: usize = 150;

/// The blocks of commands of the first steps, in their order, each with its page.
const FIRST_STEPS: [(&str, &str); 5] = [
    ("README.md", "prepare"),
    ("README.md", "start"),
    ("README.md", "send"),
    ("README.md", "see"),
    ("docs/confirmations.md", "confirm"),
];

#[test]
fn it_is_short() {
    let lines = page("README.md").lines().count();
    assert!(
        lines <= README_LINES_MAX,
        "README.md has {lines} lines: give what is more than a beginning a page in docs/"
    );
}

/// The commands of the first steps, one after another in one shell, but for the build, and for ports that nobody else has.
#[test]
fn its_first_steps_put_a_webhook_through_kafka() {
    let kafka = Kafka::start(&[]);
    let mut script = String::from("set -eu\ntrap 'kill $(jobs -p) || true; wait' EXIT\n");
    for (path, name) in FIRST_STEPS {
        writeln!(script, "{}", block(&page(path), name)).unwrap();
    }
    assert!(script.contains("cargo build --release\n"));
    let folder = tempfile::tempdir().unwrap();
    let config = page("config/local.toml");
    let (webhooks, admin) = (free_port(), free_port());
    let elsewhere = |text: &str| {
        text.replace("127.0.0.1:8080", &format!("127.0.0.1:{webhooks}"))
            .replace("127.0.0.1:9090", &format!("127.0.0.1:{admin}"))
            .replace("localhost:9092", kafka.bootstrap())
            .replace("cargo build --release\n", "")
            .replace("target/release/paybridge", env!("CARGO_BIN_EXE_paybridge"))
    };
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(folder.path().join("config/local.toml"), elsewhere(&config)).unwrap();
    let (printed, errors) = run(&elsewhere(&script), folder.path());
    for expected in [r#""status":"accepted""#, r#""status":"duplicate""#, r#""key":"ps_3230""#, "created"] {
        assert!(printed.contains(expected), "no {expected} in\n{printed}\n{errors}");
    }
    assert_eq!(printed.matches(r#"200 {"status":"accepted""#).count(), 7, "samples sent:\n{printed}");
    // Of the file as it is; a dry run is a warning.
    assert!(printed.contains("ok: 0 errors, 0 warnings"), "{printed}");
    for expected in [r#""result":"RESULT_DRY_RUN""#, r#""decided_by_kind":"DECIDER_KIND_DECISION""#] {
        assert!(printed.contains(expected), "no {expected} in\n{printed}\n{errors}");
    }
}
