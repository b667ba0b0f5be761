//! `[kafka.topic_settings."PATTERN"]`: what somebody sets on topics instead of what the bridge would set.
//! Must not know which topics there are, nor what the bridge would set.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::properties::TextVisitor;
use crate::settings::list::within;

/// The value that leaves a setting to the cluster.
const OMIT: &str = "omit";
/// The key that is no setting of Kafka's.
const PARTITIONS: &str = "partitions";

/// Settings that a promise fixes, with the promise. A cluster may refuse to be told them, so they can be left out.
const FIXED: [(&str, &str); 3] = [
    ("cleanup.policy", "compaction would remove events, and deletion by age would remove open sessions"),
    ("message.timestamp.type", "only the broker's time shows that a replica's clock is wrong"),
    ("unclean.leader.election.enable", "a replica that missed records could become leader"),
];

/// Overrides by the pattern of the topics that they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct TopicSettings(BTreeMap<String, TopicOverride>);

/// What is set on a topic instead of what the bridge would set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct TopicOverride {
    /// How many partitions, instead of `kafka.partitions`.
    pub partitions: Option<i32>,
    /// Kafka's names of settings; `None` leaves one to the cluster.
    pub settings: BTreeMap<String, Option<String>>,
}

impl TopicSettings {
    /// What counts for the topic of this full name. Where several patterns match it, each setting is the one of the pattern
    /// with the most characters besides `*`; of equally long ones, of the last in the order of the alphabet.
    pub fn of(&self, topic: &str) -> TopicOverride {
        let mut matching: Vec<(&String, &TopicOverride)> =
            self.0.iter().filter(|(pattern, _)| matches(pattern, topic)).collect();
        matching.sort_by_key(|(pattern, _)| pattern.bytes().filter(|byte| *byte != b'*').count());
        let mut merged = TopicOverride::default();
        for (_, each) in matching {
            merged.partitions = each.partitions.or(merged.partitions);
            merged.settings.extend(each.settings.clone());
        }
        merged
    }
}

/// Whether a name is of a pattern, in which `*` stands for any characters or none.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(before) else {
        return false;
    };
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.filter_map(|at| rest.get(at..)).any(|rest| matches(after, rest))
}

impl<'de> Deserialize<'de> for TopicSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PatternsVisitor)
    }
}

struct PatternsVisitor;

impl<'de> Visitor<'de> for PatternsVisitor {
    type Value = TopicSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tables named by patterns of topics")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<TopicSettings, A::Error> {
        let mut patterns = BTreeMap::new();
        while let Some(pattern) = entries.next_key::<String>()? {
            let each = entries.next_value_seed(OverrideOf { pattern: &pattern })?;
            patterns.insert(pattern, each);
        }
        Ok(TopicSettings(patterns))
    }
}

/// Reads one table. It complains about the pattern too, because an error from here carries its path.
struct OverrideOf<'a> {
    pattern: &'a str,
}

impl<'de> DeserializeSeed<'de> for OverrideOf<'_> {
    type Value = TopicOverride;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<TopicOverride, D::Error> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-*".contains(&byte);
        if self.pattern.is_empty() || !self.pattern.bytes().all(is_name) {
            let message = "matches no topic: write a topic's full name, in which * stands for any characters";
            return Err(de::Error::custom(message));
        }
        deserializer.deserialize_map(OverrideVisitor)
    }
}

struct OverrideVisitor;

impl<'de> Visitor<'de> for OverrideVisitor {
    type Value = TopicOverride;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of topic settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<TopicOverride, A::Error> {
        let mut read = TopicOverride::default();
        while let Some(name) = entries.next_key::<String>()? {
            if name == PARTITIONS {
                read.partitions = Some(entries.next_value_seed(Partitions)?);
            } else {
                let value = entries.next_value_seed(Setting { name: &name })?;
                read.settings.insert(name, value);
            }
        }
        Ok(read)
    }
}

struct Partitions;

impl<'de> DeserializeSeed<'de> for Partitions {
    type Value = i32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<i32, D::Error> {
        within::<1, 10_000, _, _>(deserializer)
    }
}

/// Reads one setting's value; none where it is to be left out.
struct Setting<'a> {
    name: &'a str,
}

impl<'de> DeserializeSeed<'de> for Setting<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        let value = deserializer.deserialize_any(TextVisitor)?;
        if value == OMIT {
            return Ok(None);
        }
        match FIXED.iter().find(|(fixed, _)| *fixed == self.name) {
            Some((_, promise)) => {
                let message = format!("is not yours to set, because {promise}: remove it, or write \"{OMIT}\"");
                Err(de::Error::custom(message))
            }
            None => Ok(Some(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(toml: &str) -> TopicSettings {
        Config::from_toml(toml, []).unwrap().kafka.topic_settings
    }

    #[test]
    fn the_more_exact_pattern_counts_setting_by_setting() {
        let settings = read(
            "[kafka.topic_settings.'*']\npartitions = 3\nretention.ms = 1\n'segment.ms' = 'omit'\n\
             [kafka.topic_settings.'*.quarantine.v1']\nretention.ms = -1\n\
             [kafka.topic_settings.'payments.quarantine.v1']\npartitions = 1\nretention.ms = 'omit'\n",
        );
        let check = |topic: &str, partitions, retention: Option<&str>| {
            let own = settings.of(topic);
            assert_eq!(own.partitions, Some(partitions), "{topic}");
            assert_eq!(own.settings["retention.ms"].as_deref(), retention, "{topic}");
            assert_eq!(own.settings["segment.ms"], None, "{topic}");
        };
        check("payments.unrecognized.v1", 3, Some("1"));
        check("other.quarantine.v1", 3, Some("-1"));
        check("payments.quarantine.v1", 1, None);
        assert_eq!(read("").of("payments.quarantine.v1"), TopicOverride::default());
    }

    #[test]
    fn a_star_stands_for_any_characters_or_none() {
        for (pattern, name, expected) in [
            ("*", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "b.a.", false),
            ("*.v1", "a.v1", true),
            ("*.v1", "a.v10", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-bb-c", true),
            ("a*b*c", "acb", false),
            ("a", "a", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn names_the_pattern_and_the_setting_that_cannot_be_used() {
        let check = |toml: &str, expected: &str| {
            let errors = Config::from_toml(toml, []).unwrap_err().to_string();
            assert_eq!(errors, format!("configuration: `kafka.topic_settings.{expected}"), "{toml}");
        };
        check(
            "[kafka.topic_settings.'Payments_*']\n",
            "Payments_*` matches no topic: write a topic's full name, in which * stands for any characters",
        );
        check(
            "[kafka.topic_settings.'*']\npartitions = 0",
            "*.partitions` must be a whole number from 1 to 10000: correct the value",
        );
        check(
            "[kafka.topic_settings.'*']\nretention.ms = 1.5",
            "*.retention.ms` must be text in quotes, a whole number, true or false: correct the value",
        );
        for (name, promise) in FIXED {
            check(
                &format!("[kafka.topic_settings.'*']\n{name} = 'hunter2'"),
                &format!("*.{name}` is not yours to set, because {promise}: remove it, or write \"omit\""),
            );
            assert_eq!(read(&format!("[kafka.topic_settings.'*']\n{name} = 'omit'")).of("a").settings[name], None);
        }
    }
}
