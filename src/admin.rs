//! `/livez`, `/readyz` and `/metrics`, for Kubernetes and Prometheus.
//! Must not know webhooks: it tells what others latched.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use tokio_util::sync::CancellationToken;

use crate::latch::Latch;
use crate::metrics::Metrics;

/// What readiness waits for. Each latch is opened once and never closed again, so that a Kafka outage does not take all replicas away.
#[derive(Clone, Default)]
pub struct Readiness {
    /// Kafka has told its metadata.
    pub metadata: Latch,
    /// The idempotent producer has its id.
    pub producer_id: Latch,
    /// The confirmation engine's producer can begin transactions.
    pub transactions: Latch,
    /// The daemon is about to stop.
    pub draining: CancellationToken,
}

impl Readiness {
    /// What is still missing; nothing when ready.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.draining.is_cancelled() {
            missing.push("draining");
        }
        if !self.metadata.is_open() {
            missing.push("kafka metadata");
        }
        if !self.producer_id.is_open() {
            missing.push("producer id");
        }
        if !self.transactions.is_open() {
            missing.push("transactions");
        }
        missing
    }
}

/// Answers one request of the admin port.
pub fn answer(method: &Method, path: &str, readiness: &Readiness, metrics: &Arc<Metrics>) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/livez" => text(StatusCode::OK, "alive\n".to_owned()),
        "/readyz" => match readiness.missing().as_slice() {
            [] => text(StatusCode::OK, "ready\n".to_owned()),
            missing => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))),
        },
        "/metrics" => {
            let ready = if readiness.missing().is_empty() { 1.0 } else { 0.0 };
            metrics.ready.set(ready);
            text(StatusCode::OK, metrics.render())
        }
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".to_owned()),
    }
}

/// The answer to a request that got none otherwise.
pub fn unanswered(status: StatusCode) -> Response<Full<Bytes>> {
    text(status, "no answer\n".to_owned())
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    // Prometheus reads its text format from exactly this type.
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &Method, path: &str, readiness: &Readiness) -> u16 {
        answer(method, path, readiness, &Metrics::new().unwrap()).status().as_u16()
    }

    #[test]
    fn is_ready_when_all_latches_are_set_and_until_it_drains() {
        let readiness = Readiness::default();
        assert_eq!(status(&Method::GET, "/readyz", &readiness), 503);
        readiness.metadata.open();
        assert_eq!(readiness.missing(), ["producer id", "transactions"]);
        readiness.producer_id.open();
        assert_eq!(status(&Method::GET, "/readyz", &readiness), 503);
        readiness.transactions.open();
        assert_eq!(status(&Method::GET, "/readyz", &readiness), 200);
        readiness.draining.cancel();
        assert_eq!(status(&Method::GET, "/readyz", &readiness), 503);
        assert_eq!(status(&Method::GET, "/livez", &readiness), 200);
    }

    #[test]
    fn answers_only_what_it_has_and_only_to_get() {
        let readiness = Readiness::default();
        assert_eq!(status(&Method::GET, "/", &readiness), 404);
        assert_eq!(status(&Method::POST, "/metrics", &readiness), 405);
        assert_eq!(status(&Method::HEAD, "/livez", &readiness), 200);
    }
}
