//! The daemon killed with its spool engaged and while it empties it, on three nodes that are frozen again and again: nothing that was
//! answered 200 is lost.
//!
//! The long form, with 20 kills, takes some minutes:
//! ```text
//! PAYBRIDGE_KILLS=full cargo test --test suite -- ingress::spool::kills --nocapture
//! ```
//! It prints one line of what happened. `PAYBRIDGE_TEST_SEED` repeats the webhooks and the times between the kills.

use std::time::Instant;

use super::Spooling;
use crate::ingress::kills::{Form, Load};
use crate::support::daemon::Settings;
use crate::support::kafka::Kafka;
use crate::support::stream::{Random, printed_seed};

/// Webhooks that go to disk before and after a kill, on the average.
const BETWEEN: usize = 60;

#[test]
fn what_was_answered_200_is_there_however_often_the_daemon_is_killed_with_its_spool_engaged() {
    let (seed, form, begun) = (printed_seed(), Form { between: BETWEEN, ..Form::asked_for() }, Instant::now());
    let kafka = Kafka::shared_cluster();
    let settings = Settings { replicas: 3, ..Settings::default() };
    let mut spooling = Spooling::start_with(&kafka, settings, "", |_| Vec::new());
    let mut random = Random::of(seed ^ 1);
    let mut engaged: usize = 0;
    let account = Load::of(&spooling.daemon, seed).run(|stream| {
        for kill in 0..form.kills {
            kafka.freeze();
            form.await_next(stream, &mut random);
            if kill % 2 == 0 {
                engaged += usize::from(spooling.metric("paybridge_spool_engaged") > 0.0);
                spooling.kill_and_start();
                form.await_next(stream, &mut random);
                kafka.thaw();
            } else {
                kafka.thaw();
                // Somewhere on the way from the disk to Kafka.
                stream.await_more_taken(random.below(BETWEEN / 2));
                spooling.kill_and_start();
            }
            form.await_next(stream, &mut random);
        }
    });
    spooling.await_drained();
    let tally = account.acknowledged.tally(&kafka);
    println!(
        "seed {seed}: {} kills, at {engaged} of {} frozen times on disk, {} sent, {} of them without an answer, {tally}, {} s",
        form.kills,
        form.kills.div_ceil(2),
        account.sent,
        account.broken,
        begun.elapsed().as_secs()
    );
    tally.assert_nothing_is_lost();
    assert_eq!(engaged, form.kills.div_ceil(2), "while all nodes are frozen, webhooks are answered from disk alone");
}
