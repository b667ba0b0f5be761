//! `[kafka]`: where Kafka is, what the topics are called, what is set on them, and librdkafka's properties.
//! Must not make clients, nor show any property's value.

pub mod properties;
pub mod topic_settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::files;
use super::names::TopicPrefix;
use crate::settings::list::within;
use crate::settings::{ConfigErrors, Problem, paths};
use properties::Properties;
use topic_settings::TopicSettings;

/// The properties of librdkafka that name files, beside those that end in `.location`.
const PATHS: [&str; 4] = [
    "sasl.kerberos.keytab",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
];
/// Instead of the path of `ssl.ca.location`: librdkafka looks where systems have their certificates.
const PROBE: &str = "probe";

/// Kafka, as all parts use it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// Brokers to begin with: `host:port`, joined by commas.
    #[serde(deserialize_with = "broker_addresses")]
    pub bootstrap_servers: String,
    /// What all topics' names begin with.
    pub topic_prefix: TopicPrefix,
    /// Partitions of each topic, 1 to 10000; fixed for a topic's life.
    #[serde(deserialize_with = "within::<1, 10_000, _, _>")]
    pub partitions: i32,
    /// Replicas of each partition, 1 to 15.
    #[serde(deserialize_with = "within::<1, 15, _, _>")]
    pub replication_factor: i32,
    /// What is set on topics instead of what the bridge would set.
    pub topic_settings: TopicSettings,
    /// librdkafka's properties for all clients.
    pub properties: Properties,
    /// Properties whose values are in files: name and path.
    pub property_files: Properties,
    /// For the ingress's clients.
    pub ingress: KafkaSide,
    /// For the confirmation engine's clients.
    pub engine: KafkaSide,
}

/// One side's properties, over those for all clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSide {
    /// librdkafka's properties.
    pub properties: Properties,
}

/// Whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientSide {
    /// Commands, and what looks at topics.
    Common,
    /// Publishes webhooks.
    Ingress,
    /// Decides on confirmations.
    Engine,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            topic_prefix: TopicPrefix::default(),
            partitions: 12,
            replication_factor: 3,
            topic_settings: TopicSettings::default(),
            properties: Properties::default(),
            property_files: Properties::default(),
            ingress: KafkaSide::default(),
            engine: KafkaSide::default(),
        }
    }
}

impl Kafka {
    /// librdkafka's properties for one client: those for all, then its side's, then those in files, which are read now.
    /// A property with several names goes by one: `linger.ms`, `retries`, `sasl.mechanism` and so on. Those that carry a promise are the client's to add.
    ///
    /// # Errors
    /// Every file that cannot be read or is empty.
    pub fn client_properties(&self, side: ClientSide) -> Result<BTreeMap<String, String>, ConfigErrors> {
        let mut merged = self.properties.pairs().clone();
        let own = match side {
            ClientSide::Common => None,
            ClientSide::Ingress => Some(&self.ingress.properties),
            ClientSide::Engine => Some(&self.engine.properties),
        };
        merged.extend(own.into_iter().flat_map(|own| own.pairs().clone()));
        let mut problems = Vec::new();
        for (name, path) in self.property_files.pairs() {
            match read_value(name, Path::new(path)) {
                Ok(value) => {
                    merged.insert(name.clone(), value);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(merged) } else { Err(ConfigErrors::of(problems)) }
    }

    /// The files that clients log in with, which are read when a client is made: those of `property_files`, and those that
    /// librdkafka reads itself, `ssl.ca.location` and its like.
    pub fn credential_files(&self) -> BTreeSet<PathBuf> {
        let tables = [&self.properties, &self.ingress.properties, &self.engine.properties];
        let of_librdkafka = tables.into_iter().flat_map(Properties::pairs).filter(|(name, _)| names_a_file(name));
        of_librdkafka.chain(self.property_files.pairs()).map(|(_, path)| PathBuf::from(path)).collect()
    }

    /// Makes the names of files that librdkafka reads itself absolute; those of `property_files` are.
    pub(super) fn make_absolute(&mut self, folder: &Path) {
        for properties in [&mut self.properties, &mut self.ingress.properties, &mut self.engine.properties] {
            for (_, value) in properties.pairs_mut().filter(|(name, value)| names_a_path(name) && *value != PROBE) {
                *value = paths::absolute(value, folder);
            }
        }
    }

    /// A property must not be both in a file and beside it: nobody could tell which one counts.
    pub(super) fn check(&self) -> Vec<Problem> {
        let tables = [
            ("kafka.properties", &self.properties),
            ("kafka.ingress.properties", &self.ingress.properties),
            ("kafka.engine.properties", &self.engine.properties),
        ];
        let mut problems = Vec::new();
        for name in self.property_files.pairs().keys() {
            for (table, _) in tables.iter().filter(|(_, properties)| properties.pairs().contains_key(name)) {
                let key = format!("kafka.property_files.{name}");
                problems.push(Problem::with_key(key, &format!("is in `{table}` too"), "remove one of the two"));
            }
        }
        problems
    }
}

/// Whether a property's value is the path of a file with keys or certificates.
fn names_a_file(property: &str) -> bool {
    property.starts_with("ssl.") && property.ends_with(".location")
}

/// Whether a property's value is the path of a file or folder.
fn names_a_path(property: &str) -> bool {
    property.ends_with(".location") || PATHS.contains(&property)
}

fn read_value(name: &str, path: &Path) -> Result<String, Problem> {
    let refuse = |message: &str| {
        let message = format!("names {}, {message}", path.display());
        Problem::with_key(format!("kafka.property_files.{name}"), &message, "give the process a readable text file")
    };
    let bytes = files::read_bounded(path).map_err(|error| refuse(&format!("which cannot be read ({error})")))?;
    match std::str::from_utf8(&bytes).map(str::trim) {
        Err(_) => Err(refuse("which is not text")),
        Ok("") => Err(refuse("which is empty")),
        Ok(value) => Ok(value.to_owned()),
    }
}

fn broker_addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let brokers: Vec<&str> = text.split(',').map(str::trim).collect();
    if brokers.iter().all(|broker| is_address(broker)) {
        return Ok(brokers.join(","));
    }
    Err(de::Error::custom("must be host:port, joined by commas: write it as \"kafka-0:9092,kafka-1:9092\""))
}

fn is_address(broker: &str) -> bool {
    let port_is_number =
        |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
    !broker.contains(char::is_whitespace) && broker.rsplit_once(':').is_some_and(port_is_number)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    fn kafka(toml: &str) -> Result<Kafka, ConfigErrors> {
        Config::from_toml(toml, []).map(|config| config.kafka)
    }

    #[test]
    fn merges_the_sides_properties_over_the_common_ones() {
        let kafka = kafka(
            "[kafka.properties]\nsecurity.protocol = 'sasl_ssl'\n'queue.buffering.max.ms' = 10\nsocket.keepalive.enable = true\n\
             [kafka.ingress.properties]\nlinger.ms = 5\n[kafka.engine.properties]\n'fetch.wait.max.ms' = 10",
        )
        .unwrap();
        for (side, linger, wait) in
            [(ClientSide::Common, "10", None), (ClientSide::Ingress, "5", None), (ClientSide::Engine, "10", Some("10"))]
        {
            let properties = kafka.client_properties(side).unwrap();
            assert_eq!(properties["security.protocol"], "sasl_ssl");
            assert_eq!(properties["socket.keepalive.enable"], "true");
            assert_eq!(properties["linger.ms"], linger, "{side:?}");
            assert_eq!(properties.get("fetch.wait.max.ms").map(String::as_str), wait, "{side:?}");
        }
    }

    #[test]
    fn reads_values_from_files_and_names_those_it_cannot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let path = path.to_str().unwrap();
        fs::write(path, " hunter2\n").unwrap();
        let toml = format!("[kafka.property_files]\nsasl.password = '{path}'\n'ssl.key.password' = '/missing'");
        let told = kafka(&toml).unwrap().client_properties(ClientSide::Common).unwrap_err().to_string();
        assert!(
            told.starts_with("`kafka.property_files.ssl.key.password` names /missing, which cannot be read"),
            "{told}"
        );
        let toml = format!("[kafka.property_files]\nsasl.password = '{path}'");
        assert_eq!(kafka(&toml).unwrap().client_properties(ClientSide::Engine).unwrap()["sasl.password"], "hunter2");
        fs::write(path, "\n").unwrap();
        let told = kafka(&toml).unwrap().client_properties(ClientSide::Engine).unwrap_err().to_string();
        assert!(told.contains("which is empty"), "{told}");
    }

    #[test]
    fn names_every_file_that_a_client_is_made_with() {
        let kafka = kafka(
            "[kafka.properties]\nssl.ca.location = '/ca'\nsasl.username = '/name'\nclient.id = 'ssl.location'\n\
             [kafka.property_files]\nsasl.password = '/password'\n\
             [kafka.ingress.properties]\nssl.certificate.location = '/ingress.crt'\nssl.key.location = '/ingress.key'\n\
             [kafka.engine.properties]\nssl.keystore.location = '/engine.p12'",
        )
        .unwrap();
        let expected = ["/ca", "/engine.p12", "/ingress.crt", "/ingress.key", "/password"].map(PathBuf::from);
        assert_eq!(kafka.credential_files(), BTreeSet::from(expected));
    }

    #[test]
    fn names_of_files_are_relative_to_the_configuration_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("paybridge.toml");
        let text = "[kafka.properties]\nssl.ca.location = '../ca'\nhttps.ca.location = 'probe'\nclient.id = 'a'\n\
                    [kafka.property_files]\nsasl.password = 'secrets/password'\n\
                    [kafka.engine.properties]\nssl.key.location = '/key'\nsasl.kerberos.keytab = 'keytab'";
        fs::write(&file, text).unwrap();
        let kafka = Config::load(Some(&file), []).unwrap().kafka;
        let below = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(kafka.properties.pairs()["ssl.ca.location"], below("../ca"));
        assert_eq!(kafka.properties.pairs()["https.ca.location"], "probe");
        assert_eq!(kafka.properties.pairs()["client.id"], "a");
        assert_eq!(kafka.engine.properties.pairs()["ssl.key.location"], "/key");
        assert_eq!(kafka.engine.properties.pairs()["sasl.kerberos.keytab"], below("keytab"));
        assert_eq!(kafka.property_files.pairs()["sasl.password"], below("secrets/password"));
    }

    #[test]
    fn refuses_a_property_in_a_file_and_beside_it() {
        let toml =
            "[kafka.property_files]\n'sasl.mechanism' = '/a'\n[kafka.engine.properties]\n'sasl.mechanisms' = 'PLAIN'";
        assert_eq!(
            kafka(toml).unwrap_err().to_string(),
            "configuration: `kafka.property_files.sasl.mechanism` is in `kafka.engine.properties` too: \
             remove one of the two"
        );
    }

    #[test]
    fn takes_only_addresses_of_brokers() {
        for (text, good) in [
            ("localhost:9092", true),
            ("a:1, b:2", true),
            ("[::1]:9092", true),
            ("SASL_SSL://a:9092", true),
            ("", false),
            ("a", false),
            ("a:", false),
            (":9092", false),
            ("a:0", false),
            ("a:1,,b:1", false),
            ("a b:1", false),
        ] {
            assert_eq!(kafka(&format!("[kafka]\nbootstrap_servers = '{text}'")).is_ok(), good, "{text}");
        }
    }
}
