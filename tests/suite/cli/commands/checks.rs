//! What `check` says of a Kafka that is reached in the wrong way, of key files, of rules, and of names that are easily mistaken.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::{Setup, run};
use crate::support::bridge::key_file;
use crate::support::kafka::{Kafka, Login};
use crate::support::ports::free_port;

/// The part of the output about a finding of this code: its lines up to the next finding.
#[track_caller]
fn finding<'o>(output: &'o str, code: &str) -> &'o str {
    let begin = output.find(&format!("  {code}  ")).unwrap_or_else(|| panic!("no {code} in {output}"));
    let rest = &output[begin..];
    let end = rest.match_indices('\n').map(|(at, _)| at).find(|at| !rest[at + 1..].starts_with(' '));
    &rest[..end.unwrap_or(rest.len())]
}

#[track_caller]
fn check_wrong_protocol(bootstrap: &str, more: &str, told: &[&str]) {
    let ran = Setup::new(bootstrap, more).run(&["check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let found = finding(&ran.output, "kafka-wrong-protocol");
    for part in told {
        assert!(found.contains(part), "no `{part}` in {found}");
    }
}

#[test]
fn check_knows_a_port_of_another_protocol() {
    let kafka = Kafka::shared();
    let with_tls = kafka.secured_bootstrap(Login::Scram);
    check_wrong_protocol(&with_tls, "", &["expects TLS", "set security.protocol to \"ssl\" (or \"sasl_ssl\")"]);
    let tls = "[kafka.properties]\nsecurity.protocol = \"ssl\"\n";
    let without = "set security.protocol to \"plaintext\" (or \"sasl_plaintext\")";
    check_wrong_protocol(kafka.bootstrap(), tls, &["does not speak TLS", without]);

    let http = http_server();
    check_wrong_protocol(&http, "", &["an HTTP server answers", "correct kafka.bootstrap_servers"]);
    check_wrong_protocol(&http, tls, &["does not speak TLS", without]);
}

/// Answers every connection as an HTTP server does that does not understand the request. Where it is.
fn http_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // A client that is gone has seen enough.
            let _read = connection.read(&mut [0; 4096]);
            let _written = connection.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    address
}

#[test]
fn check_asks_whether_the_broker_is_running() {
    let ran = Setup::new(&format!("127.0.0.1:{}", free_port()), "").run(&["check"]);
    let found = finding(&ran.output, "kafka-unreachable");
    assert!(found.contains("is the broker running? else correct kafka.bootstrap_servers"), "{found}");
}

#[test]
fn check_says_how_permissions_were_proven_only_when_asked() {
    let setup = Setup::new(Kafka::shared().bootstrap(), "");
    assert_eq!(setup.run(&["topics", "--create"]).code, 0);
    let brief = setup.run(&["check"]).output;
    assert!(brief.contains("write permission: ok (") && brief.contains("read permission: ok ("), "{brief}");
    assert!(!brief.contains("because of its size"), "{brief}");
    let verbose = setup.run(&["check", "-v"]).output;
    assert!(finding(&verbose, "write-proven").contains("because of its size"), "{verbose}");
    assert!(brief.ends_with("ok: 0 errors, 0 warnings\n"), "{brief}");
}

#[test]
fn check_says_what_a_key_file_holds_and_names_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    write("empty.pem", "");
    write("secret.key", "hunter2-hunter2-hunter2");
    write("sg.pem", &fs::read_to_string(key_file("smart-glocal-public.pem")).unwrap());
    let file = folder.path().join("paybridge.toml");
    let source = |name: &str, key: &str| {
        format!("[sources.{name}]\nprovider = \"smart-glocal\"\npublic_key_files = [\"{key}\"]\n")
    };
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        run(&["check", "--offline", "--config", file.to_str().unwrap()]).output
    };
    let wrong = check(&(source("a", "empty.pem") + &source("b", "secret.key") + &source("c", "../absent.pem")));
    let path = |name: &str| folder.path().join(name).display().to_string();
    for part in [
        format!("{} holds nothing, but needs a public key", path("empty.pem")),
        format!("{} holds other text, but needs a public key", path("secret.key")),
        format!("{} cannot be read", path("../absent.pem")),
        "not ok: 3 errors, ".to_owned(),
    ] {
        assert!(wrong.contains(&part), "no `{part}` in {wrong}");
    }
    assert!(!wrong.contains("hunter2"), "{wrong}");
    let right = check(&source("a", "sg.pem"));
    assert!(right.contains(&format!("{}: key id ", path("sg.pem"))), "{right}");
}

#[test]
fn check_shows_where_in_a_rule_something_is_wrong_without_its_texts() {
    let rule = |name: &str, when: &str| {
        format!("[[confirmation.rules]]\nname = \"{name}\"\nwhen = '''{when}'''\nthen = \"hold\"\n")
    };
    let bad = rule("vip", "session.operations.exists(o,\n  o.customer.refrence == \"user-13\")")
        + &rule("cut", "\"user-66\" +");
    let output = Setup::new("localhost:1", &bad).run(&["check", "--offline"]).output;
    for part in [
        "rule \"vip\" names `refrence`, which is no field of a customer (line 2, column 14)",
        "  |   o.customer.refrence == \"*******\")\n           |              ^\n",
        "-> did you mean `reference`?",
        "rule \"cut\" ends too early (line 1, column 12)",
    ] {
        assert!(output.contains(part), "no `{part}` in {output}");
    }
    assert!(!output.contains("user-13") && !output.contains("user-66"), "{output}");

    let odd = rule("vip", "session.operations.exists(o, o.customer.reference == \"user-13\")")
        + &rule("dollars", "session.operations.all(o, o.amount.currency == \"usd\")");
    let output = Setup::new("localhost:1", &odd).run(&["check", "--offline"]).output;
    let found = finding(&output, "rule-reads-absent-field");
    assert!(
        found.contains("rule \"vip\"") && found.contains("has(o.customer) && has(o.customer.reference) &&"),
        "{found}"
    );
    let found = finding(&output, "rule-compares-in-vain");
    assert!(found.contains("rule \"dollars\" compares the currency") && found.contains("upper case"), "{found}");
    assert!(!output.contains("user-13"), "{output}");
}

/// As a container has them, and as a shell can export them.
#[test]
fn names_of_variables_that_set_nothing_are_told_with_the_right_ones() {
    let setup = Setup::new("localhost:1", "");
    let program = |command: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_paybridge"));
        program.args(command).arg("--config").arg(setup.file()).stdin(Stdio::null());
        program
            .env("PAYBRIDGE_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
            .env("PAYBRIDGE_SERVICE_HOST", "10.0.0.1")
            .env("PAYBRIDGE_PORT_9090_TCP_ADDR", "10.0.0.1")
            .env("PAYBRIDGE_SHOP_SERVICE_PORT_HTTP", "8080");
        program.output().unwrap()
    };
    let checked = String::from_utf8(program(&["check", "--offline"]).stdout).unwrap();
    let found = finding(&checked, "environment-ignored");
    assert!(found.contains("PAYBRIDGE_KAFKA_BOOTSTRAP_SERVERS"), "{found}");
    assert!(found.contains("did you mean PAYBRIDGE_KAFKA__BOOTSTRAP_SERVERS?"), "{found}");
    assert_eq!(checked.matches("environment-ignored").count(), 1, "{checked}");

    let listed = program(&["topics"]);
    let told = "environment variable PAYBRIDGE_KAFKA_BOOTSTRAP_SERVERS is ignored: did you mean PAYBRIDGE_KAFKA__BOOTSTRAP_SERVERS?";
    let errors = String::from_utf8(listed.stderr).unwrap();
    assert!(errors.contains(told) && !errors.contains("SERVICE"), "{errors}");
}

#[test]
fn a_shell_can_set_the_keys_of_a_source_with_hyphens() {
    let setup = Setup::new("localhost:1", "");
    let script = "export PAYBRIDGE_SOURCES__SG_MAIN__PATH=without-a-slash; exec \"$0\" check --offline --config \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_paybridge")]).arg(setup.file()).stdin(Stdio::null());
    let output = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let found = finding(&output, "config-invalid");
    assert!(found.contains("sources.sg-main.path") && found.contains("PAYBRIDGE_SOURCES__SG_MAIN__PATH"), "{found}");
}

/// Wherever the command is run.
#[test]
fn names_of_files_are_relative_to_the_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config", "keys", "elsewhere"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    fs::copy(key_file("unipaas.key"), folder.path().join("keys/unipaas.key")).unwrap();
    let text = "[sources.unipaas]\nprovider = \"unipaas\"\nsecret_files = [\"../keys/unipaas.key\"]\n";
    fs::write(folder.path().join("config/paybridge.toml"), text).unwrap();
    for (at, file) in
        [("", "config/paybridge.toml"), ("elsewhere", "../config/paybridge.toml"), ("config", "paybridge.toml")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paybridge"));
        command.args(["check", "--offline", "--config", file]).current_dir(folder.path().join(at)).stdin(Stdio::null());
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && told.contains("keys/unipaas.key: key id "), "{at}: {told}");
    }
}
