//! Asks Kafka for a producer id, and tells why there is none.
//! Must not send a record. Blocks.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{NoCustomPartitioner, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;

use super::Permitted;
use crate::finding::{Code, Finding};
use crate::kafka::client_error::{ClientError, ClientErrors};
use crate::kafka::client_log;

/// Waits for a producer id, without which the bridge publishes nothing.
pub(super) fn is_permitted(client: &ClientConfig, within: Duration) -> Permitted {
    let (tell, told) = channel();
    let client_errors = ClientErrors::default();
    let mut config = client.clone();
    config.set("enable.idempotence", "true").set("acks", "all").set("statistics.interval.ms", "100");
    let producer: ThreadedProducer<ProducerIdContext> = config
        .create_with_context(ProducerIdContext { tell, client_errors: client_errors.clone() })
        .map_err(|error| ClientError::of_creation(&error).finding())?;
    let permitted = told.recv_timeout(within);
    drop(producer);
    permitted.unwrap_or_else(|_| {
        Err(match client_errors.most_specific() {
            Some(refusal) if refusal.is_refusal() => refusal.finding(),
            Some(_) | None => Finding::new(
                Code::IdempotenceUnavailable,
                "kafka",
                format!("Kafka gave no producer id within {} s", within.as_secs()),
            ),
        })
    })
}

/// Tells whether the producer has its id, or why it gets none.
struct ProducerIdContext {
    tell: Sender<Permitted>,
    client_errors: ClientErrors,
}

impl ClientContext for ProducerIdContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client_log::log(level, facility, message);
        self.client_errors.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        if statistics.eos.is_some_and(|eos| eos.idemp_state == "Assigned") {
            // Nobody listens any more when the first answer was enough.
            let _told = self.tell.send(Ok(()));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Kind;
        let code = error.rdkafka_error_code();
        self.client_errors.error(error, reason);
        let refused = match (code, self.client_errors.most_specific()) {
            (Some(Kind::Fatal | Kind::ClusterAuthorizationFailed), _) => {
                let message = format!("Kafka refuses a producer id: {reason}");
                Finding::new(Code::IdempotenceNotAuthorized, "kafka", message)
            }
            (_, Some(client_error)) if client_error.is_final() => client_error.finding(),
            (_, Some(_) | None) => return,
        };
        let _told = self.tell.send(Err(refused));
    }
}

impl ProducerContext<NoCustomPartitioner> for ProducerIdContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
