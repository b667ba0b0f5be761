//! What the program says and how it ends when its configuration or its arguments are wrong.

use std::fs;
use std::process::Output;

use crate::support::daemon::{Settings, configuration, program};

#[test]
fn a_wrong_configuration_ends_with_1_and_names_key_and_file() {
    let cases = [
        ("[dedup]\nmode = \"all\"", &["dedup.mode", "\"shared\", \"local\"", "paybridge.toml"][..]),
        ("[spool]\nengage_after_ms = 7000\nenabled = true", &["spool.engage_after_ms", "at most 5500"]),
        ("[confirmation]\nwindow_s = 9", &["confirmation.window_s", "10 to 604800", "paybridge.toml"]),
        ("[dedup]\nwindow_s = \"hunter2\"", &["dedup.window_s", "paybridge.toml"]),
        ("[dedup]\nwindw_s = 1", &["dedup.windw_s", "`window_s`", "paybridge.toml"]),
        ("[kafka.properties]\nacks = \"1\"", &["acks", "paybridge.toml"]),
        ("[kafka.properties]\n\"no.such.property\" = \"hunter2\"", &["kafka.properties", "no.such.property"]),
        ("[kafka.properties]\n\"compression.type\" = \"hunter2\"", &["compression.type"]),
        ("[kafka.property_files]\n\"sasl.password\" = \"/no/such/file\"", &["sasl.password", "/no/such/file"]),
        ("[sources.more]\nprovider = \"unipaas\"\nsecret_files = [\"/no/such/file\"]", &["more", "/no/such/file"]),
        ("[sources.more]\nprovider = \"nobody\"", &["sources.more.provider", "known here are", "paybridge.toml"]),
        ("[ingress.tls]\ncert_file = \"/no/such/file\"\nkey_file = \"/no/such/file\"", &["/no/such/file"]),
        ("[[", &["paybridge.toml"]),
    ];
    for (wrong, told) in cases {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("paybridge.toml");
        fs::write(&file, format!("{}{wrong}\n", configuration("127.0.0.1:1", Settings::default()))).unwrap();
        let output = program().args(["run", "--config"]).arg(&file).output().unwrap();
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{wrong}: {text}");
        for part in told {
            assert!(text.contains(part), "{wrong}: no `{part}` in: {text}");
        }
        assert!(!text.contains("hunter2"), "{wrong}: the value is told: {text}");
    }
}

#[test]
fn a_configuration_file_that_is_not_there_is_named() {
    let output = program().args(["run", "--config", "/no/such/file.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("/no/such/file.toml"), "{output:?}");
}

#[test]
fn an_address_in_use_ends_with_1_and_names_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("paybridge.toml");
    fs::write(&file, configuration("127.0.0.1:1", Settings::default())).unwrap();
    let output = program()
        .args(["run", "--config"])
        .arg(&file)
        .env("PAYBRIDGE_INGRESS__LISTEN", taken.local_addr().unwrap().to_string())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("ingress.listen"), "{output:?}");
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&[][..], &["no-such-command"], &["run", "--no-such-option"], &["run", "--config"], &["send"]] {
        let output = program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(errors(&output).contains("--help"), "{arguments:?}: {output:?}");
    }
}

#[test]
fn the_help_of_each_command_shows_an_example() {
    let help = text(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands: Vec<&str> = commands.lines().map_while(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"run") && commands.contains(&"send"), "{help}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let help = text(&[command, "--help"]);
        let (_, example) = help.split_once("Example").unwrap_or_else(|| panic!("{command}: {help}"));
        assert!(example.contains(&format!("paybridge {command}")), "{command}: {help}");
    }
}

fn text(arguments: &[&str]) -> String {
    let output = program().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
