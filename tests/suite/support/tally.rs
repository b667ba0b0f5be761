//! What was answered 200, held against what is on the topics: lost is what is not there, twice what stands there more than once.
//! Must not know who answered, nor what happened meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::bridge::Answered;
use super::kafka::Kafka;
use super::stream::{Event, ids_on};

/// The ids of events that were answered 200, by the topics that they belong on.
#[derive(Debug, Default)]
pub struct Acknowledged(BTreeMap<String, BTreeSet<String>>);

/// How many there are of each.
#[derive(Debug)]
pub struct Tally {
    /// Events that were answered 200.
    pub acknowledged: usize,
    /// Those of them that are on their topics.
    pub found: usize,
    /// Those that are not: topic and id.
    pub lost: Vec<(String, String)>,
    /// Events of which a topic has more than one record, answered or not.
    pub twice: usize,
}

impl Acknowledged {
    /// Those of an account that were answered 200.
    pub fn of<'a>(account: impl IntoIterator<Item = (&'a Event, &'a Answered)>) -> Self {
        let mut acknowledged = Self::default();
        for (event, answered) in account {
            if answered.status == 200 {
                let ids = acknowledged.0.entry(event.topic.clone()).or_default();
                ids.insert(answered.json("event_id"));
            }
        }
        acknowledged
    }

    /// The same without those of one topic.
    pub fn but_for(mut self, topic: &str) -> Self {
        self.0.remove(topic);
        self
    }

    /// Holds them against what is on their topics now.
    pub fn tally(&self, kafka: &Kafka) -> Tally {
        let there = ids_on(kafka, &self.0.keys().cloned().collect());
        let all = || self.0.iter().flat_map(|(topic, ids)| ids.iter().map(move |id| (topic, id)));
        let lost: Vec<(String, String)> = all()
            .filter(|(topic, id)| !there[*topic].contains_key(*id))
            .map(|(topic, id)| (topic.clone(), id.clone()))
            .collect();
        let acknowledged = all().count();
        let twice = there.values().flat_map(BTreeMap::values).filter(|count| **count > 1).count();
        Tally { acknowledged, found: acknowledged - lost.len(), lost, twice }
    }
}

impl Tally {
    /// Nothing that was answered 200 is lost.
    #[track_caller]
    pub fn assert_nothing_is_lost(&self) {
        assert!(self.lost.is_empty(), "{} events were answered 200 and are lost: {:?}", self.lost.len(), self.lost);
    }

    /// Of a thousand events at most so many stand twice.
    #[track_caller]
    pub fn assert_twice_at_most(&self, per_mille: usize) {
        assert!(
            self.twice * 1000 <= self.acknowledged * per_mille,
            "more than {per_mille} of 1000 stand twice: {self}"
        );
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, found, lost, twice } = self;
        write!(f, "{acknowledged} acknowledged, {found} found, {} lost, {twice} twice", lost.len())
    }
}

/// Every event of an account that was answered 200 is on its topic.
#[track_caller]
pub fn check_nothing_is_lost<'a>(kafka: &Kafka, account: impl IntoIterator<Item = (&'a Event, &'a Answered)>) {
    Acknowledged::of(account).tally(kafka).assert_nothing_is_lost();
}
