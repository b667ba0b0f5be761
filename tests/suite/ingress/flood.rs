//! Unsigned junk without end: few samples of it are kept, nobody is paged, and authentic webhooks are taken all the while.
//!
//! The long form lasts a minute:
//! ```text
//! PAYBRIDGE_FLOOD=full cargo test --test suite ingress::flood -- --nocapture
//! ```

use std::env;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use paybridge::provider::SignedWebhook;

use crate::support::alerts::assert_none_fires_but;
use crate::support::bridge::{Bridge, ready_to_confirm};
use crate::support::kafka::Kafka;
use crate::support::wire::{SMART_GLOCAL, told};

/// Asks for the long form.
const FORM_VARIABLE: &str = "PAYBRIDGE_FLOOD";
/// Clients that send junk, one request after the other.
const CLIENTS: usize = 8;
/// The first burst of samples of a source, and how many more it may keep a minute.
const BURST: usize = 20;
const SAMPLES_PER_MINUTE: usize = 10;

#[test]
fn a_flood_of_unsigned_junk_leaves_few_samples_pages_nobody_and_harms_no_authentic_webhook() {
    let lasts = match env::var(FORM_VARIABLE).as_deref() {
        Ok("full") => Duration::from_mins(1),
        Ok(other) => panic!("{FORM_VARIABLE} is {other}: set it to full, or not at all"),
        Err(_) => Duration::from_secs(2),
    };
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SMART_GLOCAL, &[]);
    // What cannot be told to other replicas before that is an alert of its own.
    bridge.await_following();
    let begun = Instant::now();
    let (is_over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let junk = |client: usize| {
        while !is_over.load(Ordering::SeqCst) {
            let body = format!("junk {client} {}", sent.fetch_add(1, Ordering::Relaxed)).into();
            let webhook = SignedWebhook { path_suffix: String::new(), query: String::new(), headers: Vec::new(), body };
            assert_eq!(told(&bridge.post("sg-main", &webhook)), (401, "unauthentic".to_owned()));
        }
    };
    let (mut taken, mut slowest) = (0, Duration::ZERO);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let junk = &junk;
            scope.spawn(move || junk(client));
        }
        while begun.elapsed() < lasts {
            let answered = bridge.post("sg-main", &ready_to_confirm(&bridge.config, taken));
            is_over.store(answered.status != 200, Ordering::SeqCst);
            assert_eq!(told(&answered), (200, "accepted".to_owned()));
            (taken, slowest) = (taken + 1, slowest.max(answered.elapsed));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let records = kafka.read_all(&bridge.topic("rejected.v1")).len();
    let minutes = usize::try_from(begun.elapsed().as_secs() / 60).unwrap();
    println!(
        "{} s: {} junk requests, {records} samples kept; {taken} authentic webhooks taken, the slowest after {slowest:?}",
        lasts.as_secs(),
        sent.into_inner(),
    );
    assert!(records <= BURST + SAMPLES_PER_MINUTE * (minutes + 1), "{records} samples in {minutes} minutes");
    let on_topic = kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1")).len();
    assert_eq!(u64::try_from(on_topic).unwrap(), taken);
    // The first is a warning, which pages nobody; the other is of the engine, which does not run here.
    let but = ["PaybridgeWebhooksUnverified", "PaybridgePartitionsUnassigned"];
    assert_none_fires_but(&bridge.admin("/metrics").text, &but);
}
