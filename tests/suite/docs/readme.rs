//! README is correct to the letter: its commands run, the files and tables that it shows are those of the code.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use paybridge::ingress::answer::{Answer, OUTCOMES};
use paybridge::provider::EventId;

use crate::support::bridge::free_port;
use crate::support::cache::CHECKOUT;
use crate::support::kafka::Kafka;

fn readme() -> String {
    fs::read_to_string(Path::new(CHECKOUT).join("README.md")).unwrap()
}

/// The shell block behind `<!-- run: name -->`.
fn block<'r>(readme: &'r str, name: &str) -> &'r str {
    let (_, rest) = readme.split_once(&format!("<!-- run: {name} -->\n```sh\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// The commands of the first steps, one after another in one shell, but for the build, and for ports that nobody else has.
#[test]
fn its_first_steps_put_a_webhook_through_kafka() {
    let kafka = Kafka::start(&[]);
    let readme = readme();
    let mut script = String::from("set -eu\ntrap 'kill $(jobs -p) || true; wait' EXIT\n");
    for name in ["prepare", "start", "send", "see", "confirm"] {
        writeln!(script, "{}", block(&readme, name)).unwrap();
    }
    assert!(script.contains("cargo build --release\n"));
    let folder = tempfile::tempdir().unwrap();
    let config = fs::read_to_string(Path::new(CHECKOUT).join("config/local.toml")).unwrap();
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
    let output = Command::new("bash")
        .args(["-c", &elsewhere(&script)])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{printed}\n{errors}", output.status);
    for expected in [r#""status":"accepted""#, r#""status":"duplicate""#, r#""key":"ps_3230""#, "created"] {
        assert!(printed.contains(expected), "no {expected} in\n{printed}\n{errors}");
    }
    assert_eq!(printed.matches(r#"200 {"status":"accepted""#).count(), 7, "samples sent:\n{printed}");
    for expected in [r#""result":"RESULT_DRY_RUN""#, r#""decided_by_kind":"DECIDER_KIND_DECISION""#] {
        assert!(printed.contains(expected), "no {expected} in\n{printed}\n{errors}");
    }
}

/// Where the README shows a file, it is that very file.
#[test]
fn it_shows_the_examples_as_they_are() {
    let mut readme = readme();
    let before = readme.clone();
    let mut shown = 0;
    for part in before.split("<!-- file: ").skip(1) {
        let (path, rest) = part.split_once(" -->\n").unwrap();
        let (old, _) = rest.split_once("<!-- /file -->").unwrap();
        let language = old.lines().next().unwrap();
        let file = fs::read_to_string(Path::new(CHECKOUT).join(path)).unwrap();
        readme = readme.replace(old, &format!("{language}\n{}\n```\n", file.trim_end()));
        shown += 1;
    }
    assert_eq!(shown, 3);
    if std::env::var_os("PAYBRIDGE_BLESS").is_some() {
        fs::write(Path::new(CHECKOUT).join("README.md"), readme).unwrap();
    } else {
        assert!(readme == before, "README.md shows other files than there are: PAYBRIDGE_BLESS=1 puts them in");
    }
}

/// Each outcome has its row, with the status and body that are sent.
#[test]
fn its_table_of_answers_is_the_code_s() {
    let id = EventId::from_bytes([0; 16]);
    let readme = readme();
    let (_, rest) = readme.split_once("<!-- answers -->").unwrap();
    let (table, _) = rest.split_once("<!-- /answers -->").unwrap();
    let mut rows = BTreeSet::new();
    for answer in Answer::each(id) {
        let response = answer.response();
        let body = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            use http_body_util::BodyExt as _;
            answer.response().into_body().collect().await.unwrap().to_bytes()
        });
        let body = String::from_utf8(body.to_vec()).unwrap().replace(&id.to_string(), "…");
        let after = response.headers().get("retry-after");
        let after = after.map_or_else(String::new, |after| format!(", `Retry-After: {}`", after.to_str().unwrap()));
        let row = format!("| `{}` | {} `{body}`{after} |", answer.outcome(), response.status().as_u16());
        assert!(table.contains(&row), "README's table of answers lacks: {row}");
        rows.insert(answer.outcome());
    }
    assert_eq!(rows, BTreeSet::from(OUTCOMES));
    assert_eq!(table.matches("\n| `").count(), OUTCOMES.len());
}
