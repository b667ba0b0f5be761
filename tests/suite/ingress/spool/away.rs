//! Kafka is away for a while, and the daemon is killed in that time.
//!
//! The long form, in which Kafka is away for ten minutes:
//! ```text
//! PAYBRIDGE_SPOOL=full cargo test --test suite -- ingress::spool::away --nocapture
//! ```

use std::collections::BTreeMap;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Spooling, TOPIC};
use crate::support::bridge::decoded;
use crate::support::kafka::Kafka;

/// Sessions whose events come one after the other, each sent by a thread of its own.
const SESSIONS: usize = 4;

/// For how long Kafka is away before and after the daemon is killed.
fn away_for() -> Duration {
    match env::var("PAYBRIDGE_SPOOL").as_deref() {
        Ok("full") => Duration::from_mins(5),
        Ok(other) => panic!("PAYBRIDGE_SPOOL={other}: `full`, or nothing"),
        Err(_) => Duration::from_secs(4),
    }
}

/// For how long it is frozen afterwards.
fn frozen_for() -> Duration {
    away_for().min(Duration::from_mins(1))
}

/// The events of each session that were answered, in order.
#[derive(Default)]
struct Account {
    ids: BTreeMap<String, Vec<String>>,
    slowest: Duration,
}

impl Account {
    /// Each session sends its next events, as fast as they are answered, for so long.
    fn send_for(&mut self, spooling: &Spooling, time: Duration) {
        let end = Instant::now() + time;
        let sent: Vec<(String, Vec<String>, Duration)> = thread::scope(|scope| {
            let senders: Vec<_> = (0..SESSIONS)
                .map(|session| {
                    let session = format!("ps_{session}");
                    let first = self.ids.get(&session).map_or(0, Vec::len);
                    scope.spawn(move || {
                        let (mut ids, mut slowest) = (Vec::new(), Duration::ZERO);
                        while Instant::now() < end {
                            let answered = spooling.post(&spooling.event(&session, first + ids.len()));
                            assert_eq!(answered.status, 200, "{answered:?}\n{}", spooling.daemon.log());
                            assert_eq!(answered.json("status"), "accepted", "{answered:?}");
                            slowest = slowest.max(answered.elapsed);
                            ids.push(answered.json("event_id"));
                        }
                        (session, ids, slowest)
                    })
                })
                .collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        for (session, ids, slowest) in sent {
            self.ids.entry(session).or_default().extend(ids);
            self.slowest = self.slowest.max(slowest);
        }
    }

    fn count(&self) -> usize {
        self.ids.values().map(Vec::len).sum()
    }
}

#[test]
fn every_webhook_is_answered_200_and_reaches_its_topic_in_order() {
    let kafka = Kafka::start(&[]);
    let mut spooling = Spooling::start(&kafka, "");
    let mut account = Account::default();
    account.send_for(&spooling, Duration::from_secs(2));
    let before = account.count();
    kafka.kill_9();
    account.send_for(&spooling, away_for());
    assert!(spooling.metric("paybridge_spool_engaged") > 0.0, "{}", spooling.daemon.log());
    let last = |account: &Account| account.ids["ps_0"].len() - 1;
    let known = spooling.post_well(&spooling.event("ps_0", last(&account)));
    assert_eq!(known, ("duplicate".to_owned(), account.ids["ps_0"].last().unwrap().clone()));

    spooling.kill_and_start();
    let known = spooling.post_well(&spooling.event("ps_0", last(&account)));
    assert_eq!(known.0, "duplicate", "what is on disk is known after a restart");
    account.send_for(&spooling, away_for());
    let away = account.count() - before;
    let returned = Timestamp::now();
    kafka.restart();
    account.send_for(&spooling, Duration::from_secs(2));
    spooling.await_drained();
    account.send_for(&spooling, Duration::from_secs(1));
    // A frozen node keeps its connections, and answers nothing.
    kafka.freeze();
    account.send_for(&spooling, frozen_for());
    kafka.thaw();
    spooling.await_drained();

    let records = kafka.read_all(&spooling.topic());
    let mut twice = 0;
    for (session, ids) in &account.ids {
        let there: Vec<&str> = records
            .iter()
            .filter(|record| record.key.as_deref() == Some(session.as_bytes()))
            .map(|record| record.header("ce_id").unwrap())
            .collect();
        let mut first_times: Vec<&str> = Vec::new();
        for id in &there {
            if first_times.contains(id) { twice += 1 } else { first_times.push(id) }
        }
        assert_eq!(&first_times, ids, "{session} on {TOPIC}");
    }
    let received_while_away = records
        .iter()
        .filter(|record| {
            let metadata = &decoded(record)["metadata"];
            assert_eq!(metadata["occurred_at"], "2024-05-27T02:03:00Z");
            let received: Timestamp = metadata["received_at"].as_str().unwrap().parse().unwrap();
            received < returned
        })
        .count();
    println!(
        "Kafka away for {:?}: {} webhooks answered 200, {away} of them while it was away, slowest {:?}; on the topic {}, {twice} twice",
        away_for() * 2,
        account.count(),
        account.slowest,
        records.len(),
    );
    assert!(received_while_away >= before + away, "{received_while_away} were received before {returned}");
}
