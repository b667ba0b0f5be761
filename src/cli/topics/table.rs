//! The list of topics for people: a line a topic, and what Kafka says of it. Must not ask Kafka.

use std::fmt;

use crate::kafka::cluster::{Counts, TopicState};
use crate::kafka::topics::Topic;

/// The topics, and how each stands where Kafka was asked.
pub(super) struct TopicTable<'t> {
    rows: Vec<TopicRow<'t>>,
    was_asked: bool,
}

struct TopicRow<'t> {
    topic: &'t Topic,
    presence: TopicPresence,
}

/// Whether a topic is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TopicPresence {
    Exists,
    Missing,
    /// The principal may not see it, or Kafka gives an error.
    Unknown,
}

impl TopicPresence {
    fn word(self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::Missing => "MISSING",
            Self::Unknown => "unknown",
        }
    }
}

impl<'t> TopicTable<'t> {
    /// By the configuration alone.
    pub(super) fn offline(topics: &'t [Topic]) -> Self {
        let row = |topic| TopicRow { topic, presence: TopicPresence::Unknown };
        Self { rows: topics.iter().map(row).collect(), was_asked: false }
    }

    /// With what Kafka says.
    pub(super) fn online(topics: &'t [Topic], counts: &Counts) -> Self {
        let presence = |topic: &Topic| match counts.get(&topic.name) {
            Some(Ok(_)) => TopicPresence::Exists,
            Some(Err(TopicState::Missing)) => TopicPresence::Missing,
            Some(Err(TopicState::Hidden | TopicState::Unavailable(_) | TopicState::Exists(_))) | None => {
                TopicPresence::Unknown
            }
        };
        let row = |topic| TopicRow { topic, presence: presence(topic) };
        Self { rows: topics.iter().map(row).collect(), was_asked: true }
    }

    /// What is wrong with what Kafka says, and what to do; nothing when every topic exists.
    pub(super) fn complaint(&self) -> Option<String> {
        let count = |presence| self.rows.iter().filter(|row| row.presence == presence).count();
        let all = self.rows.len();
        match (count(TopicPresence::Missing), count(TopicPresence::Unknown)) {
            (0, 0) => None,
            (0, unknown) => Some(format!(
                "Kafka does not say whether {unknown} of {all} topics exist: allow the principal Describe on them"
            )),
            (missing, _) => {
                Some(format!("{missing} of {all} topics are missing: create them with `paybridge topics --create`"))
            }
        }
    }

    /// What clusters charge for, or limit.
    fn sum(&self) -> String {
        let topics = || self.rows.iter().map(|row| row.topic);
        let partitions: i32 = topics().map(|topic| topic.partitions).sum();
        let replicas: i32 = topics().map(|topic| topic.partitions.saturating_mul(topic.replication_factor)).sum();
        format!("{} topics, {partitions} partitions, {replicas} replicas of partitions", self.rows.len())
    }
}

impl fmt::Display for TopicTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |width: fn(&Topic) -> usize| self.rows.iter().map(|row| width(row.topic)).max().unwrap_or(0);
        let (names, messages) = (widest(|topic| topic.name.len()), widest(|topic| topic.message.len()));
        let state = |word: &str| if self.was_asked { format!("  {word:7}") } else { String::new() };
        writeln!(f, "{:names$}{}  PARTITIONS  REPLICAS  {:messages$}  SETTINGS", "TOPIC", state("STATE"), "MESSAGE")?;
        for TopicRow { topic, presence } in &self.rows {
            let settings: Vec<String> = topic.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            writeln!(
                f,
                "{:names$}{}  {:10}  {:8}  {:messages$}  {}",
                topic.name,
                state(presence.word()),
                topic.partitions,
                topic.replication_factor,
                topic.message,
                settings.join(" ")
            )?;
        }
        writeln!(f, "{}", self.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::topics;
    use super::*;

    #[test]
    fn writes_a_line_a_topic_with_aligned_columns() {
        let topics = topics();
        let exists = topics.iter().map(|topic| (topic.name.clone(), Ok(6))).collect();
        for table in [TopicTable::offline(&topics), TopicTable::online(&topics, &exists)] {
            let text = table.to_string();
            let lines: Vec<&str> = text.lines().collect();
            let (last, lines) = lines.split_last().unwrap();
            assert_eq!((lines.len(), *last), (topics.len() + 1, "9 topics, 54 partitions, 162 replicas of partitions"));
            let column = lines[0].find("SETTINGS").unwrap();
            assert!(lines.iter().skip(1).all(|line| line[column..].starts_with("cleanup.policy=")), "{text}");
            assert_eq!(text.contains("STATE"), table.was_asked);
        }
    }

    #[test]
    fn says_what_is_missing_or_not_known() {
        let topics = topics();
        let counts = |states: [Result<usize, TopicState>; 2]| -> Counts {
            let rest = topics.iter().skip(2).map(|topic| (topic.name.clone(), Ok(6)));
            topics.iter().map(|topic| topic.name.clone()).zip(states).chain(rest).collect()
        };
        let missing = "2 of 9 topics are missing: create them with `paybridge topics --create`";
        let hidden = "Kafka does not say whether 1 of 9 topics exist: allow the principal Describe on them";
        for (states, expected) in [
            ([Ok(6), Ok(6)], None),
            ([Err(TopicState::Missing), Err(TopicState::Missing)], Some(missing)),
            ([Err(TopicState::Hidden), Ok(6)], Some(hidden)),
        ] {
            assert_eq!(TopicTable::online(&topics, &counts(states)).complaint().as_deref(), expected);
        }
        let text = TopicTable::online(&topics, &counts([Err(TopicState::Missing), Ok(6)])).to_string();
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line(&topics[0].name).contains(" MISSING "), "{text}");
        assert!(line(&topics[1].name).contains(" exists "), "{text}");
    }
}
