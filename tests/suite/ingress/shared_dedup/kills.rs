//! Two replicas behind a client that sends each webhook to one of them, and again to the other a second after its answer, while one
//! after the other is killed and started again. Nothing that was answered is lost, and little is published twice.
//!
//! The long form takes about six minutes:
//! ```text
//! PAYBRIDGE_DEDUP_KILLS=full cargo test --test suite shared_dedup::kills -- --nocapture
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::provider::SignedWebhook;
use tokio::runtime::Runtime;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use crate::support::bridge::{
    Answered, count_by_id, create_needed_topics, event_type, sender, try_exchange, webhook_request,
};
use crate::support::daemon::{Daemon, Settings, configuration};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;
use crate::support::turn::take_turn;

const TOPIC: &str = "unipaas.payout-update.v1";
/// The contract: a redelivery that comes so long after the first answer is seen.
const REDELIVERED_AFTER: Duration = Duration::from_secs(1);
/// Longer than a replica takes for any answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// How much is done.
struct Form {
    kills: usize,
    /// Webhooks a second.
    rate: u32,
    /// Webhooks between two kills.
    between: usize,
    /// Of a thousand events so many may stand twice.
    twice_per_mille_max: usize,
}

impl Form {
    fn of_environment() -> Self {
        match env::var("PAYBRIDGE_DEDUP_KILLS").as_deref() {
            Ok("full") => Self { kills: 20, rate: 200, between: 3_200, twice_per_mille_max: 1 },
            Ok(other) => panic!("PAYBRIDGE_DEDUP_KILLS is {other}: set it to full, or not at all"),
            // So few events between two kills that what each of those costs weighs more.
            Err(_) => Self { kills: 2, rate: 100, between: 250, twice_per_mille_max: 40 },
        }
    }
}

/// What the client shares with the test.
struct Load {
    webhooks: Vec<SignedWebhook>,
    urls: [String; 2],
    http: Client<HttpConnector, Full<Bytes>>,
    taken: AtomicUsize,
    stop: AtomicBool,
    /// Answered webhooks, which are due again.
    due: Mutex<VecDeque<(Instant, usize, usize)>>,
    /// The ids of answered webhooks.
    ids: Mutex<BTreeMap<usize, String>>,
}

#[test]
fn under_kills_nothing_is_lost_and_little_is_published_twice() {
    let _turn = take_turn();
    let (kafka, form) = (Kafka::shared(), Form::of_environment());
    let mut daemons = two_daemons(kafka);
    let load = Arc::new(Load::new(&daemons.each_ref().map(|daemon| daemon.config.clone()), &form));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sending = runtime.spawn(Arc::clone(&load).send(form.rate));
    let again = runtime.spawn(Arc::clone(&load).send_again());
    for kill in 0..form.kills {
        await_taken(&load, (kill + 1) * form.between);
        let daemon = &mut daemons[kill % 2];
        daemon.signal("KILL");
        assert_eq!(daemon.await_end(), None);
        daemon.start_again();
    }
    await_taken(&load, (form.kills + 1) * form.between);
    load.stop.store(true, Ordering::Relaxed);
    finish(&runtime, sending, again);
    let counts = count_by_id(&kafka.read_all(&format!("{}.{TOPIC}", daemons[0].config.kafka.topic_prefix.as_ref())));
    let ids = load.ids.lock().unwrap();
    for (number, id) in ids.iter() {
        assert!(counts.contains_key(id), "webhook {number} was answered 200 and is not on its topic");
    }
    let twice = counts.values().filter(|count| **count > 1).count();
    println!(
        "{} kills, {} events answered and sent again, {} on the topic, {twice} of them twice",
        form.kills,
        ids.len(),
        counts.len()
    );
    assert!(twice * 1000 <= counts.len() * form.twice_per_mille_max, "{twice} of {} events stand twice", counts.len());
}

fn two_daemons(kafka: &Kafka) -> [Daemon; 2] {
    let text = || configuration(kafka.bootstrap(), Settings::default());
    let (first, second) = (text(), text());
    let prefix = |text: &str| Config::from_toml(text, []).unwrap().kafka.topic_prefix.as_ref().to_owned();
    let second = second.replace(&prefix(&second), &prefix(&first)).replace("\"test\"", "\"test-2\"");
    create_needed_topics(kafka, &Config::from_toml(&first, []).unwrap());
    let daemons = [first, second].map(|text| Daemon::run(&text));
    daemons.iter().for_each(Daemon::await_ready);
    daemons
}

#[track_caller]
fn await_taken(load: &Load, count: usize) {
    eventually(LIMIT, || match load.taken.load(Ordering::Relaxed) {
        taken if taken >= count => Ok(()),
        taken => Err(format!("{taken} of {count} webhooks are taken")),
    });
}

fn finish(runtime: &Runtime, sending: tokio::task::JoinHandle<()>, again: tokio::task::JoinHandle<()>) {
    runtime.block_on(async {
        sending.await.unwrap();
        again.await.unwrap();
    });
}

impl Load {
    fn new(configs: &[Config; 2], form: &Form) -> Self {
        let count = (form.kills + 2) * form.between;
        let (sender, payout) = (sender(&configs[0], "unipaas"), event_type("unipaas", "payout-update"));
        let sample = |number: usize| sender.sample(payout, Timestamp::now(), u64::try_from(number).unwrap());
        Self {
            webhooks: (0..count).map(sample).collect(),
            urls: configs.each_ref().map(|config| format!("http://{}/webhooks/unipaas", config.ingress.listen)),
            http: Client::builder(TokioExecutor::new()).build_http(),
            taken: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            due: Mutex::new(VecDeque::new()),
            ids: Mutex::new(BTreeMap::new()),
        }
    }

    /// Sends one webhook after the other at the rate, and tries each until it is taken.
    async fn send(self: Arc<Self>, rate: u32) {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..self.webhooks.len() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            ticks.tick().await;
            let load = Arc::clone(&self);
            tasks.spawn(async move {
                let (replica, answered) = load.until_taken(number, number % 2).await;
                load.ids.lock().unwrap().insert(number, answered.json("event_id"));
                load.due.lock().unwrap().push_back((Instant::now() + REDELIVERED_AFTER, number, 1 - replica));
                load.taken.fetch_add(1, Ordering::Relaxed);
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Sends each that was taken to the other replica, a second later.
    async fn send_again(self: Arc<Self>) {
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            let next = self.due.lock().unwrap().pop_front();
            match next {
                Some((at, number, replica)) => {
                    sleep_until(at).await;
                    let load = Arc::clone(&self);
                    tasks.spawn(async move { load.until_taken(number, replica).await });
                }
                None if self.stop.load(Ordering::Relaxed) => break,
                None => sleep(Duration::from_millis(10)).await,
            }
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Tries the replicas by turns until one of them answers 200; gives which.
    async fn until_taken(&self, number: usize, first: usize) -> (usize, Answered) {
        let deadline = Instant::now() + LIMIT;
        for replica in (0..2).cycle().skip(first) {
            let request = webhook_request(&self.urls[replica], &self.webhooks[number]);
            // The client may wait for ever for a connection that died with its process.
            match timeout(ANSWERED_WITHIN, try_exchange(self.http.clone(), request)).await {
                Ok(Ok(answered)) if answered.status == 200 => return (replica, answered),
                other => assert!(Instant::now() < deadline, "webhook {number}: {other:?}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
        unreachable!("the replicas come by turns for ever")
    }
}
