//! The two names that become parts of topics, paths and label values: a source's, and the topics' prefix.
//! Must not know where they are configured.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A label of the domain name system is as long, and so are Kubernetes' names.
const LABEL_BYTES_MAX: usize = 63;

/// Kafka's names end at 249 bytes; this leaves room for provider, event type and version.
const TOPIC_PREFIX_BYTES_MAX: usize = 128;

/// A source's name: lower-case letters, digits, and hyphens between them, 1 to 63.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

impl SourceName {
    /// The name, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        is_label(text).then(|| Self(text.to_owned()))
    }
}

/// What all topics' names begin with: parts as in a source's name, joined by dots, at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct TopicPrefix(String);

impl TopicPrefix {
    /// The prefix, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let valid = text.len() <= TOPIC_PREFIX_BYTES_MAX && text.split('.').all(is_label);
        valid.then(|| Self(text.to_owned()))
    }
}

impl Default for TopicPrefix {
    fn default() -> Self {
        Self("payments".to_owned())
    }
}

impl<'de> Deserialize<'de> for TopicPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| {
            de::Error::custom(
                "must be lower-case letters, digits and hyphens in parts joined by dots, 128 in all: \
                 write it as \"payments\" or \"shop.payments\"",
            )
        })
    }
}

/// `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LABEL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for SourceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SourceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for TopicPrefix {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_names_that_fit_everywhere() {
        let longest = "a".repeat(63);
        for name in ["a", "7", "sg-main", "a--b", longest.as_str()] {
            assert!(SourceName::new(name).is_some(), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in ["", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "a/b", too_long.as_str()] {
            assert!(SourceName::new(name).is_none(), "{name}");
        }
    }

    #[test]
    fn takes_only_prefixes_made_of_such_names() {
        for prefix in ["payments", "shop.payments", "a.b-c.7"] {
            assert!(TopicPrefix::new(prefix).is_some(), "{prefix}");
        }
        let too_long = ["a".repeat(63).as_str(), "b".repeat(63).as_str(), "cc"].join(".");
        for prefix in ["", ".", "a.", ".a", "a..b", "a_b", "Payments", too_long.as_str()] {
            assert!(TopicPrefix::new(prefix).is_none(), "{prefix}");
        }
    }
}
