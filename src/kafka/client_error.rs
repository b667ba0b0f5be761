//! What librdkafka says went wrong, in words for whoever has to put it right.
//! Must not hold a property's value: it may be a secret.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaConfRes;

use super::known_brokers::KnownBrokers;
use super::wrong_protocol::WrongProtocol;
use crate::finding::{Code, Finding};

/// Why Kafka gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// librdkafka refuses the properties, so there is no client.
    #[error("{0}")]
    Properties(String),
    /// The brokers refuse the credentials.
    #[error("Kafka refuses the credentials: {0}")]
    Authentication(String),
    /// The brokers' addresses are of something that speaks another protocol.
    #[error("{0} ({1})")]
    WrongProtocol(WrongProtocol, String),
    /// No TLS connection comes about.
    #[error("a TLS connection to Kafka cannot be made: {0}")]
    Tls(String),
    /// No broker can be reached, or none answers in time.
    #[error("Kafka does not answer: {0}")]
    Unreachable(String),
}

impl ClientError {
    /// What a client's creation failed for, without the value that was refused.
    pub fn of_creation(error: &KafkaError) -> Self {
        Self::Properties(match error {
            KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, key, _) => {
                format!("librdkafka knows no property `{key}`")
            }
            KafkaError::ClientConfig(_, _, key, _) => format!("librdkafka refuses the value of `{key}`"),
            other => format!("librdkafka cannot make a client with these properties: {other}"),
        })
    }

    /// Whether librdkafka takes the properties; makes no client and connects to nothing.
    ///
    /// # Errors
    /// Which property it refuses.
    pub fn of_properties(client: &ClientConfig) -> Result<(), Self> {
        client.create_native_config().map(drop).map_err(|error| Self::of_creation(&error))
    }

    /// What librdkafka reports of a connection; nothing where it explains nothing, such as "all brokers are down".
    pub fn of_report(error: &KafkaError, reason: &str) -> Option<Self> {
        use RDKafkaErrorCode as Code;
        if let Some(wrong) = WrongProtocol::of(reason) {
            return Some(Self::WrongProtocol(wrong, reason.to_owned()));
        }
        let reason = reason.to_owned();
        match error.rdkafka_error_code()? {
            Code::Authentication | Code::SaslAuthenticationFailed => Some(Self::Authentication(reason)),
            Code::SSL => Some(Self::Tls(reason)),
            Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => Some(Self::Unreachable(reason)),
            _ => None,
        }
    }

    /// As a finding.
    pub fn finding(&self) -> Finding {
        let code = match self {
            Self::Properties(_) => Code::KafkaPropertiesUnusable,
            Self::Authentication(_) => Code::KafkaAuthenticationFailed,
            Self::Tls(_) => Code::KafkaTlsFailed,
            Self::WrongProtocol(..) => Code::KafkaWrongProtocol,
            Self::Unreachable(_) => Code::KafkaUnreachable,
        };
        match self {
            // librdkafka's own advice, to take larger responses for one, would mislead.
            Self::WrongProtocol(wrong, report) => Finding::new(code, "kafka", format!("{}: {wrong}", address(report)))
                .with_action(wrong.action())
                .with_detail(report.as_str()),
            Self::Properties(_) | Self::Authentication(_) | Self::Tls(_) | Self::Unreachable(_) => {
                Finding::new(code, "kafka", self.to_string())
            }
        }
    }

    /// What to do about it.
    pub fn action(&self) -> String {
        self.finding().action
    }

    /// A refusal is told at once; waiting on does not help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Properties(_) | Self::Authentication(_) => true,
            Self::WrongProtocol(wrong, _) => wrong.is_certain(),
            Self::Tls(_) | Self::Unreachable(_) => false,
        }
    }

    /// Whether brokers refuse who we are, or we who they are: waiting alone does not help.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Authentication(_) | Self::Tls(_) => true,
            Self::WrongProtocol(wrong, _) => wrong.is_certain(),
            Self::Properties(_) | Self::Unreachable(_) => false,
        }
    }

    /// How much it explains: a later error does not hide one that explains more.
    fn weight(&self) -> u8 {
        match self {
            Self::Unreachable(_) => 0,
            Self::Tls(_) => 1,
            Self::WrongProtocol(wrong, _) if !wrong.is_certain() => 1,
            Self::WrongProtocol(..) | Self::Authentication(_) | Self::Properties(_) => 2,
        }
    }
}

/// What one client reports: the error that explains most, and, where it tells statistics, whether it knows a broker.
#[derive(Clone, Default)]
pub struct ClientErrors {
    most_specific: Arc<Mutex<Option<ClientError>>>,
    /// Whether a connection has worked: then one that closes without a word is no wrong protocol.
    has_worked: Arc<AtomicBool>,
    brokers: Arc<KnownBrokers>,
}

impl ClientErrors {
    /// The error that explains most; the last one of its kind.
    pub fn most_specific(&self) -> Option<ClientError> {
        self.most_specific.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes it out, so that the next one counts anew.
    pub fn take(&self) -> Option<ClientError> {
        self.most_specific.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it can connect no more, because it has forgotten all brokers: it is of no use then.
    pub(super) fn has_forgotten_brokers(&self) -> bool {
        self.brokers.are_forgotten()
    }

    /// A connection works.
    pub fn works(&self) {
        self.has_worked.store(true, Ordering::Relaxed);
    }

    /// What was reported, else what the failed call itself says.
    pub fn explain(&self, error: &KafkaError) -> ClientError {
        self.most_specific().unwrap_or_else(|| match error {
            // No connection was refused or closed.
            KafkaError::MetadataFetch(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut,
            ) => ClientError::Unreachable(
                "nothing came back in time, and no connection was refused or closed".to_owned(),
            ),
            other => ClientError::Unreachable(other.to_string()),
        })
    }

    fn note(&self, client_error: ClientError) {
        let client_error = match client_error {
            ClientError::WrongProtocol(wrong, report)
                if !wrong.is_certain() && self.has_worked.load(Ordering::Relaxed) =>
            {
                ClientError::Unreachable(report)
            }
            other => other,
        };
        let mut most_specific = self.most_specific.lock().unwrap_or_else(PoisonError::into_inner);
        if most_specific.as_ref().is_none_or(|earlier| earlier.weight() <= client_error.weight()) {
            *most_specific = Some(client_error);
        }
    }
}

impl ClientContext for ClientErrors {
    /// Connections that a broker closes without a word, as it does to clients of the wrong protocol, are logged only.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" {
            let report = without_thread(message).to_owned();
            self.note(match WrongProtocol::of(&report) {
                Some(wrong) => ClientError::WrongProtocol(wrong, report),
                // The report of the connection's end says more than the error that follows it, and comes for each kind of TLS.
                None if report.contains("SSL routines") => ClientError::Tls(report),
                None => ClientError::Unreachable(report),
            });
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(client_error) = ClientError::of_report(&error, reason) {
            self.note(client_error);
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.brokers.learn(&statistics);
    }
}

impl ConsumerContext for ClientErrors {}

/// Whose connection a report is about: `ssl://kafka:9092/bootstrap: …` is about `kafka:9092`.
fn address(report: &str) -> &str {
    let name = report.split(": ").next().unwrap_or_default();
    let name = name.split_once("://").map_or(name, |(_, name)| name);
    name.split('/').next().unwrap_or_default()
}

/// Log lines begin with the thread's name in brackets, which helps nobody.
fn without_thread(message: &str) -> &str {
    match message.split_once("]: ") {
        Some((thread, rest)) if thread.starts_with('[') => rest,
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_error_that_explains_most() {
        let client_errors = ClientErrors::default();
        for (code, reason) in [
            (RDKafkaErrorCode::BrokerTransportFailure, "refused"),
            (RDKafkaErrorCode::Authentication, "wrong password"),
            (RDKafkaErrorCode::BrokerTransportFailure, "disconnected"),
            (RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down"),
        ] {
            client_errors.error(KafkaError::Global(code), reason);
        }
        assert_eq!(client_errors.take(), Some(ClientError::Authentication("wrong password".to_owned())));
        assert_eq!(client_errors.most_specific(), None);
    }

    #[test]
    fn hears_connections_that_are_closed_without_a_word() {
        let client_errors = ClientErrors::default();
        client_errors.log(RDKafkaLogLevel::Info, "FAIL", "[thrd:a:1/bootstrap]: a:1/bootstrap: Disconnected");
        client_errors.log(RDKafkaLogLevel::Warning, "CONFWARN", "[thrd:app]: some property is ignored");
        assert_eq!(
            client_errors.most_specific(),
            Some(ClientError::Unreachable("a:1/bootstrap: Disconnected".to_owned()))
        );
    }

    #[test]
    fn names_the_address_that_speaks_another_protocol() {
        let client_errors = ClientErrors::default();
        let report = "ssl://127.0.0.1:1/bootstrap: SSL handshake failed: wrong version number";
        client_errors.error(KafkaError::Global(RDKafkaErrorCode::SSL), report);
        let finding = client_errors.most_specific().unwrap().finding();
        assert!(finding.message.starts_with("127.0.0.1:1: the broker's port does not speak TLS"), "{finding:?}");
        assert_eq!((finding.code, finding.detail.as_deref()), (Code::KafkaWrongProtocol, Some(report)));
    }

    #[test]
    fn a_connection_that_has_worked_is_closed_for_another_reason_than_its_protocol() {
        let closed = "a:1/1: Disconnected: connection reset by peer (after 1ms in state APIVERSION_QUERY)";
        let client_errors = ClientErrors::default();
        let report = || client_errors.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), closed);
        report();
        assert!(matches!(client_errors.take(), Some(ClientError::WrongProtocol(..))));
        client_errors.works();
        report();
        assert_eq!(client_errors.take(), Some(ClientError::Unreachable(closed.to_owned())));
    }

    #[test]
    fn never_tells_the_refused_value() {
        let description = "Invalid value \"hunter2\" for configuration property".to_owned();
        for result in [RDKafkaConfRes::RD_KAFKA_CONF_INVALID, RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN] {
            let refused =
                KafkaError::ClientConfig(result, description.clone(), "sasl.x".to_owned(), "hunter2".to_owned());
            let told = ClientError::of_creation(&refused).finding();
            assert!(told.message.contains("sasl.x") && !told.message.contains("hunter2"), "{told:?}");
        }
    }
}
