//! Which topic an event of a sender goes to, by its type: patterns with `*` for any characters, the most exact first.
//! Must not know Kafka.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::provider::{EventType, Payload};

/// The message on all topics of such senders.
const MESSAGE: &str = "paybridge.webhook.v1.WebhookReceived";
/// Where an event goes whose type fits no pattern.
const RECEIVED: &str = "received";
/// The longest part of a topic's name; Kafka takes 249 bytes for the whole.
const PART_BYTES_MAX: usize = 63;

/// The patterns of one source.
#[derive(Clone, Debug)]
pub struct TopicPatterns {
    /// The most exact first.
    patterns: Vec<TopicPattern>,
    received: &'static EventType,
}

#[derive(Clone, Debug)]
struct TopicPattern {
    /// What stands between the `*`s, which stand for any characters: one piece where there is none.
    pieces: Vec<String>,
    event_type: &'static EventType,
}

impl TopicPatterns {
    /// Reads event type → topic part.
    ///
    /// # Errors
    /// The pattern that cannot be used, and why.
    pub fn new(settings: &BTreeMap<String, String>) -> Result<Self, (String, String)> {
        let mut patterns = Vec::new();
        for (pattern, part) in settings {
            if part.is_empty() {
                // So a user takes a preset's pattern away.
                continue;
            }
            let refuse = |problem: &str| Err((format!("topics.{pattern}"), problem.to_owned()));
            if !is_part(part) {
                return refuse(
                    "must be a part of a topic's name: use 1 to 63 lower-case letters, digits, and hyphens between them",
                );
            }
            let pieces = pattern.split('*').map(str::to_owned).collect();
            patterns.push(TopicPattern { pieces, event_type: interned(part) });
        }
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.exactness()));
        Ok(Self { patterns, received: interned(RECEIVED) })
    }

    /// The topic of an event of this type.
    pub fn of(&self, event_type: &str) -> &'static EventType {
        self.patterns
            .iter()
            .find(|pattern| pattern.fits(event_type))
            .map_or(self.received, |pattern| pattern.event_type)
    }

    /// Every topic, in the order of their names.
    pub fn event_types(&self) -> Vec<&'static EventType> {
        let named = self.patterns.iter().map(|pattern| pattern.event_type);
        let parts: BTreeMap<&str, &'static EventType> =
            named.chain([self.received]).map(|event_type| (event_type.topic_part, event_type)).collect();
        parts.into_values().collect()
    }

    /// An event type that goes to this topic; none where every type that could is another's.
    pub fn example(&self, event_type: &EventType) -> Option<String> {
        let candidates = self.patterns.iter().map(|pattern| pattern.pieces.join("sample"));
        let any = ["sample.received".to_owned(), String::new()];
        candidates.chain(any).find(|candidate| self.of(candidate) == event_type)
    }
}

impl TopicPattern {
    fn fits(&self, event_type: &str) -> bool {
        match self.pieces.as_slice() {
            [] => false,
            [whole] => whole == event_type,
            [first, middle @ .., last] => {
                let rest = event_type.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
                let behind = |rest: &'_ str, piece: &String| rest.find(piece.as_str()).map(|at| at + piece.len());
                let mut rest = rest;
                for piece in middle {
                    rest = rest.and_then(|rest| rest.get(behind(rest, piece)?..));
                }
                rest.is_some()
            }
        }
    }

    /// Without a `*` first, then by the characters that are given, then by name.
    fn exactness(&self) -> (bool, usize, String) {
        (self.pieces.len() == 1, self.pieces.iter().map(String::len).sum(), self.pieces.concat())
    }
}

/// Whether a text can be a part of a topic's name.
pub fn is_part(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=PART_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| letter(*byte) || *byte == b'-')
        && [bytes.first(), bytes.last()].into_iter().flatten().all(|byte| letter(*byte))
}

/// The event type with this topic part. It lives as long as the process, as those of other providers do: there are as many as
/// configurations name.
fn interned(part: &str) -> &'static EventType {
    static KNOWN: Mutex<BTreeMap<String, &'static EventType>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(event_type) = known.get(part) {
        return event_type;
    }
    let topic_part = super::interned(part);
    let event_type: &'static EventType =
        Box::leak(Box::new(EventType { topic_part, message: MESSAGE, payload: Payload::Raw }));
    known.insert(part.to_owned(), event_type);
    event_type
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(rows: &[(&str, &str)]) -> TopicPatterns {
        let rows = rows.iter().map(|(pattern, part)| ((*pattern).to_owned(), (*part).to_owned()));
        TopicPatterns::new(&rows.collect()).unwrap()
    }

    #[test]
    fn the_most_exact_pattern_wins() {
        let patterns = patterns(&[
            ("charge.*", "charge"),
            ("charge.dispute.*", "dispute"),
            ("charge.refunded", "refund"),
            ("*.failed", "failed"),
            ("*_alert.*ed", "alert"),
        ]);
        for (event_type, expected) in [
            ("charge.succeeded", "charge"),
            ("charge.dispute.created", "dispute"),
            ("charge.refunded", "refund"),
            ("charge.", "charge"),
            ("charge", "received"),
            ("payout.failed", "failed"),
            // both give seven characters: by name
            ("charge.failed", "charge"),
            ("secret_scanning_alert.created", "alert"),
            ("_alert.ed", "alert"),
            ("_alert.d", "received"),
            ("_alerted", "received"),
            ("", "received"),
        ] {
            assert_eq!(patterns.of(event_type).topic_part, expected, "{event_type}");
        }
        let parts: Vec<&str> = patterns.event_types().iter().map(|event_type| event_type.topic_part).collect();
        assert_eq!(parts, ["alert", "charge", "dispute", "failed", "received", "refund"]);
    }

    #[test]
    fn gives_an_example_for_each_topic_that_can_be_reached() {
        let patterns = patterns(&[("a.*", "a"), ("a.b", "b"), ("*", "all")]);
        for event_type in patterns.event_types() {
            match patterns.example(event_type) {
                Some(example) => assert_eq!(patterns.of(&example), event_type),
                None => assert_eq!(event_type.topic_part, "received", "`*` takes every type"),
            }
        }
    }

    #[test]
    fn refuses_what_is_no_part_of_a_name() {
        for part in ["-a", "a-", "A", "a_b", "a.b", &"a".repeat(64)] {
            let rows = BTreeMap::from([("x".to_owned(), part.to_owned())]);
            let (key, problem) = TopicPatterns::new(&rows).unwrap_err();
            assert!(key == "topics.x" && problem.starts_with("must be a part of a topic's name"), "{part}");
        }
    }
}
