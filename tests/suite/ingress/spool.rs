//! The disk spool: while Kafka does not take records, webhooks are answered 200 as soon as the disk has them, and Kafka gets them
//! afterwards, in order and once, whatever is killed meanwhile.

mod away;
mod damage;
mod disk;
mod kills;
mod limits;
mod states;
mod volume;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use paybridge::provider::SignedWebhook;
use tempfile::TempDir;

use crate::support::bridge::{Answered, count_by_id, create_needed_topics, event_type, sender};
use crate::support::daemon::{Daemon, Exchange, Settings, Variables, configuration};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::exposition::Exposition;
use crate::support::kafka::Kafka;

const TOPIC: &str = "smart-glocal.ready-to-confirm.v1";
const OTHER_TOPIC: &str = "smart-glocal.payment-finished.v1";

/// A daemon with a spool, and its folder.
struct Spooling {
    daemon: Daemon,
    folder: TempDir,
}

impl Spooling {
    /// A ready daemon with topics of its own; `more` keys of `[spool]`.
    #[track_caller]
    fn start(kafka: &Kafka, more: &str) -> Self {
        Self::start_with(kafka, Settings::default(), more, |_| Vec::new())
    }

    /// The same, with these settings, and the environment variables that `variables` makes for its folder.
    #[track_caller]
    fn start_with(kafka: &Kafka, settings: Settings, more: &str, variables: impl FnOnce(&Path) -> Variables) -> Self {
        let text = configuration(kafka.bootstrap(), settings);
        create_needed_topics(kafka, &paybridge::config::Config::from_toml(&text, []).unwrap());
        Self::start_on_topics(&text, more, variables)
    }

    /// The same, with this configuration, whose topics are there.
    #[track_caller]
    fn start_on_topics(text: &str, more: &str, variables: impl FnOnce(&Path) -> Variables) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = format!(
            "[spool]\nenabled = true\ndirectory = \"{}\"\nengage_after_ms = 1000\n{more}\n",
            folder.path().join("spool").display()
        );
        let daemon = Daemon::run_with_disk(&format!("{text}{spool}"), variables(folder.path()));
        daemon.await_ready();
        Self { daemon, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// Posts one webhook of Smart Glocal.
    #[track_caller]
    fn post(&self, webhook: &SignedWebhook) -> Answered {
        match self.daemon.client().post("sg-main", webhook) {
            Exchange::Answered(answered) => answered,
            other => panic!("{other:?}\n{}", self.daemon.log()),
        }
    }

    /// The same, answered 200; the status and the event's id.
    #[track_caller]
    fn post_well(&self, webhook: &SignedWebhook) -> (String, String) {
        let answered = self.post(webhook);
        assert_eq!(answered.status, 200, "{answered:?}\n{}", self.daemon.log());
        (answered.json("status"), answered.json("event_id"))
    }

    /// The value of a metric without labels.
    fn metric(&self, name: &str) -> f64 {
        match self.daemon.client().admin("/metrics") {
            Exchange::Answered(answered) => {
                Exposition::read(&answered.text).values(name).into_values().next().unwrap_or(-1.0)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits until nothing is on disk, and records go to Kafka directly.
    #[track_caller]
    fn await_drained(&self) {
        eventually(LIMIT, || {
            let state = ["paybridge_spool_engaged", "paybridge_spool_records"].map(|name| self.metric(name));
            (state == [0.0, 0.0]).then_some(()).ok_or_else(|| format!("{state:?}\n{}", self.daemon.log()))
        });
        assert_eq!(files(&self.path().join("new")), [""; 0]);
    }

    /// The `number`th event of a session.
    fn event(&self, session: &str, number: usize) -> SignedWebhook {
        let body = format!(
            r#"{{"type":"ready_to_confirm","session":{{"id":"{session}","status":"in_progress","created_at":"2024-05-27T02:03:00.000000Z","updated_at":"2024-05-27T02:03:00.000000Z","payout_list":[{{"id":"po_{number}","status":"pending"}}]}}}}"#
        );
        sender(&self.daemon.config, "sg-main").sign("", body.into(), Timestamp::now(), 0)
    }

    /// Kills it, and starts it anew. It takes webhooks when this returns, ready or not.
    #[track_caller]
    fn kill_and_start(&mut self) {
        self.daemon.signal("KILL");
        assert_eq!(self.daemon.await_end(), None);
        self.daemon.start_anew();
        self.daemon.await_listening();
    }

    /// The `number`th event of another topic.
    fn other_event(&self, number: u64) -> SignedWebhook {
        let event_type = event_type("smart-glocal", "payment-finished");
        sender(&self.daemon.config, "sg-main").sample(event_type, Timestamp::UNIX_EPOCH, number)
    }

    fn topic(&self) -> String {
        format!("{}.{TOPIC}", self.daemon.config.kafka.topic_prefix.as_ref())
    }

    fn other_topic(&self) -> String {
        format!("{}.{OTHER_TOPIC}", self.daemon.config.kafka.topic_prefix.as_ref())
    }

    /// How often each event is on the topic.
    fn counts(&self, kafka: &Kafka) -> BTreeMap<String, usize> {
        count_by_id(&kafka.read_all(&self.topic()))
    }
}

/// The names of a folder's files, sorted.
fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
