//! Environment variables that look as if they set a key and set none, because two underscores are missing: with the name that
//! would set it. Must not read the environment.

use figment::error::{Error, Kind};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::confirmation::Confirmation;
use super::daemon::{Admin, Log, Shutdown};
use super::events::{Dedup, Evidence, RejectedSamples};
use super::ingress::{IngressConfig, IngressTls};
use super::kafka::{Kafka, KafkaSide};
use crate::settings::variables::{PREFIX, SEPARATOR};

/// How alike a part of a name and a key must be (0 to 1) for the one to be meant for the other.
const LIKENESS_MIN: f64 = 0.8;

/// A variable that sets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredVariable {
    /// Its name.
    pub name: String,
    /// The name that would set the key that is probably meant.
    pub instead: String,
}

impl IgnoredVariable {
    /// Looks at the name of a variable that begins as ours do and has no two underscores in a row. Nothing where it looks like
    /// none of our keys, or like what Kubernetes sets for services. `sources` are the names of the configured sources.
    pub(super) fn of<'s>(name: &str, sources: impl IntoIterator<Item = &'s str>) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        if is_of_a_service(rest) {
            return None;
        }
        let key = meant(&rest.to_ascii_lowercase(), sources)?;
        let levels: Vec<String> = key.iter().map(|level| level.replace('-', "_").to_ascii_uppercase()).collect();
        // The one key at the top is written with two underscores before it.
        let before = if levels.len() == 1 { "_" } else { "" };
        Some(Self { name: name.to_owned(), instead: format!("{PREFIX}{before}{}", levels.join(SEPARATOR)) })
    }
}

/// Whether Kubernetes sets such a variable for a service of the namespace: `…_SERVICE_HOST`, `…_SERVICE_PORT`,
/// `…_SERVICE_PORT_HTTP`, `…_PORT`, `…_PORT_9090_TCP`, `…_PORT_9090_TCP_ADDR`. What stands before it is the service's name.
fn is_of_a_service(rest: &str) -> bool {
    let parts: Vec<&str> = rest.split('_').collect();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_link = |at: &[&str]| match at {
        ["SERVICE", "HOST"] | ["PORT"] | ["SERVICE", "PORT", ..] => true,
        ["PORT", number, "TCP" | "UDP" | "SCTP"]
        | ["PORT", number, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"] => is_number(number),
        _ => false,
    };
    (0..parts.len()).any(|begin| parts.get(begin..).is_some_and(is_link))
}

/// The levels of the key that is meant.
fn meant<'s>(rest: &str, sources: impl IntoIterator<Item = &'s str>) -> Option<Vec<String>> {
    if is_like(rest, "bridge_instance") {
        return Some(vec!["bridge_instance".to_owned()]);
    }
    if let Some(rest) = rest.strip_prefix("sources_") {
        return of_source(rest, sources);
    }
    // The longest table first.
    tables().iter().find_map(|(table, keys)| {
        let key = rest.strip_prefix(&table.join("_"))?.strip_prefix('_')?;
        let levels = |key: &mut dyn Iterator<Item = String>| {
            table.iter().map(|level| (*level).to_owned()).chain(key).collect::<Vec<String>>()
        };
        match keys {
            TableKeys::Dotted => Some(levels(&mut key.split('_').map(str::to_owned))),
            TableKeys::Known(known) => {
                let known = known.iter().find(|known| is_like(key, known))?;
                Some(levels(&mut std::iter::once((*known).to_owned())))
            }
        }
    })
}

fn of_source<'s>(rest: &str, sources: impl IntoIterator<Item = &'s str>) -> Option<Vec<String>> {
    let behind = |source: &str| rest.strip_prefix(&source.replace('-', "_"))?.strip_prefix('_');
    let (source, key) = sources
        .into_iter()
        .filter_map(|source| Some((source, behind(source)?)))
        .max_by_key(|(source, _)| source.len())?;
    let key = match key.strip_prefix("api_") {
        Some(key) => vec!["api".to_owned(), key.to_owned()],
        None => vec![key.to_owned()],
    };
    Some(["sources".to_owned(), source.to_owned()].into_iter().chain(key).collect())
}

fn is_like(written: &str, key: &str) -> bool {
    strsim::normalized_damerau_levenshtein(written, key) >= LIKENESS_MIN
}

/// What may stand in a table.
enum TableKeys {
    /// These keys.
    Known(&'static [&'static str]),
    /// Kafka's own names, with dots in them.
    Dotted,
}

/// Every table of the configuration but those of sources, the longest names first.
fn tables() -> [(&'static [&'static str], TableKeys); 16] {
    let known = TableKeys::Known;
    [
        (&["kafka", "ingress", "properties"], TableKeys::Dotted),
        (&["kafka", "engine", "properties"], TableKeys::Dotted),
        (&["kafka", "property_files"], TableKeys::Dotted),
        (&["kafka", "properties"], TableKeys::Dotted),
        (&["kafka", "ingress"], known(keys_of::<KafkaSide>())),
        (&["kafka", "engine"], known(keys_of::<KafkaSide>())),
        (&["kafka"], known(keys_of::<Kafka>())),
        (&["ingress", "tls"], known(keys_of::<IngressTls>())),
        (&["ingress"], known(keys_of::<IngressConfig>())),
        (&["admin"], known(keys_of::<Admin>())),
        (&["dedup"], known(keys_of::<Dedup>())),
        (&["rejected"], known(keys_of::<RejectedSamples>())),
        (&["evidence"], known(keys_of::<Evidence>())),
        (&["shutdown"], known(keys_of::<Shutdown>())),
        (&["log"], known(keys_of::<Log>())),
        (&["confirmation"], known(keys_of::<Confirmation>())),
    ]
}

/// The keys that a table takes: serde tells them when it meets one that it does not know.
pub(super) fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let odd = Value::from(Dict::from([("no such key".to_owned(), Value::from(0))]));
    match odd.deserialize::<T>().map_err(|error: Error| error.kind) {
        Err(Kind::UnknownField(_, known)) => known,
        Err(_) | Ok(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variable: &str, expected: Option<&str>) {
        let found = IgnoredVariable::of(variable, ["sg", "sg-main", "udt"]);
        assert_eq!(found.map(|found| found.instead).as_deref(), expected, "{variable}");
    }

    #[test]
    fn tells_the_name_that_would_set_the_key() {
        for (variable, expected) in [
            ("PAYBRIDGE_KAFKA_BOOTSTRAP_SERVERS", "PAYBRIDGE_KAFKA__BOOTSTRAP_SERVERS"),
            ("PAYBRIDGE_KAFKA_BOOTSTRAP_SERVER", "PAYBRIDGE_KAFKA__BOOTSTRAP_SERVERS"),
            ("PAYBRIDGE_KAFKA_PROPERTIES_SASL_USERNAME", "PAYBRIDGE_KAFKA__PROPERTIES__SASL__USERNAME"),
            ("PAYBRIDGE_KAFKA_PROPERTY_FILES_SASL_PASSWORD", "PAYBRIDGE_KAFKA__PROPERTY_FILES__SASL__PASSWORD"),
            ("PAYBRIDGE_KAFKA_ENGINE_PROPERTIES_LINGER_MS", "PAYBRIDGE_KAFKA__ENGINE__PROPERTIES__LINGER__MS"),
            ("PAYBRIDGE_INGRESS_TLS_CERT_FILE", "PAYBRIDGE_INGRESS__TLS__CERT_FILE"),
            ("PAYBRIDGE_INGRESS_LISTEN", "PAYBRIDGE_INGRESS__LISTEN"),
            ("PAYBRIDGE_LOG_LEVEL", "PAYBRIDGE_LOG__LEVEL"),
            ("PAYBRIDGE_CONFIRMATION_DRY_RUN", "PAYBRIDGE_CONFIRMATION__DRY_RUN"),
            ("PAYBRIDGE_BRIDGE_INSTANCE", "PAYBRIDGE__BRIDGE_INSTANCE"),
            ("PAYBRIDGE_SOURCES_SG_MAIN_PUBLIC_KEY_FILES", "PAYBRIDGE_SOURCES__SG_MAIN__PUBLIC_KEY_FILES"),
            ("PAYBRIDGE_SOURCES_SG_API_BASE_URL", "PAYBRIDGE_SOURCES__SG__API__BASE_URL"),
        ] {
            check(variable, Some(expected));
        }
    }

    #[test]
    fn says_nothing_of_what_looks_like_no_key() {
        for variable in
            ["PAYBRIDGE_CONFIG", "PAYBRIDGE_KAFKA", "PAYBRIDGE_KAFKA_TESTS", "PAYBRIDGE_SOURCES_NOBODY_PATH"]
        {
            check(variable, None);
        }
    }

    /// For services called `paybridge`, `paybridge-kafka`, `paybridge-ingress`, `paybridge-admin-eu`.
    #[test]
    fn says_nothing_of_what_kubernetes_sets_for_services() {
        for service in ["", "KAFKA_", "KAFKA_PROPERTIES_", "INGRESS_", "ADMIN_EU_", "LOG_LEVEL_"] {
            for end in [
                "SERVICE_HOST",
                "SERVICE_PORT",
                "SERVICE_PORT_HTTP",
                "SERVICE_PORT_TCP_CLIENTS",
                "PORT",
                "PORT_9090_TCP",
                "PORT_9090_TCP_PROTO",
                "PORT_9090_TCP_PORT",
                "PORT_9090_TCP_ADDR",
                "PORT_53_UDP_ADDR",
            ] {
                check(&format!("PAYBRIDGE_{service}{end}"), None);
            }
        }
    }

    #[test]
    fn knows_the_keys_of_every_table() {
        for (table, keys) in tables() {
            assert!(!matches!(keys, TableKeys::Known([])), "{table:?}");
        }
    }
}
