//! The daemon killed under load, on three nodes that each have every record: nothing that was answered 200 is lost, and little
//! stands twice. Each webhook is sent as a provider does it, again and again until it is answered 200.
//!
//! The long form, with 20 kills, takes some minutes:
//! ```text
//! PAYBRIDGE_KILLS=full cargo test --test suite ingress::kills -- --nocapture
//! ```
//! It prints one line of what happened. `PAYBRIDGE_TEST_SEED` repeats the webhooks and the times between the kills.

use std::collections::BTreeMap;
use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::bridge::create_needed_topics;
use crate::support::daemon::{Client, Daemon, Exchange, Settings, configuration};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;
use crate::support::stream::{self, Event, Events, Random, Stream, check_answer, printed_seed};
use crate::support::tally::Acknowledged;

/// Asks for the long form.
const FORM_VARIABLE: &str = "PAYBRIDGE_KILLS";
/// Webhooks at once.
const AT_ONCE: usize = 4;

/// How much happens.
pub struct Form {
    /// How often the daemon is killed.
    pub kills: usize,
    /// Webhooks that are answered 200 between two kills, on the average.
    pub between: usize,
    /// Of a thousand events so many may stand twice.
    pub twice_per_mille_max: usize,
}

/// A daemon under a load that does not end before the test has done with it.
pub struct Load {
    events: Events,
    random: Random,
    client: Client,
    ack_timeout: Duration,
    sent: AtomicUsize,
    broken: AtomicUsize,
    slowest: Mutex<Duration>,
    refused: Mutex<BTreeMap<String, usize>>,
}

/// What came of the load.
pub struct Account {
    /// The webhooks that were answered 200: all.
    pub acknowledged: Acknowledged,
    /// How often one was sent.
    pub sent: usize,
    /// How often one had no answer, because the process or its connection was gone.
    pub broken: usize,
    /// How long the slowest answer took.
    pub slowest: Duration,
    /// How often one was answered 503, by the topics of their events.
    pub refused: BTreeMap<String, usize>,
}

#[test]
fn what_was_answered_200_is_there_however_often_the_daemon_is_killed() {
    let (seed, form, begun) = (printed_seed(), Form::asked_for(), Instant::now());
    let kafka = Kafka::shared_cluster();
    let text = configuration(kafka.bootstrap(), Settings::on_three_nodes());
    let mut daemon = Daemon::run(&text);
    create_needed_topics(&kafka, &daemon.config);
    daemon.await_ready();
    let mut random = Random::of(seed ^ 1);
    let account = Load::of(&daemon, seed).run(|stream| {
        for _ in 0..form.kills {
            form.await_next(stream, &mut random);
            kill(&mut daemon);
        }
        form.await_next(stream, &mut random);
    });
    let tally = account.acknowledged.tally(&kafka);
    println!(
        "seed {seed}: {} kills, {} sent, {} of them without an answer, {tally}, {} s",
        form.kills,
        account.sent,
        account.broken,
        begun.elapsed().as_secs()
    );
    tally.assert_nothing_is_lost();
    tally.assert_twice_at_most(form.twice_per_mille_max);
}

/// Kills the daemon, and starts it again until it is ready.
pub fn kill(daemon: &mut Daemon) {
    daemon.signal("KILL");
    assert_eq!(daemon.await_end(), None);
    daemon.start_again();
}

impl Form {
    /// The long form if the environment asks for it.
    pub fn asked_for() -> Self {
        match env::var(FORM_VARIABLE).as_deref() {
            // What stands twice is what was on its way when the daemon was killed: at most AT_ONCE each time.
            Ok("full") => Self { kills: 20, between: 4_000, twice_per_mille_max: 1 },
            Ok(other) => panic!("{FORM_VARIABLE} is {other}: set it to full, or not at all"),
            // So few events between two kills that what each of those costs weighs more.
            Err(_) => Self { kills: 2, between: 250, twice_per_mille_max: 40 },
        }
    }

    /// Waits until it is time for the next kill: half as many webhooks later, or up to one and a half times as many.
    #[track_caller]
    pub fn await_next(&self, stream: &Stream, random: &mut Random) {
        stream.await_more_taken(self.between / 2 + random.below(self.between));
    }
}

impl Load {
    /// Of webhooks of all types for this daemon and its successors.
    pub fn of(daemon: &Daemon, seed: u64) -> Self {
        Self {
            events: Events::new(&daemon.config),
            random: Random::of(seed),
            client: daemon.client(),
            ack_timeout: daemon.config.ingress.ack_timeout(),
            sent: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            slowest: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Sends until `disturb` is over; then each client waits until its last webhook is answered 200.
    pub fn run(self, disturb: impl FnOnce(&Stream)) -> Account {
        let Self { mut events, mut random, client, ack_timeout, sent, broken, slowest, refused } = self;
        let is_over = AtomicBool::new(false);
        let next = std::iter::from_fn(|| (!is_over.load(Ordering::SeqCst)).then(|| events.next(&mut random)));
        let attempt = |event: &Event| {
            sent.fetch_add(1, Ordering::Relaxed);
            match client.post(&event.source, &event.webhook) {
                Exchange::Answered(answered) => {
                    check_answer(&answered, ack_timeout);
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = answered.elapsed.max(*slowest);
                    if answered.status == 200 {
                        return Ok(answered);
                    }
                    *refused.lock().unwrap().entry(event.topic.clone()).or_default() += 1;
                    Err(format!("{answered:?}"))
                }
                gone @ (Exchange::Refused | Exchange::Broken(_)) => {
                    broken.fetch_add(1, Ordering::Relaxed);
                    Err(format!("{gone:?}"))
                }
            }
        };
        let until_taken = |event: &Event| Some(eventually(LIMIT, || attempt(event)));
        let account = stream::run(next, AT_ONCE, until_taken, |stream| {
            let _over = Over(&is_over);
            disturb(stream);
        });
        let answered = account.iter().filter_map(|(event, answered)| Some((event, answered.as_ref()?)));
        Account {
            acknowledged: Acknowledged::of(answered),
            sent: sent.into_inner(),
            broken: broken.into_inner(),
            slowest: slowest.into_inner().unwrap(),
            refused: refused.into_inner().unwrap(),
        }
    }
}

/// Ends what runs beside a test, that of a failed test too.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
