//! Settings that work and are seldom meant, and those that do nothing at all.
//! Must not read files, nor show a configured secret.

use std::net::IpAddr;

use crate::config::{Config, DedupMode, IgnoredVariable};
use crate::finding::{Code, Finding, counted};

/// Fewer replicas do not outlive the loss of a broker without either losing records or taking none.
const REPLICAS_SAFE: i32 = 3;

/// What is to be said of a configuration that can be used.
pub(super) fn of_config(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> = config.ignored_variables.iter().map(of_variable).collect();
    if !config.ingress.enabled && !config.confirmation.enabled {
        let message = "ingress.enabled and confirmation.enabled are both false: `paybridge run` has nothing to run";
        findings.push(Finding::new(Code::NothingToRun, "ingress.enabled", message));
    }
    if config.ingress.enabled && config.sources.is_empty() {
        let message = "no source is configured: every webhook is answered 404";
        findings.push(Finding::new(Code::NoSources, "sources", message));
    }
    match config.dedup.mode {
        DedupMode::Off => {
            findings.push(Finding::new(Code::DedupOff, "dedup.mode", "redeliveries are published again"));
        }
        DedupMode::Shared | DedupMode::Local
            if u64::try_from(config.dedup.entries_max).is_ok_and(|max| max < config.dedup.window_s) =>
        {
            let message =
                "there is room for less than one event a second: events may be forgotten before dedup.window_s";
            findings.push(Finding::new(Code::DedupEntriesFew, "dedup.entries_max", message));
        }
        DedupMode::Shared | DedupMode::Local => {}
    }
    if config.kafka.replication_factor < REPLICAS_SAFE {
        let replicas = counted(config.kafka.replication_factor, "replica");
        let (code, message) = if is_on_this_machine(&config.kafka.bootstrap_servers) {
            (Code::ReplicationLocal, format!("topics have {replicas}: enough for a Kafka on this machine"))
        } else {
            let rest = "when one broker is lost, records are lost, or webhooks are answered 503";
            (Code::ReplicationLow, format!("topics have {replicas}: {rest}"))
        };
        findings.push(Finding::new(code, "kafka.replication_factor", message));
    }
    findings
}

fn of_variable(variable: &IgnoredVariable) -> Finding {
    let IgnoredVariable { name, instead } = variable;
    let finding = Finding::new(Code::EnvironmentIgnored, name, "this environment variable sets no key");
    finding.with_action(format!("did you mean {instead}?"))
}

/// Whether every broker to begin with is this machine's own.
pub(super) fn is_on_this_machine(bootstrap_servers: &str) -> bool {
    bootstrap_servers.split(',').all(|broker| {
        let address = broker.rsplit("//").next().unwrap_or_default();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: (Code, &str) = (Code::NothingToRun, "ingress.enabled");

    fn codes(findings: &[Finding]) -> Vec<(Code, &str)> {
        findings.iter().map(|finding| (finding.code, finding.subject.as_str())).collect()
    }

    #[test]
    fn one_replica_is_no_warning_on_ones_own_machine() {
        for (bootstrap_servers, expected) in [
            ("localhost:9092", Code::ReplicationLocal),
            ("127.0.0.1:1,[::1]:2", Code::ReplicationLocal),
            ("PLAINTEXT://localhost:9092", Code::ReplicationLocal),
            ("localhost:9092,kafka:9092", Code::ReplicationLow),
            ("127.0.0.1.example.com:9092", Code::ReplicationLow),
        ] {
            let toml = format!("[kafka]\nreplication_factor = 1\nbootstrap_servers = '{bootstrap_servers}'");
            let findings = of_config(&Config::from_toml(&toml, []).unwrap());
            assert_eq!(findings.last().map(|finding| finding.code), Some(expected), "{bootstrap_servers}");
        }
    }

    #[test]
    fn names_the_variable_that_is_meant() {
        let environment = [("PAYBRIDGE_KAFKA_TOPIC_PREFIX", "x"), ("PAYBRIDGE_SERVICE_HOST", "y")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let findings = of_config(&Config::from_toml("", environment).unwrap());
        assert_eq!(codes(&findings)[0], (Code::EnvironmentIgnored, "PAYBRIDGE_KAFKA_TOPIC_PREFIX"));
        assert_eq!(findings[0].action, "did you mean PAYBRIDGE_KAFKA__TOPIC_PREFIX?");
    }

    #[test]
    fn tells_what_is_seldom_meant() {
        for (toml, expected) in [
            ("", vec![(Code::NoSources, "sources")]),
            ("[ingress]\nenabled = false", vec![NOTHING]),
            ("[ingress]\nenabled = false\n[dedup]\nmode = 'off'", vec![NOTHING, (Code::DedupOff, "dedup.mode")]),
            (
                "[ingress]\nenabled = false\n[dedup]\nentries_max = 100",
                vec![NOTHING, (Code::DedupEntriesFew, "dedup.entries_max")],
            ),
            (
                "[ingress]\nenabled = false\n[kafka]\nreplication_factor = 2\nbootstrap_servers = 'kafka:9092'",
                vec![NOTHING, (Code::ReplicationLow, "kafka.replication_factor")],
            ),
        ] {
            assert_eq!(codes(&of_config(&Config::from_toml(toml, []).unwrap())), expected, "{toml}");
        }
    }
}
