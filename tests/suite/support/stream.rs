//! A stream of webhooks of all providers, several at once, in an order that a printed seed decides; and the account of
//! what was answered, which is held against the topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, iter, thread};

use http::header::RETRY_AFTER;
use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::provider::{self, Sender, SignedWebhook};

use super::bridge::{Answered, count_by_id, sender};
use super::eventually::{LIMIT, eventually};
use super::kafka::Kafka;

/// Repeats a run: the seed that it printed.
const SEED_VARIABLE: &str = "PAYBRIDGE_TEST_SEED";
/// The contract: what the answer may take beyond the ack timeout.
const ANSWER_SLACK: Duration = Duration::from_secs(1);
/// Topics that are read at once: each takes its time, and little else.
const READERS: usize = 8;

/// Random choices (splitmix64) from a seed that is printed.
pub struct Random(u64);

impl Random {
    /// From `PAYBRIDGE_TEST_SEED`, else from the clock.
    pub fn printed() -> Self {
        Self(printed_seed())
    }

    /// From a seed that was printed elsewhere.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number from 0 to `bound`, without `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    /// So many bytes, which no compression makes fewer.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

/// A seed for random choices: `PAYBRIDGE_TEST_SEED`, else from the clock.
pub fn printed_seed() -> u64 {
    let given = env::var(SEED_VARIABLE).ok().map(|seed| seed.parse().unwrap());
    let clock = || u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
    let seed = given.unwrap_or_else(clock);
    println!("{SEED_VARIABLE}={seed}");
    seed
}

/// A webhook to send, and the topic that its event belongs on.
#[derive(Clone)]
pub struct Event {
    /// The source.
    pub source: String,
    /// The webhook.
    pub webhook: SignedWebhook,
    /// The full name of its topic.
    pub topic: String,
}

/// Makes events of every type of every configured source, no two the same.
pub struct Events {
    kinds: Vec<Kind>,
    number: u64,
}

struct Kind {
    source: String,
    topic: String,
    sender: Box<dyn Sender>,
    event_type: &'static provider::EventType,
}

impl Events {
    /// Of the sources of `config`.
    pub fn new(config: &Config) -> Self {
        let mut kinds = Vec::new();
        for (source, settings) in &config.sources {
            let provider = provider::find(&settings.provider).unwrap();
            for event_type in provider.event_types() {
                let part = event_type.topic_part;
                kinds.push(Kind {
                    source: source.to_string(),
                    topic: format!("{}.{}.{part}.v1", config.kafka.topic_prefix.as_ref(), provider.name()),
                    sender: sender(config, source.as_ref()),
                    event_type,
                });
            }
        }
        Self { kinds, number: 0 }
    }

    /// The next event, of a type at random.
    pub fn next(&mut self, random: &mut Random) -> Event {
        let kind = &self.kinds[random.below(self.kinds.len())];
        self.number += 1;
        let webhook = kind.sender.sample(kind.event_type, Timestamp::now(), self.number);
        Event { source: kind.source.clone(), webhook, topic: kind.topic.clone() }
    }

    /// The next `count` events, of types at random.
    pub fn some(&mut self, count: usize, random: &mut Random) -> Vec<Event> {
        (0..count).map(|_| self.next(random)).collect()
    }
}

/// A stream on its way, as the one who disturbs it sees it.
pub struct Stream {
    answers: AtomicUsize,
    taken: AtomicUsize,
    refusals: AtomicUsize,
}

impl Stream {
    /// Waits until so many are answered in all.
    #[track_caller]
    pub fn await_answers(&self, count: usize) {
        Self::reach(&self.answers, count);
    }

    /// Waits until so many more are answered 200.
    #[track_caller]
    pub fn await_more_taken(&self, count: usize) {
        Self::reach(&self.taken, self.taken.load(Ordering::Relaxed) + count);
    }

    /// Waits until so many more are not answered 200.
    #[track_caller]
    pub fn await_refusals(&self, count: usize) {
        Self::reach(&self.refusals, self.refusals.load(Ordering::Relaxed) + count);
    }

    #[track_caller]
    fn reach(counter: &AtomicUsize, count: usize) {
        eventually(LIMIT, || match counter.load(Ordering::Relaxed) {
            reached if reached >= count => Ok(()),
            reached => Err(format!("the stream is at {reached} of {count}")),
        });
    }
}

/// Sends `events` through `post`, `at_once` at a time, while `disturb` does what it does; gives every event with its answer.
/// `post` gives none where nobody listened. Each event is taken when its turn has come: they may be without an end until
/// `disturb` is over.
pub fn run(
    events: impl IntoIterator<Item = Event, IntoIter: Send>,
    at_once: usize,
    post: impl Fn(&Event) -> Option<Answered> + Sync,
    disturb: impl FnOnce(&Stream),
) -> Vec<(Event, Option<Answered>)> {
    let stream = Stream { answers: AtomicUsize::new(0), taken: AtomicUsize::new(0), refusals: AtomicUsize::new(0) };
    let waiting = Mutex::new(events.into_iter());
    let account = Mutex::new(Vec::new());
    let send_all = || {
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(event) = next() {
            let answered = post(&event);
            let accepted = answered.as_ref().is_some_and(|answered| answered.status == 200);
            let counter = if accepted { &stream.taken } else { &stream.refusals };
            counter.fetch_add(1, Ordering::Relaxed);
            account.lock().unwrap().push((event, answered));
            stream.answers.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(send_all);
        }
        disturb(&stream);
    });
    account.into_inner().unwrap()
}

/// 200, or 503 with a time to come again; and never later than promised.
#[track_caller]
pub fn check_answer(answered: &Answered, ack_timeout: Duration) {
    match answered.status.as_u16() {
        200 => assert_eq!(answered.json("event_id").len(), 32, "{answered:?}"),
        503 => {
            let after: Option<u64> =
                answered.headers.get(RETRY_AFTER).map(|after| after.to_str().unwrap().parse().unwrap());
            assert!(after.is_some_and(|seconds| (1..=5).contains(&seconds)), "{answered:?}");
        }
        _ => panic!("{answered:?}"),
    }
    assert!(answered.elapsed <= ack_timeout + ANSWER_SLACK, "{answered:?}");
}

/// How often each `ce_id` is on each of these topics.
pub fn ids_on(kafka: &Kafka, topics: &BTreeSet<String>) -> BTreeMap<String, BTreeMap<String, usize>> {
    let unread = Mutex::new(topics.iter());
    let read = || {
        let next = || unread.lock().unwrap().next();
        iter::from_fn(next).map(|topic| (topic.clone(), count_by_id(&kafka.read_all(topic)))).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
    })
}
