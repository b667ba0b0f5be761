//! Two operators at once, and a release that is killed in the middle and run again: nothing is missing, and nothing else is
//! there.
//!
//! The suite runs a short form. The long one has 100,000 records, and prints how long it took and what memory it needed:
//!
//! ```text
//! PAYBRIDGE_RELEASE=full cargo test --test suite -- cli::quarantine::interrupted --nocapture
//! ```

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use paybridge::message::event::v1::QuarantineReason;

use super::fixture::{Held, HeldFixture, NO_ID, Printed, finished};
use super::verdicts;
use crate::support::bridge::count_by_id;
use crate::support::eventually::eventually;

/// Asks for the long form.
const FORM_VARIABLE: &str = "PAYBRIDGE_RELEASE";
/// How long a release may take.
const LIMIT: Duration = Duration::from_mins(10);

fn records() -> u64 {
    match env::var(FORM_VARIABLE).as_deref() {
        Ok("full") => 100_000,
        Ok(other) => panic!("{FORM_VARIABLE}={other}: `full`, or nothing"),
        Err(_) => 3_000,
    }
}

const RELEASE: [&str; 4] = ["release", "--yes", "--format", "json"];

/// Signals a process that the test started.
fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name}: {status}");
}

/// The most memory that a running process had in RAM, in KiB.
fn memory_kib(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Waits until the release has marked some of its events.
fn await_some(fixture: &HeldFixture) {
    eventually(LIMIT, || match fixture.markers().len() {
        0 => Err("nothing is released".to_owned()),
        _ => Ok(()),
    });
}

/// Runs a command to its end and looks at its memory meanwhile.
fn watched(child: Child) -> (Printed, u64) {
    let mut child = child;
    let mut most = 0;
    eventually(LIMIT, || {
        most = most.max(memory_kib(&child).unwrap_or(0));
        if child.try_wait().unwrap().is_some() { Ok(()) } else { Err("it runs".to_owned()) }
    });
    (finished(child), most)
}

#[test]
fn a_release_that_is_killed_stopped_and_run_by_two_at_once_leaves_each_event_on_its_topic() {
    let fixture = HeldFixture::new();
    let (count, began) = (records(), Instant::now());
    let webhooks = fixture.received(count);
    let wrong = || Held::Quarantined(QuarantineReason::WrongShape);
    fixture.hold("other", webhooks.iter().map(|webhook| (webhook, wrong(), NO_ID)));
    println!("{count} records are held after {:.1?}", began.elapsed());

    // Slow enough that there is a middle.
    let rate = (count / 6).to_string();
    let mut killed = fixture.command(&[&RELEASE[..], &["--rate", &rate]].concat()).spawn().unwrap();
    await_some(&fixture);
    killed.kill().unwrap();
    killed.wait().unwrap();

    let stopped = fixture.command(&[&RELEASE[..], &["--rate", &rate]].concat()).spawn().unwrap();
    let marked = fixture.markers().len();
    eventually(LIMIT, || match fixture.markers().len() {
        more if more > marked => Ok(()),
        more => Err(format!("{more} are marked")),
    });
    signal(&stopped, "INT");
    let stopped = finished(stopped);
    let done = verdicts(&stopped.output);
    assert!(stopped.code == 1 && stopped.output.contains("\"complete\":false"), "{stopped:?}");
    assert!(done["released"] > 0 && done["released"] < count, "{done:?}");

    let began = Instant::now();
    let operators = [0, 1].map(|_| fixture.command(&RELEASE).spawn().unwrap());
    let ended = operators.map(|child| std::thread::spawn(|| watched(child)));
    for ended in ended {
        let (printed, memory) = ended.join().unwrap();
        let done = verdicts(&printed.output);
        assert_eq!((printed.code, done.values().sum::<u64>()), (0, count), "{printed:?}");
        println!("{done:?} in {:.1?}, {} MiB of memory at most", began.elapsed(), memory / 1024);
    }

    let events = fixture.kafka.read_all(&fixture.topic("standard-webhooks.received"));
    let ids = count_by_id(&events);
    let marked: BTreeSet<String> = fixture.markers().into_iter().map(|marker| marker.event_id).collect();
    assert_eq!(u64::try_from(ids.len()).unwrap(), count, "each event is there");
    assert_eq!(marked, ids.keys().cloned().collect(), "each event is marked, and nothing else");
    let last = fixture.run(&RELEASE);
    assert_eq!(verdicts(&last.output), super::counts(&[("released_before", count)]), "{last:?}");
    println!("{} records of {count} events", events.len());
}
