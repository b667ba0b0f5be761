//! `paybridge demo`: that it sees all that it sent, and that whatever it prints for people to type works.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Ran, run};
use crate::support::kafka::Kafka;

#[test]
fn it_sees_all_that_it_sent_and_is_plain_where_nobody_looks() {
    let ran = run(&["demo", "--duration", "10s", "--listen", "127.0.0.1:0"]);
    check(&ran, "payments");
    assert!(ran.output.contains("nothing survives"), "{}", ran.output);
}

#[test]
fn it_runs_on_a_real_kafka_too() {
    let kafka = Kafka::start(&[]);
    for _ in 0..2 {
        let ran = run(&["demo", "--duration", "15s", "--listen", "127.0.0.1:0", "--kafka", kafka.bootstrap()]);
        check(&ran, "paybridge-demo");
    }
    assert!(!kafka.read_all("paybridge-demo.smart-glocal.ready-to-confirm.v1").is_empty());
}

/// How sessions end in the demonstration.
const SESSIONS: [&str; 6] = [
    "confirmed (a rule)",
    "confirmed (another team)",
    "cancelled (a rule)",
    "cancelled (another team)",
    "cancelled (the deadline)",
    "refused (a rule)",
];

/// A step of each kind: what its line says in the end, behind the time and the session's id.
const STEPS: [(&str, &str); 11] = [
    ("webhook", "smart-glocal ready-to-confirm 200 accepted, # ms"),
    ("webhook", "unipaas payout-update 200 accepted, # ms"),
    ("record", "smart-glocal.ready-to-confirm 125.00 USD payout in progress next: confirm"),
    ("record", "unipaas.payout-update 1200.00 GBP completed"),
    ("call", "smart-glocal session/confirm 200 ok"),
    ("call", "smart-glocal session/confirm 400 account_not_found"),
    ("decision", "risk team → confirm: looked at by hand"),
    ("outcome", "125.00 USD payout rule \"small payouts\" → confirm → provider accepted, # ms"),
    ("outcome", "125.00 USD payout rule \"small payouts\" → confirm → provider refused: account_not_found, # ms"),
    ("outcome", "2500.00 USD payout decision of risk team → confirm → provider accepted, # ms"),
    ("outcome", "800.00 USD payout deadline → cancel → provider accepted, # ms"),
];

#[track_caller]
fn check(ran: &Ran, prefix: &str) {
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.output.contains('\u{1b}'), "colours in {}", ran.output);
    let steps: Vec<(String, String)> = ran.output.lines().filter_map(step).collect();
    for (kind, text) in STEPS {
        assert!(steps.contains(&(kind.to_owned(), text.to_owned())), "no {kind} {text} in {}", ran.output);
    }
    for provider in ["smart-glocal", "undostres", "unipaas", "standard-webhooks"] {
        let rows = ran.output.lines().filter(|line| line.starts_with(&format!("{prefix}.{provider}.")));
        assert!(rows.count() >= 1, "nothing of {provider} in the table: {}", ran.output);
        // With the answer below it.
        let curls = curls(&ran.output, provider);
        let answers: Vec<&str> = curls.iter().filter_map(|(_, answer)| answer.strip_prefix("→ ")).collect();
        assert!(matches!(answers.as_slice(), [one] if one.starts_with("200 {")), "{provider}: {curls:?}");
    }
    // Each has its outcome, and the provider's own record agrees: both columns are the same.
    for sessions in SESSIONS {
        let row = ran.output.lines().find_map(|line| line.strip_prefix(sessions)).unwrap_or_default();
        let numbers: Vec<&str> = row.split_whitespace().collect();
        assert!(matches!(numbers.as_slice(), [told, applied] if told == applied), "{sessions}: {}", ran.output);
    }
    let verdict = "All that was sent was acknowledged and seen, and every session ended as its one outcome says.\n";
    assert!(ran.output.ends_with(verdict), "{}", ran.output);
}

/// The kind of a step and its text, with `#` for milliseconds, where a line is one.
fn step(line: &str) -> Option<(String, String)> {
    let (time, rest) = line.split_once("  ")?;
    time.split_once(':')?.1.parse::<u8>().ok()?;
    let kinds = ["webhook", "record", "call", "decision", "outcome"];
    let words: Vec<&str> = rest.split_whitespace().collect();
    let place = words.iter().position(|word| kinds.contains(word)).filter(|place| *place <= 1)?;
    let text: Vec<&str> = words[place + 1..].to_vec();
    let text = match text.as_slice() {
        [rest @ .., number, "ms"] if number.parse::<u64>().is_ok() => format!("{} # ms", rest.join(" ")),
        all => all.join(" "),
    };
    Some((words[place].to_owned(), text))
}

/// The command lines of a provider's examples, each with the line below it.
fn curls<'o>(output: &'o str, provider: &str) -> Vec<(&'o str, &'o str)> {
    let heading = format!("# {provider}");
    let lines: Vec<&str> = output.lines().collect();
    let of =
        |window: &[&'o str]| (window[0] == heading && window[1].starts_with("curl ")).then(|| (window[1], window[2]));
    lines.windows(3).filter_map(of).collect()
}

#[test]
fn json_prints_the_whole_records_and_nothing_else() {
    let ran = run(&["demo", "--duration", "3s", "--listen", "127.0.0.1:0", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let records: Vec<Value> = ran.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes = records.iter().filter(|record| record["topic"] == "payments.confirmation.outcome.v1");
    assert!(outcomes.count() >= 6, "{}", ran.output);
    let ready = records.iter().find(|record| record["topic"] == "payments.smart-glocal.ready-to-confirm.v1").unwrap();
    let whole = &ready["message"]["metadata"]["evidence"]["raw_body"];
    assert!(whole.is_string() && ready["offset"].is_number() && ready["headers"]["ce_id"].is_string(), "{ready}");
    assert!(ran.errors.contains("All that was sent was acknowledged"), "{}", ran.errors);
}

/// A running demonstration; it is killed, if it still runs, when this value is dropped.
struct Demo {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_paybridge"))
            .args([&["demo", "--listen", "127.0.0.1:0"], arguments].concat())
            .env_remove("PAYBRIDGE_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// The next line that begins so.
    fn line(&mut self, start: &str) -> String {
        let mut read = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "it ended without `{start}`: {read}");
            if line.starts_with(start) {
                return line.trim_end().to_owned();
            }
            read += &line;
        }
    }

    /// Stops it as Ctrl-C does; what it printed till its end, and its exit code.
    fn interrupt(mut self) -> (String, Option<i32>) {
        let told = Command::new("kill").args(["-s", "INT", &self.process.id().to_string()]).status().unwrap();
        assert!(told.success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (rest, self.process.wait().unwrap().code())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has ended, unless a check failed.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// What a shell in another folder prints for a command line, where it succeeds.
#[track_caller]
fn typed(command: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh").args(["-c", command]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A watcher in another terminal copies whatever is printed, the session that waits first.
#[test]
fn every_command_that_it_prints_works_as_printed() {
    let program = env!("CARGO_BIN_EXE_paybridge");
    let mut demo = Demo::start(&["--beat-ms", "150"]);
    let curl = demo.line("curl ");
    for expected in ["accepted", "duplicate"] {
        let answer: Value = serde_json::from_str(&typed(&curl)).unwrap();
        assert_eq!(answer["status"], expected);
    }
    let decide = demo.line(&format!("{program} decide "));
    let outcome: Value = serde_json::from_str(&typed(&decide)).unwrap();
    let message = &outcome["message"];
    assert_eq!((&message["result"], &message["action"]), (&"RESULT_ACCEPTED".into(), &"ACTION_CONFIRM".into()));

    demo.line("The story is told.");
    for _ in 0..4 {
        let curl = demo.line("curl ");
        let answer: Value = serde_json::from_str(&typed(&curl)).unwrap();
        assert_eq!(answer["status"], "duplicate", "{curl}");
    }
    assert!(typed(&demo.line(&format!("{program} send "))).contains("200 {\"status\":\"accepted\""));
    let records = typed(&demo.line(&format!("{program} tail ")));
    assert!(records.lines().any(|line| line.contains("decision of paybridge decide → confirm")), "{records}");
    let again = demo.line(&format!("{program} decide "));
    assert_ne!(decide, again, "another session waits now");
    let outcome: Value = serde_json::from_str(&typed(&again)).unwrap();
    assert_eq!(outcome["message"]["result"], "RESULT_ACCEPTED");

    let (rest, code) = demo.interrupt();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("confirmed (another team)"), "{rest}");
}
