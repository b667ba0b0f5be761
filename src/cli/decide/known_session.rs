//! Whether Kafka has a session that a decision is for. A decision on a session that nobody knows would wait for it, and its author
//! would hear nothing: that is right for a program that is early, and wrong for a person who mistyped an id.
//! Must not know what a session's records say, beyond whose it is.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use prost::Message;
use rdkafka::ClientConfig;

use crate::cli::session_search::{SearchResult, SearchedTopic, SessionSearch, SessionTopic};
use crate::confirmation::session::model::SessionKey;
use crate::kafka::decoded::ReadRecord;
use crate::kafka::reader::ReadError;
use crate::message::confirmation::v1::LedgerEntry;
use crate::message::confirmation::v1::ledger_entry::State;
use crate::message::smart_glocal::v1::ReadyToConfirm;

/// The topics that a session is known by: first the one that is compacted, and so small.
const KNOWN_BY: [SessionTopic; 2] = [SessionTopic::Ledger, SessionTopic::ReadyToConfirm];

/// Which session, and where to look.
pub(super) struct SessionLookUp<'a> {
    pub(super) client: &'a ClientConfig,
    pub(super) prefix: &'a str,
    pub(super) source: &'a str,
    pub(super) session_id: &'a str,
    /// How long the engine remembers a session.
    pub(super) memory: Duration,
    pub(super) deadline: Instant,
}

/// Whose the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KnownSession {
    /// Of the source that was named.
    Known,
    /// Of these other sources alone.
    OfOthers(BTreeSet<String>),
    /// Of none.
    Unknown,
    /// The time was over before all was read.
    NotLookedThrough,
}

impl SessionLookUp<'_> {
    /// Looks. Blocks until the deadline at most.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub(super) fn run(&self) -> Result<KnownSession, ReadError> {
        let since = SignedDuration::try_from(self.memory).unwrap_or(SignedDuration::MAX);
        let search = SessionSearch {
            client: self.client,
            prefix: self.prefix,
            session_id: self.session_id,
            since: Timestamp::now().saturating_sub(since).unwrap_or(Timestamp::MIN),
            deadline: self.deadline,
        };
        Ok(known(self.source, &search.run(&KNOWN_BY)?))
    }

    /// What is wrong, and what to do.
    pub(super) fn explain(&self, known: &KnownSession) -> String {
        let Self { source, session_id, prefix, .. } = self;
        let looked = format!("`paybridge why {session_id}` tells what Kafka has of it");
        match known {
            KnownSession::OfOthers(sources) => {
                let others = sources.iter().map(|other| format!("`{other}`")).collect::<Vec<_>>().join(" and ");
                format!(
                    "the session `{session_id}` is of the source {others}, not of `{source}`: nothing was written. {looked}"
                )
            }
            KnownSession::Known | KnownSession::Unknown | KnownSession::NotLookedThrough => format!(
                "no session `{session_id}` of `{source}` is known, so nothing was written: neither the ledger nor the events of \
                 the last {} hours on the topics `{prefix}.…` have it. Compare the id with `subject` of its event. For a session \
                 that is still to open, add --early: then the decision waits for it. {looked}",
                self.memory.as_secs() / 3600
            ),
        }
    }
}

fn known(source: &str, searched: &[SearchedTopic]) -> KnownSession {
    let owners: BTreeSet<String> = searched.iter().flat_map(owners).collect();
    let is_unread = |topic: &SearchedTopic| topic.read != SearchResult::ToTheEnd;
    if owners.contains(source) {
        KnownSession::Known
    } else if searched.iter().any(is_unread) {
        KnownSession::NotLookedThrough
    } else if owners.is_empty() {
        KnownSession::Unknown
    } else {
        KnownSession::OfOthers(owners)
    }
}

/// The sources whose session it is, as a topic tells.
fn owners(topic: &SearchedTopic) -> BTreeSet<String> {
    match topic.which {
        SessionTopic::ReadyToConfirm => topic.records.iter().filter_map(asking_source).collect(),
        SessionTopic::Ledger => entries(&topic.records),
        SessionTopic::Decision
        | SessionTopic::DecisionRejected
        | SessionTopic::Outcome
        | SessionTopic::PaymentFinished => BTreeSet::new(),
    }
}

fn asking_source(record: &ReadRecord) -> Option<String> {
    let event = ReadyToConfirm::decode(record.value.as_deref()?).ok()?;
    event.metadata.map(|metadata| metadata.source)
}

/// What a source's last entry is, if it is more than decisions that wait. A tombstone takes all entries before it away.
fn entries(records: &[ReadRecord]) -> BTreeSet<String> {
    let mut owners = BTreeSet::new();
    for record in records {
        let Some(key) = SessionKey::parse(record.key.as_deref().unwrap_or_default()) else { continue };
        let entry = record.value.as_deref().and_then(|value| LedgerEntry::decode(value).ok());
        match entry.and_then(|entry| entry.state) {
            None | Some(State::Early(_)) => owners.remove(&*key.source),
            Some(_) => owners.insert(key.source.to_string()),
        };
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::confirmation::v1::{Awaiting, Early};
    use crate::message::event::v1::EventMetadata;

    fn ready(source: &str) -> ReadRecord {
        let metadata = Some(EventMetadata { source: source.to_owned(), ..EventMetadata::default() });
        let value = ReadyToConfirm { metadata, session: None }.encode_to_vec();
        ReadRecord { value: Some(value), ..ReadRecord::default() }
    }

    fn entry(source: &str, state: Option<State>) -> ReadRecord {
        let value = state.map(|state| LedgerEntry { state: Some(state), ..LedgerEntry::default() }.encode_to_vec());
        ReadRecord { key: Some(format!("{source}/1").into_bytes()), value, ..ReadRecord::default() }
    }

    fn searched(which: SessionTopic, read: SearchResult, records: Vec<ReadRecord>) -> SearchedTopic {
        let topic = String::new();
        SearchedTopic { which, topic, partition: Some(0), found: records.len(), read, records }
    }

    #[test]
    fn a_session_is_known_by_its_event_or_by_an_entry_that_is_not_only_decisions() {
        let awaiting = || Some(State::Awaiting(Awaiting::default()));
        let early = || Some(State::Early(Early::default()));
        let others = |name: &str| KnownSession::OfOthers(BTreeSet::from([name.to_owned()]));
        for (readies, entries, expected) in [
            (vec![], vec![], KnownSession::Unknown),
            (vec![ready("sg")], vec![], KnownSession::Known),
            (vec![], vec![entry("sg", awaiting())], KnownSession::Known),
            (vec![], vec![entry("sg", early())], KnownSession::Unknown),
            (vec![], vec![entry("sg", awaiting()), entry("sg", None)], KnownSession::Unknown),
            (vec![ready("other")], vec![], others("other")),
            (vec![ready("other")], vec![entry("sg", awaiting())], KnownSession::Known),
        ] {
            let told = format!("{readies:?} {entries:?}");
            let topics = [
                searched(SessionTopic::ReadyToConfirm, SearchResult::ToTheEnd, readies),
                searched(SessionTopic::Ledger, SearchResult::ToTheEnd, entries),
            ];
            assert_eq!(known("sg", &topics), expected, "{told}");
        }
        let unread = [searched(SessionTopic::Ledger, SearchResult::OutOfTime, Vec::new())];
        assert_eq!(known("sg", &unread), KnownSession::NotLookedThrough);
    }
}
