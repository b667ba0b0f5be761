//! When the daemon is ready, and what it says about its topics until then.
//! Must not know what the topics are for.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::admin::Readiness;
use crate::config::{ClientSide, Kafka};
use crate::finding::{Finding, Severity};
use crate::kafka::client;
use crate::kafka::client_error::ClientError;
use crate::kafka::cluster::{ClusterClient, TopicState};
use crate::kafka::inspect::topic_findings;
use crate::kafka::publisher::{Publisher, StuckPartition};
use crate::kafka::topics::Topic;
use crate::log_limit::kind_of;
use crate::metrics::Metrics;

/// How often Kafka is asked for its topics while one is missing, and how long it may be silent meanwhile.
const TOPICS_EVERY: Duration = Duration::from_secs(2);
/// How long after all were there Kafka is asked again. With the answer's time it is less than the 30 s within which a missing topic of
/// the engine's is noticed.
const TOPICS_AGAIN_AFTER: Duration = Duration::from_secs(20);
/// Between two looks, at least.
const TOPICS_LEAST_GAP: Duration = Duration::from_secs(1);
/// How long the one look at the topics' settings may take.
const LOOK_WITHIN: Duration = Duration::from_secs(15);

/// Between two producers that take the place of stuck ones, at least: nothing proves that the next one gets further.
const REPLACED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// What Kafka must have.
pub struct Needed {
    /// The topics.
    pub topics: Vec<Topic>,
    /// Names of topics that must have the same number of partitions.
    pub equal: Vec<String>,
}

/// Asks Kafka for its topics again and again, and lets the publisher know which are missing. The first answer is the latch of
/// readiness; when all are there for the first time, it tells once what `check` would say of them. Missing topics do not keep the
/// daemon from being ready: their webhooks are answered 503, and all others would be lost to their providers if it were not.
pub async fn watch_topics(
    needed: Needed,
    kafka: Kafka,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    publisher: Option<Arc<Publisher>>,
) {
    let names = needed.topics.iter().map(|topic| topic.name.clone()).collect();
    let kafka = Arc::new(kafka);
    let mut watch = TopicWatch {
        kafka: Arc::clone(&kafka),
        names,
        readiness,
        metrics,
        publisher,
        connection: None,
        told: None,
        all_were_there: false,
        missing: None,
        stuck: Vec::new(),
        surely_stuck: Vec::new(),
        replaced_at: None,
    };
    let draining = watch.readiness.draining.clone();
    let watching = async {
        let mut is_told = false;
        loop {
            let all_there = watch.look().await;
            watch.replace_stuck_producer().await;
            if all_there && !is_told {
                tell_findings(&needed, &kafka).await;
                is_told = true;
            }
            watch.pause(all_there).await;
        }
    };
    // A look that still blocks would hold up the end of the process.
    let _stopped: Option<Infallible> = draining.run_until_cancelled(watching).await;
    pending::<()>().await;
}

async fn tell_findings(needed: &Needed, kafka: &Kafka) {
    let findings = match client::base(kafka, ClientSide::Common) {
        Ok(client) => topic_findings(&client, &needed.topics, &needed.equal, LOOK_WITHIN).await,
        Err(error) => {
            tracing::warn!(%error, "the settings of the topics cannot be read");
            Vec::new()
        }
    };
    for Finding { severity, code, subject, message, action, .. } in findings {
        match severity {
            Severity::Error => tracing::error!(code = code.as_str(), subject, action, "{message}"),
            Severity::Warning => tracing::warn!(code = code.as_str(), subject, action, "{message}"),
            Severity::Info => tracing::debug!(code = code.as_str(), subject, action, "{message}"),
        }
    }
}

/// Looks for the topics that are needed.
struct TopicWatch {
    kafka: Arc<Kafka>,
    names: Arc<[String]>,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    publisher: Option<Arc<Publisher>>,
    connection: Option<Connection>,
    /// What was logged last, without what differs from try to try: the same is not said twice.
    told: Option<String>,
    /// Whether all topics were there once.
    all_were_there: bool,
    /// What was missing at the last look.
    missing: Option<BTreeSet<String>>,
    /// Partitions whose records only timed out at the last look, sent to a broker that was not their leader.
    stuck: Vec<StuckPartition>,
    /// Those of them that were so in the look before, too.
    surely_stuck: Vec<StuckPartition>,
    /// When another producer took the place of a stuck one, or was to.
    replaced_at: Option<Instant>,
}

impl TopicWatch {
    /// Whether all topics are there, as far as Kafka tells.
    async fn look(&mut self) -> bool {
        let (kafka, names, kept) = (Arc::clone(&self.kafka), Arc::clone(&self.names), self.connection.take());
        let (publisher, before) = (self.publisher.clone(), self.missing.clone());
        // Every client's calls block, its end too.
        let asked = tokio::task::spawn_blocking(move || {
            let look = look(&kafka, kept, &names);
            if let Some(publisher) = publisher {
                if publisher.is_cut_off() {
                    publisher.reconnect();
                }
                publisher.set_missing(refused(&look, before.as_ref()));
            }
            look
        });
        let (kind, finding) = match asked.await {
            Ok(Look { connection: kept, states: Ok(states) }) => {
                self.connection = kept;
                let stuck = self.publisher.as_ref().map_or_else(Vec::new, |publisher| publisher.stuck_partitions());
                let stuck: Vec<_> = stuck.into_iter().filter(|stuck| is_led_by_another(&states, stuck)).collect();
                self.surely_stuck = stuck.iter().filter(|stuck| self.stuck.contains(stuck)).cloned().collect();
                self.stuck = stuck;
                let missing = missing(&states);
                self.missing = Some(missing.clone());
                self.readiness.metadata.open();
                self.metrics.topics_missing.set(f64::from(u32::try_from(missing.len()).unwrap_or(u32::MAX)));
                if missing.is_empty() {
                    self.tell_all_there();
                    return true;
                }
                let finding = format!(
                    "topics are missing, so their webhooks are answered 503; create them with `paybridge topics --create`: {}",
                    Vec::from_iter(missing).join(", ")
                );
                (finding.clone(), finding)
            }
            // Once Kafka has told them, an outage has log lines of its own.
            Ok(Look { connection: kept, states: Err(_) }) if self.readiness.metadata.is_open() => {
                self.connection = kept;
                self.missing = self.missing.take().map(|_| BTreeSet::new());
                return self.told.is_none();
            }
            Ok(Look { connection: kept, states: Err(error) }) => {
                self.connection = kept;
                (kind_of(&error).to_owned(), format!("Kafka does not tell its topics: {error}"))
            }
            Err(error) => {
                let finding = format!("the look for topics failed: {error}");
                (finding.clone(), finding)
            }
        };
        if self.told.as_ref() != Some(&kind) {
            tracing::error!("{finding}");
            self.told = Some(kind);
        }
        false
    }

    /// Kafka has leaders that the producer does not find: another producer takes over.
    async fn replace_stuck_producer(&mut self) {
        let stuck = std::mem::take(&mut self.surely_stuck);
        let Some(publisher) = self.publisher.as_ref().filter(|_| !stuck.is_empty()) else { return };
        if self.replaced_at.is_some_and(|at| at.elapsed() < REPLACED_AGAIN_AFTER) {
            return;
        }
        self.replaced_at = Some(Instant::now());
        let publisher = Arc::clone(publisher);
        // A task of its own: it ends in good order when the daemon stops meanwhile.
        let replaced = tokio::spawn(async move { publisher.replace_stuck().await }).await;
        match replaced {
            Ok(Ok(())) => tracing::warn!(
                ?stuck,
                "the producer sent records to brokers that do not lead their partitions any more, so they timed out; another \
                 producer has taken over"
            ),
            Ok(Err(error)) => tracing::warn!(
                ?stuck,
                %error,
                "the producer sends records to brokers that do not lead their partitions any more, so they time out; another \
                 producer could not take over; retrying"
            ),
            Err(error) => tracing::error!(
                ?stuck,
                %error,
                "the producer could not be replaced; records of these partitions time out until it is tried again, in a minute"
            ),
        }
    }

    fn tell_all_there(&mut self) {
        let is_news = self.told.take().is_some() || !self.all_were_there;
        self.all_were_there = true;
        if is_news {
            tracing::info!("all topics exist");
        }
    }

    /// Until the next look: a short while where a topic is missing, else a longer one, or until a record finds no topic.
    async fn pause(&self, all_there: bool) {
        match (&self.publisher, all_there) {
            (_, false) => sleep(TOPICS_EVERY).await,
            (Some(publisher), true) if publisher.is_cut_off() => sleep(TOPICS_EVERY).await,
            (None, true) => sleep(TOPICS_AGAIN_AFTER).await,
            (Some(publisher), true) => {
                // The end of the time is a reason to look, too.
                let _suspected = timeout(TOPICS_AGAIN_AFTER, publisher.suspects_missing()).await.is_ok();
                // However many records fail, Kafka is not asked more often than this.
                sleep(TOPICS_LEAST_GAP).await;
            }
        }
    }
}

/// The topics that the principal cannot write to, because they do not exist or Kafka does not show them.
fn missing(states: &BTreeMap<String, TopicState>) -> BTreeSet<String> {
    let is_missing = |state: &TopicState| matches!(state, TopicState::Missing | TopicState::Hidden);
    states.iter().filter(|(_, state)| is_missing(state)).map(|(topic, _)| topic.clone()).collect()
}

/// Whether Kafka has a leader for a partition, and not the one that its records are sent to.
fn is_led_by_another(states: &BTreeMap<String, TopicState>, stuck: &StuckPartition) -> bool {
    let Some(TopicState::Exists(found)) = states.get(&stuck.topic) else { return false };
    let state = usize::try_from(stuck.partition).ok().and_then(|place| found.partitions.get(place));
    state.and_then(|state| state.leader).is_some_and(|leader| leader != stuck.sent_to)
}

/// The topics whose records are refused at once: those that Kafka says it has not, in two looks in a row or in the first of all.
/// A broker that does not know all topics for a moment must not cost their webhooks, nor one that does not show them to this
/// principal; and where nothing is known, nothing is refused.
fn refused(look: &Look, before: Option<&BTreeSet<String>>) -> BTreeSet<String> {
    let Ok(states) = &look.states else { return BTreeSet::new() };
    let is_sure = |topic: &String| before.is_none_or(|before| before.contains(topic));
    let unknown = states.iter().filter(|(_, state)| **state == TopicState::Missing).map(|(topic, _)| topic);
    unknown.filter(|topic| is_sure(topic)).cloned().collect()
}

/// What a look brought.
struct Look {
    /// The connection, where it is of use for the next look.
    connection: Option<Connection>,
    /// How each topic stands.
    states: Result<BTreeMap<String, TopicState>, String>,
}

/// A connection to Kafka.
struct Connection {
    cluster: ClusterClient,
    has_answered: bool,
}

/// Looks through `kept`, or a new connection. One that Kafka refuses is not kept: its credentials may have changed. Nor is one that has
/// answered and does so no more: it may know no broker any more.
fn look(kafka: &Kafka, kept: Option<Connection>, names: &[String]) -> Look {
    let Connection { cluster, has_answered } = match kept.map_or_else(|| connect(kafka), Ok) {
        Ok(connection) => connection,
        Err(error) => return Look { connection: None, states: Err(error) },
    };
    // Each topic has its time: many topics are no reason to give up.
    let states: Result<_, ClientError> = names.iter().try_fold(BTreeMap::new(), |mut states, name| {
        states.extend(cluster.describe(slice::from_ref(name), Instant::now() + TOPICS_EVERY)?.topics);
        Ok(states)
    });
    match states {
        Ok(states) => Look { connection: Some(Connection { cluster, has_answered: true }), states: Ok(states) },
        Err(error) => {
            let may_answer = !error.is_refusal() && !has_answered;
            let connection = may_answer.then_some(Connection { cluster, has_answered });
            Look { connection, states: Err(error.to_string()) }
        }
    }
}

fn connect(kafka: &Kafka) -> Result<Connection, String> {
    // As the principal that writes, where there are two.
    let client = client::base(kafka, ClientSide::Ingress).map_err(|error| error.to_string())?;
    let cluster = ClusterClient::connect(&client).map_err(|error| error.to_string())?;
    Ok(Connection { cluster, has_answered: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_was_missing_in_the_first_look_or_two_in_a_row() {
        let refused = |missing: &[&str], before: Option<&[&str]>| {
            let mut states = BTreeMap::from([("hidden".to_owned(), TopicState::Hidden)]);
            states.extend(missing.iter().map(|name| ((*name).to_owned(), TopicState::Missing)));
            let before = before.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            Vec::from_iter(super::refused(&Look { connection: None, states: Ok(states) }, before.as_ref()))
        };
        assert_eq!(refused(&["a", "b"], None), ["a", "b"]);
        assert_eq!(refused(&["a", "b"], Some(&[])), [""; 0]);
        assert_eq!(refused(&["a", "b"], Some(&["b", "c", "hidden"])), ["b"]);
    }
}
