//! Exactly once under chaos: engines are killed, frozen and moved about, the provider misbehaves in every way, and still
//! every session ends once, as the provider has it.
//!
//! The engines are processes of the program. What happens comes from a printed seed; `PAYBRIDGE_TEST_SEED` repeats it, as
//! far as processes can be repeated. The suite runs a small form; the full one, with two processes and a third that comes
//! and goes, 2,000 sessions and more, four kills, two rebalances and two freezes, takes some minutes:
//!
//! ```text
//! PAYBRIDGE_CHAOS=full cargo test --test suite engine::chaos::every -- --nocapture
//! ```
//!
//! It prints one line of what happened. `engine::chaos::nodes` does the same to Kafka's nodes.

mod disasters;
mod members;
mod nodes;
mod provider;
mod traffic;
mod verdict;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::engine_setup::EngineSetup;
use crate::support::eventually::{LIMIT, eventually, pause, try_eventually};
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::stream::{Random, printed_seed};
use crate::support::turn::take_turn;
use disasters::Disaster;
use members::{Access, Loss, Members};
use provider::Finished;
use traffic::{Traffic, Written};
use verdict::Evidence;

/// Asks for the full form.
const FORM_VARIABLE: &str = "PAYBRIDGE_CHAOS";
/// How long everything may take to come to rest when nothing bad happens any more.
const REST_LIMIT: Duration = Duration::from_mins(4);

/// How often it is told what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How much happens.
struct Form {
    sessions: usize,
    /// Between two sessions at most.
    pace: Duration,
    /// Of the provider's faults, one in so many is met.
    mildness: u32,
    /// Between two disasters at most.
    calm: Duration,
    disasters: Vec<Disaster>,
}

impl Form {
    /// The long form if the environment asks for it; its disasters in an order that is new each time.
    fn asked_for(long: Self, short: Self, random: &mut Random) -> Self {
        let mut form = match env::var(FORM_VARIABLE).as_deref() {
            Ok("full") => long,
            Ok(other) => panic!("{FORM_VARIABLE}={other}: `full`, or nothing"),
            Err(_) => short,
        };
        for place in (1..form.disasters.len()).rev() {
            form.disasters.swap(place, random.below(place + 1));
        }
        form
    }
}

#[test]
fn every_session_ends_once_as_the_provider_has_it_whatever_happens() {
    use Disaster::{Freeze, Guest, Kill, Restart};
    let long = Form {
        sessions: 2_000,
        pace: Duration::from_millis(90),
        mildness: 1,
        calm: Duration::from_secs(16),
        disasters: vec![Kill, Kill, Kill, Kill, Freeze, Freeze, Guest, Restart],
    };
    let short = Form {
        sessions: 150,
        pace: Duration::from_millis(120),
        mildness: 3,
        calm: Duration::from_secs(2),
        disasters: vec![Kill, Freeze, Guest],
    };
    let _turn = take_turn();
    let kafka = Kafka::shared();
    let access = Access { bootstrap: kafka.bootstrap().to_owned(), tables: String::new() };
    survives(long, short, kafka, &access);
}

/// Lets happen what the form wants to two engines and their Kafka, and holds every session's end against the provider's record.
fn survives(long: Form, short: Form, kafka: &'static Kafka, access: &Access) {
    let (seed, began) = (printed_seed(), Instant::now());
    let mut random = Random::of(seed);
    let form = Form::asked_for(long, short, &mut random);
    let (hook, applied) = provider::hook();
    let text = confirmation(&unique_prefix());
    let setup = EngineSetup::with(kafka, &text, provider::settings(seed, form.mildness, hook));
    let mut members = Members::start(&setup, access, &text, 2);
    let traffic = Traffic::new(&setup, Random::of(seed ^ 1));
    let (writing, running) = (AtomicBool::new(true), AtomicBool::new(true));
    let mut story = String::new();
    let (written, rest) = thread::scope(|scope| {
        // Whatever fails, the others end, or the scope would wait for them for ever.
        let _ends = Ends([&writing, &running]);
        let writer = scope.spawn(|| traffic.write(&form, &writing));
        let finished = Finished::new(&setup, applied, Random::of(seed ^ 2));
        scope.spawn(|| finished.tell(&running));
        for disaster in &form.disasters {
            pause(some_of(form.calm, &mut random));
            let told = disaster.strike(&mut members, &mut random);
            let _ = write!(story, "{told}; ");
            println!("{:>4} s: {told}", began.elapsed().as_secs());
        }
        writing.store(false, Ordering::SeqCst);
        let written = writer.join().unwrap();
        println!("{:>4} s: {} sessions written", began.elapsed().as_secs(), written.scripts.len());
        members.await_all_assigned();
        let rest = await_rest(&setup, &members, &written, began);
        (written, rest)
    });
    let evidence = Evidence::gather(&setup, &written);
    let complaints: Vec<String> = evidence.complaints().into_iter().chain(rest.err()).collect();
    if !complaints.is_empty() {
        println!("{}", members.logs());
        panic!("PAYBRIDGE_TEST_SEED={seed} ({story}):\n{}", complaints.join("\n"));
    }
    println!(
        "seed {seed}: {} sessions, {}, {}, {} s",
        written.scripts.len(),
        happened(&form, &story),
        evidence.summary(&setup),
        began.elapsed().as_secs(),
    );
    members.stop();
}

/// Waits until nothing is left to do, and says now and then what is.
fn await_rest(setup: &EngineSetup, members: &Members, written: &Written, began: Instant) -> Result<(), String> {
    let mut told = Instant::now();
    try_eventually(REST_LIMIT, || {
        let evidence = Evidence::gather(setup, written);
        evidence.nudge(setup);
        let rest = evidence.is_complete().and_then(|()| members.are_at_rest());
        if let (Err(complaint), true) = (&rest, told.elapsed() > TELL_EVERY) {
            println!("{:>4} s: {complaint}", began.elapsed().as_secs());
            told = Instant::now();
        }
        rest
    })
}

/// The disasters by their kinds, and how those that were frozen found their loss.
fn happened(form: &Form, story: &str) -> String {
    let mut counts: BTreeMap<Disaster, usize> = BTreeMap::new();
    for disaster in &form.disasters {
        *counts.entry(*disaster).or_default() += 1;
    }
    let found =
        |losses: &[Loss]| losses.iter().map(|loss| story.matches(&format!(": {loss:?};")).count()).sum::<usize>();
    format!(
        "{counts:?}, of those frozen {} fenced by Kafka and {} told by the group",
        found(&[Loss::Refused, Loss::Ended]),
        found(&[Loss::Failed, Loss::Told]),
    )
}

/// The engine's keys: times that let a provider's faults and a frozen engine be over before anything leans on it.
fn confirmation(group: &str) -> String {
    format!(
        r#"
group_id = "{group}"
call_timeout_ms = 1000
calls_in_flight_max = 16
key_reuse_wait_s = 15
unknown_session_ttl_s = 15
[[confirmation.rules]]
name = "large"
when = 'session.operations.exists(o, o.amount.minor_units > 1000000)'
then = "cancel"
[[confirmation.rules]]
name = "small"
when = 'session.operations.all(o, o.kind == "payout" && o.amount.currency == "USD" && o.amount.minor_units >= 100 && o.amount.minor_units <= 50000)'
then = "confirm"
"#
    )
}

/// A time up to `most`, to the millisecond.
fn some_of(most: Duration, random: &mut Random) -> Duration {
    let most = usize::try_from(most.as_millis()).unwrap();
    Duration::from_millis(u64::try_from(random.below(most)).unwrap())
}

struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(false, Ordering::SeqCst));
    }
}
