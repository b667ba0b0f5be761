//! librdkafka's properties as users may set them: which are refused, and one name where it has several.
//! Must not show a value: `sasl.password` may be one.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Properties by name, each with its value as text.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Properties(BTreeMap<String, String>);

/// librdkafka's other names for a property: left ours, right the one that goes on.
/// One name each, because clients take them in no order and the last would win.
const ALIASES: [(&str, &str); 8] = [
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.codec", "compression.type"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
    ("metadata.broker.list", "bootstrap.servers"),
];

const SET_ELSEWHERE: &str = "the bridge sets it from another key";
const SAFE: &str = "200 means that all in-sync replicas have the record";
const ORDER: &str = "one payment's events stay in order";
const PARTITION: &str = "every client finds a payment in the same partition";
const DEADLINE: &str = "it follows from ingress.ack_timeout_ms";
const SIZE: &str = "it follows from ingress.body_bytes_max";
const REPORTS: &str = "every record's delivery is reported";
const ONE_DECISION: &str = "a session gets one decision";
const OFFSETS: &str = "offsets are committed with what was decided";
const TOPICS: &str = "topics are made on purpose, with their settings";
const READINESS: &str = "readiness is read from the statistics";
const VERSIONS: &str = "idempotence and headers need what brokers say of themselves";
const EVENTS: &str = "the client takes librdkafka's events itself";
const CODE: &str = "it loads code into the process";
const TESTS: &str = "nothing would reach Kafka";

/// Properties that carry a promise, every name of each, with the promise. `test.*` are refused as well.
const REFUSED: [(&str, &str); 45] = [
    ("bootstrap.servers", SET_ELSEWHERE),
    ("metadata.broker.list", SET_ELSEWHERE),
    ("acks", SAFE),
    ("request.required.acks", SAFE),
    ("enable.idempotence", SAFE),
    ("enable.gapless.guarantee", SAFE),
    ("max.in.flight", ORDER),
    ("max.in.flight.requests.per.connection", ORDER),
    ("queuing.strategy", ORDER),
    ("msg_order_cmp", ORDER),
    ("partitioner", PARTITION),
    ("partitioner_cb", PARTITION),
    ("message.timeout.ms", DEADLINE),
    ("delivery.timeout.ms", DEADLINE),
    ("message.max.bytes", SIZE),
    ("delivery.report.only.error", REPORTS),
    ("produce.offset.report", REPORTS),
    ("transactional.id", ONE_DECISION),
    ("transaction.timeout.ms", ONE_DECISION),
    ("isolation.level", ONE_DECISION),
    ("group.id", ONE_DECISION),
    ("group.instance.id", ONE_DECISION),
    ("group.protocol", ONE_DECISION),
    ("group.protocol.type", ONE_DECISION),
    ("group.remote.assignor", ONE_DECISION),
    ("partition.assignment.strategy", ONE_DECISION),
    ("enable.partition.eof", ONE_DECISION),
    ("session.timeout.ms", ONE_DECISION),
    ("heartbeat.interval.ms", ONE_DECISION),
    ("max.poll.interval.ms", ONE_DECISION),
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("auto.commit.interval.ms", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("auto.offset.reset", OFFSETS),
    ("offset.store.method", OFFSETS),
    ("allow.auto.create.topics", TOPICS),
    ("statistics.interval.ms", READINESS),
    ("api.version.request", VERSIONS),
    ("api.version.fallback.ms", VERSIONS),
    ("broker.version.fallback", VERSIONS),
    ("enabled_events", EVENTS),
    ("enable_sasl_queue", EVENTS),
    ("log.queue", EVENTS),
    ("plugin.library.paths", CODE),
];

impl Properties {
    /// Names and values.
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Names, and values to be changed.
    pub(super) fn pairs_mut(&mut self) -> impl Iterator<Item = (&String, &mut String)> {
        self.0.iter_mut()
    }
}

/// Names only.
impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PropertiesVisitor)
    }
}

/// Why a property may not be set; none when it may. librdkafka takes topic properties with `topic.` before them too.
fn promise(name: &str) -> Option<&'static str> {
    let name = bare(name);
    match REFUSED.iter().find(|(refused, _)| *refused == name) {
        Some((_, promise)) => Some(promise),
        None if name.starts_with("test.") => Some(TESTS),
        None => None,
    }
}

/// Without the `topic.` that librdkafka takes before every topic property; a few global ones have it in their own names.
fn bare(name: &str) -> &str {
    match name.strip_prefix("topic.") {
        Some(rest) if !rest.starts_with("metadata.") && rest != "blacklist" => rest,
        _ => name,
    }
}

/// The one name of a property.
fn one_name(name: &str) -> &str {
    let name = bare(name);
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name)
}

struct PropertiesVisitor;

impl<'de> Visitor<'de> for PropertiesVisitor {
    type Value = Properties;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Properties, A::Error> {
        let mut properties = BTreeMap::new();
        while let Some(name) = entries.next_key::<String>()? {
            let taken = properties.contains_key(one_name(&name));
            let value = entries.next_value_seed(PropertyValue { name: &name, taken })?;
            properties.insert(one_name(&name).to_owned(), value);
        }
        Ok(Properties(properties))
    }
}

/// Reads one value; it complains here about the name as well, because errors from here carry the property's path.
struct PropertyValue<'a> {
    name: &'a str,
    taken: bool,
}

impl<'de> DeserializeSeed<'de> for PropertyValue<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        if let Some(promise) = promise(self.name) {
            return Err(de::Error::custom(format!("is not yours to set, because {promise}: remove it")));
        }
        if self.taken {
            let one_name = one_name(self.name);
            return Err(de::Error::custom(format!("is another name of `{one_name}`, which is set too: remove one")));
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// Reads a value as text.
pub(super) struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text in quotes, a whole number, true or false")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn check(toml: &str, expected: &str) {
        let told = match Config::from_toml(&format!("[kafka.properties]\n{toml}"), []) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string(),
        };
        assert_eq!(told, expected, "{toml}");
    }

    #[test]
    fn refuses_every_property_that_carries_a_promise() {
        assert_eq!(bare("topic.metadata.refresh.interval.ms"), "topic.metadata.refresh.interval.ms");
        let hidden = [("topic.acks", SAFE), ("topic.partitioner", PARTITION), ("test.mock.num.brokers", TESTS)];
        for (name, promise) in REFUSED.into_iter().chain(hidden) {
            check(
                &format!("'{name}' = 'hunter2'"),
                &format!("configuration: `kafka.properties.{name}` is not yours to set, because {promise}: remove it"),
            );
        }
    }

    #[test]
    fn refuses_them_in_every_table() {
        for table in ["properties", "property_files", "ingress.properties", "engine.properties"] {
            let told = Config::from_toml(&format!("[kafka.{table}]\nacks = '1'\ngroup.id = 'x'"), []).unwrap_err();
            let keys: Vec<&str> = told.problems().iter().map(|problem| problem.key.as_str()).collect();
            assert_eq!(keys, [format!("kafka.{table}.acks"), format!("kafka.{table}.group.id")]);
        }
    }

    #[test]
    fn takes_text_whole_numbers_and_booleans_only() {
        check("a = 'x'\nb = -1\nc = true\nd = 9000000000", "");
        let must = "must be text in quotes, a whole number, true or false: correct the value";
        for value in ["1.5", "['hunter2']"] {
            check(&format!("a.b = {value}"), &format!("configuration: `kafka.properties.a.b` {must}"));
        }
    }

    #[test]
    fn refuses_two_names_of_one_property() {
        check(
            "'linger.ms' = 5\n'queue.buffering.max.ms' = 6",
            "configuration: `kafka.properties.queue.buffering.max.ms` is another name of `linger.ms`, \
             which is set too: remove one",
        );
    }

    #[test]
    fn shows_no_value_when_printed_for_debugging() {
        let config = Config::from_toml("[kafka.properties]\n'sasl.password' = 'hunter2'", []).unwrap();
        let printed = format!("{config:?}");
        assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
    }
}
