//! The exit code of each command, as documented: 0 good, 1 a problem was found or met, 2 wrong usage. And what it says beside a
//! code that is not 0: the next step, or the nearest thing that there is.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{Ran, Setup, run};
use crate::support::kafka::Kafka;

/// Nobody waits longer for a Kafka that is away.
const ENDS_WITHIN: Duration = Duration::from_mins(1);

/// The arguments, the exit code, and a part of what is told on standard error, or of the output of those that check.
type Case<'a> = (&'a str, i32, &'a str);

#[track_caller]
fn check(setup: &Setup, cases: &[Case<'_>]) {
    for case in cases {
        check_one(setup, *case);
    }
}

#[track_caller]
fn check_one(setup: &Setup, (line, code, told): Case<'_>) {
    let arguments: Vec<&str> = line.split(' ').collect();
    let begun = Instant::now();
    let Ran { code: ended, output, errors } = setup.run(&arguments);
    assert!(begun.elapsed() < ENDS_WITHIN, "{line}: ended after {:?}", begun.elapsed());
    assert_eq!(ended, code, "{line}: {output}{errors}");
    assert!(errors.contains(told) || output.contains(told), "{line}: no `{told}` in {output}{errors}");
    assert!(code != 2 || output.is_empty(), "{line}: wrong usage has no output: {output}");
}

/// What is wrong is known before anybody is asked.
#[test]
fn wrong_usage_is_2_and_names_the_nearest() {
    let setup = Setup::new("127.0.0.1:1", "");
    check(
        &setup,
        &[
            ("chekc", 2, "a similar subcommand exists: 'check'"),
            ("check --ofline", 2, "a similar argument exists: '--offline'"),
            ("check --format jsno", 2, "a similar value exists: 'json'"),
            ("run --no-such-option", 2, "--help"),
            ("send", 2, "--help"),
            ("send sg-mian ready-to-confirm", 2, "there is no source `sg-mian`: did you mean `sg-main`?"),
            ("send xyzzy ready-to-confirm", 2, "there is no source `xyzzy`: known here are `"),
            (
                "send sg-main redy-to-confirm",
                2,
                "smart-glocal has no event `redy-to-confirm`: did you mean `ready-to-confirm`?",
            ),
            ("send unipaas payout-update --url 127.0.0.1:8080", 2, "--url has no scheme, http:// or https://"),
            ("send unipaas payout-update --url ftp://127.0.0.1", 2, "--url must begin with http:// or https://"),
            ("send unipaas payout-update --rate 0", 2, "--rate"),
            ("tail --count 0", 2, "--count"),
            ("tail no-such-topic", 2, "no-such-topic"),
            ("demo --duration x", 2, "--duration"),
            ("topics --offline --create", 2, "--create"),
            ("topics --create --format strimzi", 2, "give one of the two"),
            ("decide sg-main ps_1 confrim --reason x", 2, "a similar value exists: 'confirm'"),
            ("decide sg-main ps_1 confirm", 2, "--reason"),
            ("decide sg-mian ps_1 confirm --reason x", 2, "did you mean `sg-main`?"),
            ("decide unipaas ps_1 confirm --reason x", 2, "only sessions of smart-glocal wait for a confirmation"),
            ("decide sg-main ps_1 confirm --reason x --timeout 0s", 2, "--timeout must be from 1 second to 7 days"),
            ("quarantine", 2, "--help"),
            ("quarantine lsit", 2, "a similar subcommand exists: 'list'"),
            ("quarantine list --from quarantin", 2, "a similar value exists: 'quarantine'"),
            ("quarantine list --since soon", 2, "write a time as 2026-01-02T03:04:05Z, or an age as 30m, 2h or 3d"),
            ("quarantine show quarantine/0", 2, "ID must be a place such as quarantine/0/41"),
            ("quarantine release --rate 0", 2, "--rate"),
            ("quarantine release --released-by=", 2, "--released-by must have 1 to 1024 bytes"),
            ("why", 2, "--help"),
            ("why ps_1 --source sg-mian", 2, "did you mean `sg-main`?"),
            ("why ps_1 --source unipaas", 2, "only sessions of smart-glocal wait for a confirmation"),
            ("why ps_1 --timeout 0s", 2, "--timeout must be more than 0"),
            ("why ps_1 --since=-1h", 2, "--since must be from 0 to 10 years"),
        ],
    );
}

#[test]
fn a_problem_that_is_met_is_1() {
    let setup = Setup::new("127.0.0.1:1", "");
    let kafka_away = "Kafka does not answer";
    let cases = [
        ("check", 1, kafka_away),
        ("topics", 1, kafka_away),
        ("topics --create", 1, kafka_away),
        ("topics --update", 1, kafka_away),
        ("tail quarantine", 1, kafka_away),
        ("send unipaas payout-update --url http://127.0.0.1:1", 1, "cannot be reached"),
        ("send sg-main ready-to-confirm", 1, "--signing-key"),
        ("decide sg-main ps_1 confirm --reason x --timeout 2s", 1, kafka_away),
        ("quarantine list", 1, kafka_away),
        ("quarantine show quarantine/0/41", 1, kafka_away),
        ("quarantine release", 1, kafka_away),
        ("why ps_1 --timeout 2s", 1, kafka_away),
    ];
    // Side by side: each waits for Kafka for a while.
    let setup = &setup;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || check_one(setup, case));
        }
    });
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen =
        format!("[ingress]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    check(&Setup::new("127.0.0.1:1", &listen), &[("run", 1, "admin.listen")]);
    check(&Setup::new("127.0.0.1:1", "[dedup]\nwindw_s = 1\n"), &[("run", 1, "window_s"), ("topics", 1, "window_s")]);
}

#[test]
fn what_goes_well_is_0() {
    let kafka = Kafka::shared();
    let setup = Setup::new(kafka.bootstrap(), "");
    check(
        &setup,
        &[
            ("check --offline", 0, ""),
            ("topics --offline", 0, "PARTITIONS"),
            ("topics --format json", 0, "partitions"),
            ("topics --format strimzi", 0, "KafkaTopic"),
            ("topics", 1, "topics are missing"),
            ("topics --create", 0, "created"),
            ("topics", 0, "exists"),
            ("topics --update", 0, "fits"),
            ("check", 0, ""),
            ("quarantine list --from rejected", 0, "0 of 0 records are listed"),
            ("quarantine show quarantine/0/41", 1, "no record is found of quarantine/0/41"),
            ("quarantine release", 0, "nothing was written: 0 would be released"),
            ("quarantine release --yes", 0, "0 released, 0 webhooks stay"),
            ("why ps_1", 1, "confirmation.outcome.v1 does not exist"),
        ],
    );
    assert_eq!(run(&["--version"]).code, 0);
}

#[test]
fn every_help_has_an_example() {
    for command in ["run", "demo", "check", "topics", "send", "tail", "decide", "why", "quarantine", "protos"] {
        let ran = run(&[command, "--help"]);
        assert_eq!(ran.code, 0);
        assert!(ran.output.contains(&format!("paybridge {command}")), "no example in {}", ran.output);
    }
    for command in ["list", "show", "release"] {
        let ran = run(&["quarantine", command, "--help"]);
        assert!(ran.output.contains(&format!("paybridge quarantine {command}")), "no example in {}", ran.output);
    }
    let events = run(&["send", "--help"]).output;
    for event in ["ready-to-confirm", "payment-request-card", "payout-update", "received"] {
        assert!(events.contains(&format!("    {event}\n")), "no {event} in {events}");
    }
}
