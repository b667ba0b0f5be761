//! librdkafka's log lines as ours: level, facility and message. The `log` crate would add the path of the machine that built it.
//! Must not know which client speaks.

use rdkafka::config::RDKafkaLogLevel;

/// Lines about single connections and requests. In an outage there are several a second, and one line of ours says it all
/// (`publisher::outage`, the engine's telemetry).
const OF_CONNECTIONS: [&str; 4] = ["FAIL", "ERROR", "REQTMOUT", "TIMEOUT"];

/// Logs one line.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    if OF_CONNECTIONS.contains(&facility) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}
