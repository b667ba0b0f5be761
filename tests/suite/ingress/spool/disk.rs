//! The disk fails: each system call in turn, or each of a kind for a while. Whatever was promised is delivered, and nothing is
//! promised that the disk does not have.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use paybridge::config::Config;
use paybridge::kafka::record::Record;
use paybridge::spool::batch::{self, SpooledRecord};
use paybridge::spool::folder::Folder;

use super::{LIMIT, Spooling};
use crate::support::bridge::{count_by_id, create_needed_topics};
use crate::support::daemon::{Settings, configuration, program};
use crate::support::eventually::eventually;
use crate::support::failing_disk::{DiskError, DiskSwitch, fail_at, has_failed};
use crate::support::kafka::{Kafka, User, unique_prefix};

/// Tells the child what to do: store batches in this folder.
const CHILD_VARIABLE: &str = "PAYBRIDGE_SPOOL_TEST_FOLDER";
/// Batches that a child stores, and records of each.
const BATCHES: u64 = 3;
const RECORDS: u64 = 4;
/// Far more calls than a run makes.
const CALLS_MAX: usize = 300;
/// Runs at once: they mostly wait for Kafka.
const AT_ONCE: usize = 6;

fn records(topic: &str, run: &str, number: u64) -> Vec<SpooledRecord> {
    let record = |place| {
        let headers = vec![("ce_id".into(), Bytes::from(format!("{run}-{number}-{place}")))];
        Record { topic: topic.into(), key: format!("key {place}"), value: vec![7; 300], headers }
    };
    (0..RECORDS).map(|place| SpooledRecord { record: record(place), event_id: None }).collect()
}

fn store_all(folder: &Folder, topic: &str, run: &str) {
    for number in 1..=BATCHES {
        folder.store(number, &batch::encode(number, &records(topic, run, number))).unwrap();
    }
}

/// The rest of the first batch, when its other records are delivered.
fn rest() -> Vec<SpooledRecord> {
    records("t", "child", 1).split_off(2)
}

/// The child: stores batches, and says of each what it promises; and puts a rest in the place of the first.
fn store_and_tell(root: &Path) {
    let folder = match Folder::open(root) {
        Ok(folder) => folder,
        Err(error) => return println!("not opened: {error}"),
    };
    for number in 1..=BATCHES {
        match folder.store(number, &batch::encode(number, &records("t", "child", number))) {
            Ok(()) => println!("stored {number}"),
            Err(error) => println!("not stored {number}: {error}"),
        }
    }
    if folder.stored().is_ok_and(|stored| stored.iter().any(|file| file.number == Some(1))) {
        match folder.replace(1, &batch::encode(1, &rest())) {
            Ok(()) => println!("replaced"),
            Err(error) => println!("not replaced: {error}"),
        }
    }
}

#[test]
fn what_is_stored_is_whole_whichever_call_fails() {
    if let Some(root) = env::var_os(CHILD_VARIABLE) {
        return store_and_tell(Path::new(&root));
    }
    let name = thread::current().name().unwrap().to_owned();
    for error in DiskError::ALL {
        let mut refusals = 0;
        let calls = (1..CALLS_MAX).find(|at| {
            let place = tempfile::tempdir().unwrap();
            let root = place.path().join("spool");
            let mut child = Command::new(env::current_exe().unwrap());
            child.args([&name, "--exact", "--nocapture"]).env(CHILD_VARIABLE, &root);
            let output = child.envs(fail_at(&root, error, *at)).output().unwrap();
            let (told, errors) = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).into();
            assert!(output.status.success(), "{error:?} {at}: {told}{errors}");
            refusals += usize::from(told.contains("not stored") || told.contains("not opened"));
            check_promises(&root, &told, &format!("{error:?} at call {at}: {told}{errors}"));
            !has_failed(&errors)
        });
        let calls = calls.expect("the calls come to an end");
        println!("{error:?}: each of {} calls failed once, {refusals} runs refused something", calls - 1);
        // Open, lock, folders; and of each batch, and of the rest: create, write, sync, rename, sync.
        assert!(calls > 25 && (refusals > 20 || error == DiskError::Short), "{calls} {refusals}");
    }
}

/// What was promised is there and whole, and so is whatever else is there.
fn check_promises(root: &Path, told: &str, why: &str) {
    let Ok(folder) = Folder::open(root) else {
        assert!(!told.lines().any(|line| line.starts_with("stored")), "{why}");
        return;
    };
    let there: BTreeMap<u64, usize> = folder
        .stored()
        .unwrap()
        .into_iter()
        .map(|file| {
            let decoded = batch::decode(&folder.read(file.number.unwrap()).unwrap());
            assert!(decoded.damage.is_empty(), "{why}: {:?}", decoded.damage);
            (file.number.unwrap(), decoded.records.len())
        })
        .collect();
    for number in 1..=BATCHES {
        let is_promised = told.lines().any(|line| line == format!("stored {number}"));
        let is_replaced = number == 1 && told.lines().any(|line| line == "replaced");
        let records = if is_replaced { rest().len() } else { usize::try_from(RECORDS).unwrap() };
        assert!(!is_promised || there.get(&number) == Some(&records), "{why}: {number} of {there:?}");
    }
}

/// A run in which a call fails may leave records, and says so; the next one delivers them.
#[test]
fn every_record_is_delivered_whichever_call_fails_while_the_spool_is_emptied() {
    let kafka = Kafka::shared();
    let topic = format!("{}.drained.v1", unique_prefix());
    kafka.create_topics(&[(&topic, 3, &[])]);
    let text = configuration(kafka.bootstrap(), Settings::default());
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("paybridge.toml");
    std::fs::write(&config, text).unwrap();
    let drain = |root: &Path, variables| {
        let mut command = program();
        command.args(["spool", "drain", "--config"]).arg(&config).arg("--directory").arg(root);
        let output = command.envs::<_, _, _>(variables).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for error in [DiskError::Eio, DiskError::Short] {
        let (next, calls) = (AtomicUsize::new(1), AtomicUsize::new(CALLS_MAX));
        let run = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= calls.load(Ordering::Relaxed) {
                    return;
                }
                let place = tempfile::tempdir().unwrap();
                let root = place.path().join("spool");
                store_all(&Folder::open(&root).unwrap(), &topic, &format!("{error:?}-{at}"));
                let (code, errors) = drain(&root, fail_at(&root, error, at));
                if !has_failed(&errors) {
                    calls.fetch_min(at, Ordering::Relaxed);
                }
                let left = Folder::open(&root).unwrap().stored().unwrap();
                assert!(code != 0 || left.is_empty(), "{error:?} at call {at}: {code} {left:?} {errors}");
                let (code, errors) = drain(&root, Vec::new());
                assert_eq!(code, 0, "{error:?} at call {at}: {errors}");
                assert_eq!(Folder::open(&root).unwrap().stored().unwrap(), []);
            }
        };
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(run);
            }
        });
        let calls = calls.into_inner();
        println!("{error:?}: each of {} calls failed once", calls - 1);
        assert!(calls < CALLS_MAX && calls > 30, "{calls}");
        let counts = count_by_id(&kafka.read_all(&topic));
        for at in 1..=calls {
            for record in (1..=BATCHES).flat_map(|number| records(&topic, &format!("{error:?}-{at}"), number)) {
                let (_, id) = &record.record.headers[0];
                let id = std::str::from_utf8(id).unwrap();
                assert!(counts.contains_key(id), "{id} is not on the topic");
            }
        }
    }
}

#[test]
fn while_the_disk_fails_webhooks_are_answered_503_and_nothing_promised_is_lost() {
    let kafka = Kafka::start(&[]);
    let switch = DiskSwitch::new();
    let spooling = Spooling::start_with(&kafka, Settings::default(), "", |folder| switch.variables(folder));
    kafka.freeze();
    let mut promised = vec![spooling.post_well(&spooling.event("ps_1", 0)).1];
    for (number, call) in (1..).zip(["fsync", "write", "open", "rename"]) {
        switch.fail(call);
        let refused = spooling.post(&spooling.event("ps_1", number));
        assert_eq!((refused.status.as_u16(), refused.json("status")), (503, "unavailable".to_owned()), "{call}");
        let again = spooling.post(&spooling.event("ps_1", number));
        assert_eq!(again.status, 503, "{call}: it is not tried again at once");
        switch.mend();
        // A probe file goes first.
        let (status, id) = eventually(LIMIT, || match spooling.post(&spooling.event("ps_1", number)) {
            answered if answered.status == 200 => Ok((answered.json("status"), answered.json("event_id"))),
            answered => Err(format!("{answered:?}")),
        });
        assert_eq!(status, "accepted", "{call}");
        promised.push(id);
    }
    let log = spooling.daemon.log();
    assert!(log.contains("the spool's disk failed") && log.contains("the spool's disk takes files again"), "{log}");
    kafka.thaw();
    spooling.await_drained();
    let counts = spooling.counts(&kafka);
    assert!(promised.iter().all(|id| counts.contains_key(id)), "{promised:?} {counts:?}");
}

/// What is on it cannot be read, and may never be: Kafka takes what comes.
#[test]
fn a_disk_that_takes_neither_reads_nor_writes_holds_up_nothing_once_kafka_works() {
    let kafka = Kafka::start(&[]);
    let switch = DiskSwitch::new();
    let spooling = Spooling::start_with(&kafka, Settings::default(), "", |folder| switch.variables(folder));
    kafka.freeze();
    let (_, on_disk) = spooling.post_well(&spooling.event("ps_1", 0));
    switch.fail("open");
    assert_eq!(spooling.post(&spooling.event("ps_1", 1)).status, 503);
    await_read_failure(&spooling);
    kafka.thaw();
    let later = eventually(LIMIT, || match spooling.post(&spooling.event("ps_1", 2)) {
        answered if answered.status == 200 => Ok(answered.json("event_id")),
        answered => Err(format!("{answered:?}")),
    });
    let again = spooling.post_well(&spooling.event("ps_1", 0));
    assert_eq!(again, ("accepted".to_owned(), on_disk.clone()), "nobody can tell whether it is on disk");
    let counts = spooling.counts(&kafka);
    assert!(counts.contains_key(&later) && counts.contains_key(&on_disk), "{counts:?}");
    switch.mend();
    spooling.await_drained();
    assert_eq!(spooling.counts(&kafka).get(&on_disk), Some(&2), "with the same id");
}

/// The right to write to its topic was withdrawn when the record was tried; then it is given back, and the record cannot be read.
#[test]
fn a_file_that_cannot_be_read_keeps_no_topic_refused() {
    let kafka = Kafka::start(&[]);
    let switch = DiskSwitch::new();
    let text = configuration(kafka.bootstrap(), Settings::default());
    let config = Config::from_toml(&text, []).unwrap();
    create_needed_topics(&kafka, &config);
    let prefix = config.kafka.topic_prefix.as_ref();
    let all = ["--operation", "All", "--resource-pattern-type", "prefixed", "--topic", prefix];
    kafka.allow(User::Limited, &[&all]);
    let text = kafka.logged_in(&text, User::Limited);
    let spooling = Spooling::start_on_topics(&text, "", |folder| switch.variables(folder));
    let topic = spooling.other_topic();
    let write = ["--operation", "Write", "--topic", &topic];
    kafka.forbid(User::Limited, &write);
    kafka.freeze();
    spooling.post_well(&spooling.event("ps_1", 0));
    let mut taken = vec![spooling.post_well(&spooling.other_event(0)).1];
    let mut number = 0;
    // Each time another one: one that is on disk is a duplicate.
    let mut post = || {
        number += 1;
        let answered = spooling.post(&spooling.other_event(number));
        taken.extend((answered.status == 200).then(|| answered.json("event_id")));
        answered
    };
    kafka.thaw();
    eventually(LIMIT, || {
        let is_direct = spooling.metric("paybridge_spool_engaged") < 0.5;
        let answered = post();
        (is_direct && answered.status == 503).then_some(()).ok_or_else(|| format!("{answered:?}"))
    });
    switch.fail("read");
    await_read_failure(&spooling);
    kafka.forbid_no_more(User::Limited, &write);
    eventually(LIMIT, || match post() {
        answered if answered.status == 200 => Ok(()),
        answered => Err(format!("{answered:?}")),
    });
    switch.mend();
    spooling.await_drained();
    let counts = count_by_id(&kafka.read_all(&topic));
    assert!(taken.iter().all(|id| counts.contains_key(id)), "{taken:?} {counts:?}");
}

#[track_caller]
fn await_read_failure(spooling: &Spooling) {
    eventually(LIMIT, || match spooling.metric("paybridge_spool_file_read_failures_total") {
        failures if failures > 0.0 => Ok(()),
        _ => Err("no read of a file has failed".to_owned()),
    });
}
