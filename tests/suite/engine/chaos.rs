//! Exactly once under chaos: engines are killed, frozen and moved about, the provider misbehaves in every way, and still
//! every session ends once, as the provider has it.
//!
//! The engines are processes of the program. What happens comes from a printed seed; `PAYBRIDGE_TEST_SEED` repeats it, as
//! far as processes can be repeated. The suite runs a small form; the full one, with two processes and a third that comes
//! and goes, 2,000 sessions and more, four kills, two rebalances and two freezes, takes some minutes:
//!
//! ```text
//! PAYBRIDGE_CHAOS=full cargo test --test suite engine::chaos -- --nocapture
//! ```
//!
//! It prints one line of what happened.

mod disasters;
mod members;
mod provider;
mod traffic;
mod verdict;

use std::env;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::engine_setup::EngineSetup;
use crate::support::eventually::{eventually, try_eventually};
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::stream::{Random, printed_seed};
use disasters::Disaster;
use members::{Loss, Members};
use provider::Finished;
use traffic::Traffic;
use verdict::Evidence;

/// Asks for the full form.
const FORM_VARIABLE: &str = "PAYBRIDGE_CHAOS";
/// How long everything may take to come to rest when nothing bad happens any more.
const REST_LIMIT: Duration = Duration::from_mins(4);
/// How long all may take that makes a group work: joining, another's session timeout, a dead owner's transaction.
const MOVE_LIMIT: Duration = Duration::from_secs(90);

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
    fn asked_for(random: &mut Random) -> Self {
        use Disaster::{Freeze, Guest, Kill, Restart};
        let (sessions, pace, mildness, calm, mut disasters) = match env::var(FORM_VARIABLE).as_deref() {
            Ok("full") => (2_000, 90, 1, 16, vec![Kill, Kill, Kill, Kill, Freeze, Freeze, Guest, Restart]),
            Ok(other) => panic!("{FORM_VARIABLE}={other}: `full`, or nothing"),
            Err(_) => (150, 120, 3, 2, vec![Kill, Freeze, Guest]),
        };
        for place in (1..disasters.len()).rev() {
            disasters.swap(place, random.below(place + 1));
        }
        let (pace, calm) = (Duration::from_millis(pace), Duration::from_secs(calm));
        Self { sessions, pace, mildness, calm, disasters }
    }
}

#[test]
fn every_session_ends_once_as_the_provider_has_it_whatever_happens() {
    let (seed, began) = (printed_seed(), Instant::now());
    let mut random = Random::of(seed);
    let form = Form::asked_for(&mut random);
    let (hook, applied) = provider::hook();
    let text = confirmation(&unique_prefix());
    let setup = EngineSetup::with(Kafka::shared(), &text, provider::settings(seed, form.mildness, hook));
    let mut members = Members::start(&setup, &text, 2);
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
        let mut told = Instant::now();
        let rest = try_eventually(REST_LIMIT, || {
            let evidence = Evidence::gather(&setup, &written);
            evidence.nudge(&setup);
            let rest = evidence.is_complete().and_then(|()| members.are_at_rest());
            if let (Err(complaint), true) = (&rest, told.elapsed() > TELL_EVERY) {
                println!("{:>4} s: {complaint}", began.elapsed().as_secs());
                told = Instant::now();
            }
            rest
        });
        (written, rest)
    });
    let evidence = Evidence::gather(&setup, &written);
    let complaints: Vec<String> = evidence.complaints().into_iter().chain(rest.err()).collect();
    if !complaints.is_empty() {
        println!("{}", members.logs());
        panic!("PAYBRIDGE_TEST_SEED={seed} ({story}):\n{}", complaints.join("\n"));
    }
    let Form { disasters, .. } = &form;
    let count = |kind: Disaster| disasters.iter().filter(|disaster| **disaster == kind).count();
    let found =
        |losses: &[Loss]| losses.iter().map(|loss| story.matches(&format!(": {loss:?};")).count()).sum::<usize>();
    println!(
        "seed {seed}: {} sessions, {} kills, {} rebalances, {} stops, {} of them fenced by Kafka and {} told by the group, {}, {} s",
        written.scripts.len(),
        count(Disaster::Kill),
        count(Disaster::Guest) * 2 + count(Disaster::Restart) * 2,
        count(Disaster::Freeze),
        found(&[Loss::Refused, Loss::Ended]),
        found(&[Loss::Failed, Loss::Told]),
        evidence.summary(&setup),
        began.elapsed().as_secs(),
    );
    members.stop();
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

/// Lets time pass in which something may happen.
fn pause(time: Duration) {
    let _over = try_eventually(time, || Err::<(), _>(String::new()));
}

struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(false, Ordering::SeqCst));
    }
}
