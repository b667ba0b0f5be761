//! Files that are damaged while they wait: what can be read is delivered, and what cannot is told and kept.

use std::fs;

use super::{Spooling, files};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;

/// Of six files two are damaged in different ways: one record is lost by one of them, and every other one is delivered. The lost one is
/// new when it comes again.
#[test]
fn a_damaged_file_costs_its_damaged_record_alone_and_says_so() {
    let kafka = Kafka::start(&[]);
    let mut spooling = Spooling::start(&kafka, "");
    kafka.kill_9();
    // One after the other, so that each has a file of its own.
    let ids: Vec<String> = (0..6).map(|number| spooling.post_well(&spooling.event("ps_1", number)).1).collect();
    spooling.daemon.signal("KILL");
    assert_eq!(spooling.daemon.await_end(), None);
    let folder = spooling.path().join("new");
    let names = files(&folder);
    assert_eq!(names.len(), ids.len(), "{names:?}");
    // In the middle of a record, and in the last bytes.
    for (name, from_end) in [(&names[1], 400), (&names[3], 1)] {
        let path = folder.join(name);
        let mut bytes = fs::read(&path).unwrap();
        let place = bytes.len() - from_end;
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    spooling.daemon.start_anew();
    spooling.daemon.await_listening();
    assert_eq!(spooling.post_well(&spooling.event("ps_1", 3)).0, "duplicate", "a damaged footer harms no record");
    // Kafka is away still. The file with the damaged record waits, and its provider may send the lost event again now.
    eventually(LIMIT, || match spooling.metric("paybridge_spool_records_damaged_total") {
        damaged if damaged > 0.0 => Ok(()),
        _ => Err("no record is damaged".to_owned()),
    });
    assert_eq!(spooling.post_well(&spooling.event("ps_1", 1)), ("accepted".to_owned(), ids[1].clone()));
    kafka.restart();
    spooling.await_drained();
    let counts = spooling.counts(&kafka);
    let there: Vec<Option<usize>> = ids.iter().map(|id| counts.get(id).copied()).collect();
    assert_eq!(there, [Some(1); 6]);
    let log = spooling.daemon.log();
    assert!(log.contains(&format!("record 0 is damaged: event {}", ids[1])), "{log}");
    assert!(log.contains("the footer is damaged or missing"), "{log}");
    assert_eq!(files(&spooling.path().join("dead")), [format!("{}.damaged", names[1])]);
    assert!((spooling.metric("paybridge_spool_records_damaged_total") - 1.0).abs() < 0.5);
    assert_eq!(spooling.post_well(&spooling.event("ps_1", 1)), ("duplicate".to_owned(), ids[1].clone()));
}
