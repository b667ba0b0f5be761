//! Everything that Kafka has about one session: one partition of each topic is read, because the session's id is the key.
//! Must not know what a record says, beyond whose it is.

use std::time::Instant;

use jiff::Timestamp;
use rdkafka::ClientConfig;
use serde::Serialize;

use super::WrongUsage;
use crate::config::Config;
use crate::confirmation::session::model::SessionKey;
use crate::kafka::decoded::ReadRecord;
use crate::kafka::key_search::{KeyRecords, KeySearch, SearchExtent};
use crate::kafka::reader::ReadError;
use crate::kafka::topics;
use crate::provider::CONFIRMATION_PROVIDER;

/// Whether the source named so can have sessions that wait: a command about one of another source would find nothing. A
/// configuration without any source is one for commands alone.
///
/// # Errors
/// It cannot.
pub fn check_source(config: &Config, name: &str) -> Result<(), WrongUsage> {
    match config.sources.get(name) {
        None if config.sources.is_empty() => Ok(()),
        None => Err(WrongUsage::unknown_source(config, name)),
        Some(source) if source.provider != CONFIRMATION_PROVIDER => Err(WrongUsage(format!(
            "the source `{name}` is of {}: only sessions of {CONFIRMATION_PROVIDER} wait for a confirmation",
            source.provider
        ))),
        Some(_) => Ok(()),
    }
}

/// A topic that has records of sessions, in the order in which things usually happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionTopic {
    /// The provider asks for a confirmation.
    ReadyToConfirm,
    /// Somebody decides.
    Decision,
    /// The engine's memory.
    Ledger,
    /// A decision did not count.
    DecisionRejected,
    /// What became of the session.
    Outcome,
    /// The provider says that the session has finished.
    PaymentFinished,
}

/// One session id, and how far to look back.
pub struct SessionSearch<'a> {
    /// The clients' properties.
    pub client: &'a ClientConfig,
    /// What the topics' names begin with.
    pub prefix: &'a str,
    /// The session's id.
    pub session_id: &'a str,
    /// Older records are passed over, but for the ledger's, which is compacted.
    pub since: Timestamp,
    /// When to give up.
    pub deadline: Instant,
}

/// What one topic has of the session.
#[derive(Clone, Debug, Serialize)]
pub struct SearchedTopic {
    /// Which topic.
    #[serde(skip)]
    pub which: SessionTopic,
    /// Its name.
    pub topic: String,
    /// The partition of the session; unknown where the topic cannot be read.
    pub partition: Option<i32>,
    /// How many records of the session were found.
    pub found: usize,
    /// How far it was read.
    pub read: SearchResult,
    /// The records.
    #[serde(skip)]
    pub records: Vec<ReadRecord>,
}

/// How far a topic was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchResult {
    /// To its end.
    ToTheEnd,
    /// The time was over before.
    OutOfTime,
    /// It has more records of the session than are shown.
    TooMany,
    /// It does not exist.
    Missing,
    /// The principal may not read it.
    NotAuthorized,
}

impl SessionTopic {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ReadyToConfirm,
        Self::Decision,
        Self::Ledger,
        Self::DecisionRejected,
        Self::Outcome,
        Self::PaymentFinished,
    ];

    /// The topic's full name.
    fn name(self, prefix: &str) -> String {
        let event = |part: &str| {
            let events = topics::confirmation_events();
            let found = events.into_iter().find(|(_, event)| event.topic_part == part);
            found.map(|(provider, event)| topics::event_topic(prefix, provider, event)).unwrap_or_default()
        };
        match self {
            Self::ReadyToConfirm => event("ready-to-confirm"),
            Self::Decision => topics::decision_topic(prefix),
            Self::Ledger => topics::ledger_topic(prefix),
            Self::DecisionRejected => topics::decision_rejected_topic(prefix),
            Self::Outcome => topics::outcome_topic(prefix),
            Self::PaymentFinished => event("payment-finished"),
        }
    }
}

impl SessionSearch<'_> {
    /// Looks through these topics, one after the other. Blocks.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn run(&self, wanted: &[SessionTopic]) -> Result<Vec<SearchedTopic>, ReadError> {
        let mut searched: Vec<SearchedTopic> = Vec::new();
        for which in wanted {
            match self.look_through(*which) {
                // Not Kafka is silent, but the topics before it took the time.
                Err(ReadError::Kafka(_)) if !searched.is_empty() && Instant::now() >= self.deadline => {
                    searched.push(SearchedTopic::unread(*which, which.name(self.prefix), SearchResult::OutOfTime));
                }
                looked => searched.push(looked?),
            }
        }
        Ok(searched)
    }

    fn look_through(&self, which: SessionTopic) -> Result<SearchedTopic, ReadError> {
        let topic = which.name(self.prefix);
        let is_session = |key: &[u8]| key == self.session_id.as_bytes();
        let is_entry = |key: &[u8]| SessionKey::parse(key).is_some_and(|key| *key.session_id == *self.session_id);
        // The ledger's keys begin with the source; its partitions are those of the inputs all the same.
        let is_wanted: &dyn Fn(&[u8]) -> bool = if which == SessionTopic::Ledger { &is_entry } else { &is_session };
        let since = (which != SessionTopic::Ledger).then_some(self.since);
        let search = KeySearch { topic: &topic, partition_key: self.session_id.as_bytes(), is_wanted, since };
        let unread = |read| SearchedTopic::unread(which, topic.clone(), read);
        match search.run(self.client, self.deadline) {
            Ok(KeyRecords { partition, records, left_out, extent }) => {
                let read = match (extent, left_out) {
                    (SearchExtent::OutOfTime, _) => SearchResult::OutOfTime,
                    (SearchExtent::ToTheEnd, 0) => SearchResult::ToTheEnd,
                    (SearchExtent::ToTheEnd, _) => SearchResult::TooMany,
                };
                let found = records.len();
                Ok(SearchedTopic { partition: Some(partition), found, read, records, ..unread(read) })
            }
            Err(ReadError::Missing(_)) => Ok(unread(SearchResult::Missing)),
            Err(ReadError::NotAuthorized(_) | ReadError::Refused) => Ok(unread(SearchResult::NotAuthorized)),
            Err(error) => Err(error),
        }
    }
}

impl SearchedTopic {
    fn unread(which: SessionTopic, topic: String, read: SearchResult) -> Self {
        Self { which, topic, partition: None, found: 0, read, records: Vec::new() }
    }

    /// What there is to be told of a topic that was not read as a whole; nothing of one that was.
    pub fn complaint(&self) -> Option<String> {
        let topic = &self.topic;
        match self.read {
            SearchResult::ToTheEnd => None,
            SearchResult::OutOfTime => {
                Some(format!("{topic} was not read to its end in time: give more time with --timeout"))
            }
            SearchResult::TooMany => {
                Some(format!("{topic} has too many records of this session: the oldest are left out"))
            }
            SearchResult::Missing => {
                Some(format!("{topic} does not exist: create it with `paybridge topics --create`"))
            }
            SearchResult::NotAuthorized => {
                Some(format!("the principal may not read {topic}: allow it Describe and Read on it"))
            }
        }
    }
}
