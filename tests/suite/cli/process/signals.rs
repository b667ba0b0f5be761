//! Commands that wait for Kafka end when they are told to: as a container's first process they must hear it themselves.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::daemon::{Settings, configuration, program};

#[test]
fn a_command_that_waits_for_kafka_ends_by_sigterm_and_says_so() {
    for arguments in [
        &["check"][..],
        &["topics", "--create"],
        &["topics", "--update"],
        &["decide", "sg-main", "ps_1", "cancel", "--reason", "x"],
    ] {
        // Takes connections and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("paybridge.toml");
        fs::write(&file, configuration(&silent.local_addr().unwrap().to_string(), Settings::default())).unwrap();
        let mut command = program();
        command.args(arguments).arg("--config").arg(&file).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        // It waits for Kafka now.
        let connection = silent.accept().unwrap();

        let told = Command::new("kill").args(["-s", "TERM", &process.id().to_string()]).status().unwrap();
        assert!(told.success(), "{arguments:?}: {told}");
        let mut errors = String::new();
        process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        // Ended by the signal itself it would have no code.
        assert_eq!(process.wait().unwrap().code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.contains("stopped by a signal"), "{arguments:?}: {errors}");
        drop(connection);
    }
}
