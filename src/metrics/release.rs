//! The metrics of requests for releases from quarantine. Must not know how a request is carried out.

use metrics::{Counter, counter};

use super::{Labelled, catalogue, count, labelled, zeroed};
use crate::message::release::v1::ReleaseVerdict;

/// Every `verdict`.
const VERDICTS: [&str; 12] = [
    "unspecified",
    "released",
    "released_before",
    "still_undecodable",
    "still_unrecognized",
    "not_authentic",
    "address_not_allowed",
    "body_cut",
    "too_large",
    "source_not_configured",
    "no_webhook",
    "unreadable",
];

/// What is counted of requests for releases.
pub struct ReleaseMetrics {
    records: Labelled,
    /// Requests that were carried out.
    pub done: Counter,
    /// Requests that cannot be.
    pub refused: Counter,
    /// Tries that did not come to an end, and are repeated.
    pub failed: Counter,
}

impl ReleaseMetrics {
    pub(super) fn new() -> Self {
        let requests = |result: &'static str| zeroed(counter!(catalogue::RELEASE_REQUESTS, "result" => result));
        Self {
            records: labelled(&VERDICTS, |verdict| counter!(catalogue::RELEASE_RECORDS, "verdict" => verdict)),
            done: requests("done"),
            refused: requests("refused"),
            failed: requests("failed"),
        }
    }

    /// A held record has this verdict.
    pub fn judged(&self, verdict: ReleaseVerdict) {
        count(&self.records, verdict_label(verdict));
    }
}

/// A verdict as metrics, and programs, have it.
pub fn verdict_label(verdict: ReleaseVerdict) -> &'static str {
    match verdict {
        ReleaseVerdict::Unspecified => "unspecified",
        ReleaseVerdict::Released => "released",
        ReleaseVerdict::ReleasedBefore => "released_before",
        ReleaseVerdict::StillUndecodable => "still_undecodable",
        ReleaseVerdict::StillUnrecognized => "still_unrecognized",
        ReleaseVerdict::NotAuthentic => "not_authentic",
        ReleaseVerdict::AddressNotAllowed => "address_not_allowed",
        ReleaseVerdict::BodyCut => "body_cut",
        ReleaseVerdict::TooLarge => "too_large",
        ReleaseVerdict::SourceNotConfigured => "source_not_configured",
        ReleaseVerdict::NoWebhook => "no_webhook",
        ReleaseVerdict::Unreadable => "unreadable",
    }
}
