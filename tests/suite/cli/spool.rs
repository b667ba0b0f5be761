//! `paybridge spool` on folders that are none, empty, or in use, and what it prints.

use std::path::Path;
use std::process::Output;

use bytes::Bytes;
use paybridge::kafka::record::Record;
use paybridge::provider::EventId;
use paybridge::spool::batch::{self, SpooledRecord};
use paybridge::spool::folder::Folder;
use serde_json::Value;

use crate::support::daemon::{Settings, configuration, program};
use crate::support::kafka::{Kafka, unique_prefix};

fn spool(arguments: &[&str], folder: &Path) -> Output {
    program().arg("spool").args(arguments).arg("--directory").arg(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A folder with two records of this topic in one file.
fn filled(root: &Path, topic: &str) -> Folder {
    let folder = Folder::open(root).unwrap();
    let records = [1, 2].map(|number| {
        let headers = vec![("ce_id".into(), Bytes::from(number.to_string()))];
        let record = Record { topic: topic.into(), key: "k".to_owned(), value: vec![7; 10], headers };
        SpooledRecord { record, event_id: Some(EventId::from_bytes([number; 16])) }
    });
    folder.store(7, &batch::encode(7, &records)).unwrap();
    folder
}

#[test]
fn a_folder_that_is_no_spool_is_named_and_left_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    for command in ["status", "drain", "retry-dead"] {
        for folder in [place.path().join("missing"), place.path().to_owned()] {
            let output = spool(&[command], &folder);
            assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
            let told = text(&output.stderr);
            assert!(told.contains(&format!("{} is no spool that can be read", folder.display())), "{command}: {told}");
        }
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn says_what_waits_whom_it_belongs_to_and_what_is_dead() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("spool");
    let folder = filled(&root, "payments.shop.paid.v1");
    let output = spool(&["status"], &root);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = text(&output.stdout);
    for part in ["in use by a process", "waiting: 1 files", "2 records", "payments.shop.paid.v1: 2", "dead: 0 files"] {
        assert!(told.contains(part), "no `{part}` in: {told}");
    }
    let refused = spool(&["drain"], &root);
    assert!(text(&refused.stderr).contains("is the spool of another process that runs"), "{refused:?}");
    folder.bury(7).unwrap();
    drop(folder);
    let output = spool(&["status", "--format", "json"], &root);
    assert_eq!(output.status.code(), Some(1), "something is dead: {output:?}");
    let told: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!((&told["in_use"], &told["files"]), (&Value::Bool(false), &Value::from(0)));
    assert_eq!(told["dead"][0]["event_ids"][1], "02".repeat(16));
    assert_eq!(text(&spool(&["retry-dead"], &root).stdout), "nothing to try again\n", "damaged files stay");
}

/// One bad file hides nothing of the others.
#[test]
fn names_files_that_the_disk_does_not_give() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("spool");
    drop(filled(&root, "payments.shop.paid.v1"));
    let names = std::fs::read_dir(root.join("new")).unwrap().map(|entry| entry.unwrap().file_name());
    let bad = root.join("new").join(names.max().unwrap().to_str().unwrap().replace('7', "8"));
    // A link to itself has a name and nothing to read.
    std::os::unix::fs::symlink(&bad, &bad).unwrap();
    let output = spool(&["status"], &root);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for part in ["payments.shop.paid.v1: 2", &format!("cannot be read: {}: ", bad.display())] {
        assert!(told.contains(part), "no `{part}` in: {told}");
    }
}

#[test]
fn empties_a_folder_that_no_process_has_any_more() {
    let kafka = Kafka::shared();
    let (place, topic) = (tempfile::tempdir().unwrap(), format!("{}.events.v1", unique_prefix()));
    let (root, config) = (place.path().join("spool"), place.path().join("paybridge.toml"));
    std::fs::write(&config, configuration(kafka.bootstrap(), Settings::default())).unwrap();
    let config = config.to_str().unwrap();
    drop(filled(&root, &topic));
    let output = spool(&["drain", "--config", config], &root);
    assert_eq!(output.status.code(), Some(1), "there is no such topic: {output:?}");
    assert!(text(&output.stdout).starts_with("0 records published, 2 left\n"), "{output:?}");
    kafka.create_topics(&[(&topic, 1, &[])]);
    // As if they had been too large before.
    let (waiting, dead) = (format!("{:020}", 7), format!("{:020}-0.too-large", 7));
    std::fs::rename(root.join("new").join(waiting), root.join("dead").join(&dead)).unwrap();
    let output = spool(&["drain", "--config", config], &root);
    assert_eq!(output.status.code(), Some(1), "what is dead is not delivered: {output:?}");
    assert_eq!(text(&spool(&["retry-dead"], &root).stdout), format!("tried again: {dead}\n"));
    assert!(text(&spool(&["status"], &root).stdout).contains("2 records"), "what is to be tried again waits");
    let output = spool(&["drain", "--config", config], &root);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).starts_with("2 records published, 0 left\n"), "{output:?}");
    let ids: Vec<String> =
        kafka.read_all(&topic).iter().map(|record| record.header("ce_id").unwrap().to_owned()).collect();
    assert_eq!(ids, ["1", "2"]);
}
