//! How any sender is connected: the commands of docs/providers.md run as they stand there.

use std::fmt::Write as _;

use super::{block, page, run};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;

/// The blocks of commands, in their order.
const STEPS: [&str; 4] = ["sender-prepare", "sender-check", "sender-send", "sender-verify"];

/// One after another in one shell, but for ports and a Kafka that nobody else has.
#[test]
fn any_sender_is_connected_by_the_commands_of_the_page() {
    let kafka = Kafka::start(&[]);
    let page = page("docs/providers.md");
    let mut script = String::from("set -eu\ntrap 'kill $(jobs -p) || true; wait' EXIT\n");
    for name in STEPS {
        writeln!(script, "{}", block(&page, name)).unwrap();
    }
    let (webhooks, admin) = (free_port(), free_port());
    let script = script
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{webhooks}"))
        .replace("127.0.0.1:9090", &format!("127.0.0.1:{admin}"))
        .replace("localhost:9092", kafka.bootstrap())
        .replace("target/release/paybridge", env!("CARGO_BIN_EXE_paybridge"));
    let folder = tempfile::tempdir().unwrap();
    let (printed, errors) = run(&script, folder.path());
    for expected in [
        "HMAC-SHA256 over `{t}:{body}`, hex, from header x-parcel-signature entry h1, 300 s around the time in entry ts",
        "payments.parcels.transaction.v1",
        r#"200 {"status":"accepted""#,
        "right by key ",
        "authentic, by key ",
        "→ payments.parcels.transaction.v1",
    ] {
        assert!(printed.contains(expected), "no {expected} in\n{printed}\n{errors}");
    }
    assert!(
        !printed.contains("a secret of no value") && !errors.contains("a secret of no value"),
        "{printed}\n{errors}"
    );
}
