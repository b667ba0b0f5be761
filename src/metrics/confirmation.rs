//! The confirmation engine's metrics, but for its calls. Every label value is of a closed set, and there from the start.
//! Must not know what is measured beyond its labels.

use std::collections::BTreeMap;

use metrics::{Counter, Gauge, counter, gauge};

use super::{ClockGauge, Labelled, catalogue, count, labelled, quarantine_label, zeroed};
use crate::message::confirmation::v1::{Action, DeciderKind, RejectionReason, Result};
use crate::message::event::v1::QuarantineReason;

/// The metrics of the confirmation engine.
pub struct ConfirmationMetrics {
    /// Sessions that were opened and have not ended.
    pub open_sessions: Gauge,
    oldest_remaining: Gauge,
    next_deadline: Gauge,
    /// Input records not taken yet.
    pub lag_records: Gauge,
    /// Partitions that this process decides for.
    pub assigned_partitions: Gauge,
    /// Whether the engine refuses to work: 1 or 0.
    pub engine_refused: Gauge,
    /// When the reading of the ledger began, in seconds since 1970; 0 when none is read.
    pub restoring_since: Gauge,
    /// Whether the engine believes its clock.
    pub clock: ClockGauge,
    /// Events and decisions that had been taken before.
    pub redelivered: Counter,
    /// Decisions passed on.
    pub passed_on: Counter,
    /// Producers made anew.
    pub rebuilds: Counter,
    by_rule: BTreeMap<String, Counter>,
    by_kind: Labelled,
    outcomes: BTreeMap<(&'static str, &'static str), Counter>,
    rule_failures: BTreeMap<String, Counter>,
    held: Labelled,
    rejected: Labelled,
    quarantined: Labelled,
    transactions: Labelled,
    alerts: Labelled,
    stopped: BTreeMap<&'static str, Gauge>,
}

/// Why a partition is stopped: what is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// This version does not understand its ledger in full.
    Unreadable,
    /// Its ledger is not there any more, or not whole.
    Lost,
}

/// Why a session was held when it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldLabel {
    /// A rule said so.
    Rule,
    /// No rule matched, and the default is to hold.
    NoRule,
    /// It has no operation, or one without a known amount.
    NotEvaluated,
    /// A rule failed.
    RuleFailed,
    /// A rule reads a field that stands in the body and could not be read.
    UnreadField,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionEnd {
    /// All of it is in Kafka.
    Committed,
    /// Nothing of it is.
    Aborted,
    /// Nothing of it is, for the partitions are another's by now.
    Fenced,
    /// The ledger will tell.
    Unknown,
}

/// What somebody must look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A session is held back: the clock is not trusted.
    ClockUntrusted,
    /// An event of a source that is not configured.
    UnknownSource,
    /// The provider still waits for a session that ended here.
    OpenAfterDone,
    /// An event that is too old to open a session.
    TooOld,
    /// An event of a session that another source opened while the provider was asked about it.
    SessionOfAnotherSource,
    /// A session that is written without its operations, because Kafka refused them.
    RecordRefused,
}

const ACTIONS: [&str; 3] = ["none", "confirm", "cancel"];
const RESULTS: [&str; 6] = ["accepted", "already_done", "refused", "expired", "superseded", "dry_run"];
const KINDS: [&str; 3] = ["decision", "default", "deadline"];
const REJECTIONS: [&str; 6] =
    ["already_decided", "expired", "unknown_session", "source_mismatch", "malformed", "too_many_early"];
const HELD: [&str; 5] = ["rule", "no_rule", "not_evaluated", "rule_failed", "unread_field"];
const QUARANTINED: [&str; 5] = [
    "undecodable_record",
    "misrouted_decision",
    "session_of_another_source",
    "evidence_does_not_verify",
    "record_refused",
];
const STOPPED: [&str; 2] = ["unreadable", "lost"];
const TRANSACTIONS: [&str; 4] = ["committed", "aborted", "fenced", "unknown"];
const ALERTS: [&str; 6] =
    ["clock_untrusted", "unknown_source", "open_after_done", "too_old", "session_of_another_source", "record_refused"];

impl ConfirmationMetrics {
    pub(super) fn new(rules: &[String]) -> Self {
        let decisions = |kind: &'static str, rule: &str| {
            zeroed(counter!(catalogue::CONFIRMATION_DECISIONS, "kind" => kind, "rule" => rule.to_owned()))
        };
        let failures = |rule: &String| zeroed(counter!(catalogue::CONFIRMATION_RULE_FAILURES, "rule" => rule.clone()));
        let pairs = ACTIONS.into_iter().flat_map(|action| RESULTS.map(|result| (action, result)));
        let outcome = |(action, result): (&'static str, &'static str)| {
            let counter = counter!(catalogue::CONFIRMATION_OUTCOMES, "action" => action, "result" => result);
            ((action, result), zeroed(counter))
        };
        let metrics = Self {
            open_sessions: gauge!(catalogue::CONFIRMATION_OPEN),
            oldest_remaining: gauge!(catalogue::CONFIRMATION_OLDEST_REMAINING),
            next_deadline: gauge!(catalogue::CONFIRMATION_NEXT_DEADLINE),
            lag_records: gauge!(catalogue::CONFIRMATION_LAG),
            assigned_partitions: gauge!(catalogue::CONFIRMATION_ASSIGNED),
            engine_refused: gauge!(catalogue::CONFIRMATION_REFUSED),
            restoring_since: gauge!(catalogue::CONFIRMATION_RESTORING_SINCE),
            clock: ClockGauge::new("engine"),
            redelivered: zeroed(counter!(catalogue::CONFIRMATION_REDELIVERED)),
            passed_on: zeroed(counter!(catalogue::CONFIRMATION_PASSED_ON)),
            rebuilds: zeroed(counter!(catalogue::CONFIRMATION_REBUILDS)),
            by_rule: rules.iter().map(|rule| (rule.clone(), decisions("rule", rule))).collect(),
            by_kind: labelled(&KINDS, |kind| decisions(kind, "")),
            outcomes: pairs.map(outcome).collect(),
            rule_failures: rules.iter().map(|rule| (rule.clone(), failures(rule))).collect(),
            held: labelled(&HELD, |reason| counter!(catalogue::CONFIRMATION_HELD, "reason" => reason)),
            rejected: labelled(&REJECTIONS, |reason| counter!(catalogue::CONFIRMATION_REJECTED, "reason" => reason)),
            quarantined: labelled(
                &QUARANTINED,
                |reason| counter!(catalogue::CONFIRMATION_QUARANTINED, "reason" => reason),
            ),
            transactions: labelled(
                &TRANSACTIONS,
                |result| counter!(catalogue::CONFIRMATION_TRANSACTIONS, "result" => result),
            ),
            alerts: labelled(&ALERTS, |kind| counter!(catalogue::CONFIRMATION_ALERTS, "kind" => kind)),
            stopped: STOPPED.map(|reason| (reason, gauge!(catalogue::CONFIRMATION_STOPPED, "reason" => reason))).into(),
        };
        for gauge in metrics.stopped.values() {
            gauge.set(0.0);
        }
        metrics.oldest_remaining(None);
        metrics.next_deadline(None);
        metrics
    }

    /// Seconds until the first window of an open session closes; none where no session is open, which an alert on "less than"
    /// then never meets.
    pub fn oldest_remaining(&self, seconds: Option<f64>) {
        self.oldest_remaining.set(seconds.unwrap_or(f64::INFINITY));
    }

    /// Seconds until the deadline decides on the first session that nobody has decided on; none where there is none.
    pub fn next_deadline(&self, seconds: Option<f64>) {
        self.next_deadline.set(seconds.unwrap_or(f64::INFINITY));
    }

    /// A session was decided. `rule` is the rule's name, and does not matter for the other kinds.
    pub fn decided(&self, kind: DeciderKind, rule: &str) {
        match kind {
            DeciderKind::Rule => count_named(&self.by_rule, rule),
            DeciderKind::Decision => count(&self.by_kind, "decision"),
            DeciderKind::Default => count(&self.by_kind, "default"),
            DeciderKind::Deadline => count(&self.by_kind, "deadline"),
            DeciderKind::Provider | DeciderKind::Unspecified => {} // decided by nobody
        }
    }

    /// An outcome is on its topic.
    pub fn ended(&self, action: Action, result: Result) {
        let action = match action {
            Action::Unspecified => "none",
            Action::Confirm => "confirm",
            Action::Cancel => "cancel",
        };
        if let Some(counter) = result_label(result).and_then(|result| self.outcomes.get(&(action, result))) {
            counter.increment(1);
        }
    }

    /// A session was held when it opened.
    pub fn held(&self, reason: HoldLabel) {
        let reason = match reason {
            HoldLabel::Rule => "rule",
            HoldLabel::NoRule => "no_rule",
            HoldLabel::NotEvaluated => "not_evaluated",
            HoldLabel::RuleFailed => "rule_failed",
            HoldLabel::UnreadField => "unread_field",
        };
        count(&self.held, reason);
    }

    /// A rule failed while it was evaluated.
    pub fn rule_failed(&self, rule: &str) {
        count_named(&self.rule_failures, rule);
    }

    /// A decision is on the topic of rejected ones.
    pub fn rejected(&self, reason: RejectionReason) {
        let reason = match reason {
            RejectionReason::AlreadyDecided => "already_decided",
            RejectionReason::Expired => "expired",
            RejectionReason::UnknownSession => "unknown_session",
            RejectionReason::SourceMismatch => "source_mismatch",
            RejectionReason::Malformed | RejectionReason::Unspecified => "malformed",
            RejectionReason::TooManyEarly => "too_many_early",
        };
        count(&self.rejected, reason);
    }

    /// A record of an input is on the quarantine topic.
    pub fn quarantined(&self, reason: QuarantineReason) {
        count(&self.quarantined, quarantine_label(reason));
    }

    /// So many partitions are stopped for this reason.
    pub fn stopped(&self, stop: Stop, partitions: f64) {
        let reason = match stop {
            Stop::Unreadable => "unreadable",
            Stop::Lost => "lost",
        };
        if let Some(gauge) = self.stopped.get(reason) {
            gauge.set(partitions);
        }
    }

    /// A transaction ended.
    pub fn transaction(&self, end: TransactionEnd) {
        let result = match end {
            TransactionEnd::Committed => "committed",
            TransactionEnd::Aborted => "aborted",
            TransactionEnd::Fenced => "fenced",
            TransactionEnd::Unknown => "unknown",
        };
        count(&self.transactions, result);
    }

    /// Something happened that somebody must look at.
    pub fn alert(&self, alert: Alert) {
        let kind = match alert {
            Alert::ClockUntrusted => "clock_untrusted",
            Alert::UnknownSource => "unknown_source",
            Alert::OpenAfterDone => "open_after_done",
            Alert::TooOld => "too_old",
            Alert::SessionOfAnotherSource => "session_of_another_source",
            Alert::RecordRefused => "record_refused",
        };
        count(&self.alerts, kind);
    }
}

fn result_label(result: Result) -> Option<&'static str> {
    match result {
        Result::Accepted => Some("accepted"),
        Result::AlreadyDone => Some("already_done"),
        Result::Refused => Some("refused"),
        Result::Expired => Some("expired"),
        Result::Superseded => Some("superseded"),
        Result::DryRun => Some("dry_run"),
        Result::Unspecified => None,
    }
}

/// Counts one; a name that was not given at the start is not counted.
fn count_named(counters: &BTreeMap<String, Counter>, name: &str) {
    if let Some(counter) = counters.get(name) {
        counter.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// How many series each metric has from the start, with two rules.
    const SERIES: [(&str, usize); 19] = [
        (catalogue::CONFIRMATION_OPEN, 1),
        (catalogue::CONFIRMATION_OLDEST_REMAINING, 1),
        (catalogue::CONFIRMATION_NEXT_DEADLINE, 1),
        (catalogue::CONFIRMATION_DECISIONS, 2 + 3),
        (catalogue::CONFIRMATION_OUTCOMES, 18),
        (catalogue::CONFIRMATION_LAG, 1),
        (catalogue::CONFIRMATION_HELD, 5),
        (catalogue::CONFIRMATION_RULE_FAILURES, 2),
        (catalogue::CONFIRMATION_REJECTED, 6),
        (catalogue::CONFIRMATION_REDELIVERED, 1),
        (catalogue::CONFIRMATION_PASSED_ON, 1),
        (catalogue::CONFIRMATION_QUARANTINED, 5),
        (catalogue::CONFIRMATION_TRANSACTIONS, 4),
        (catalogue::CONFIRMATION_REBUILDS, 1),
        (catalogue::CONFIRMATION_ASSIGNED, 1),
        (catalogue::CONFIRMATION_STOPPED, 2),
        (catalogue::CONFIRMATION_REFUSED, 1),
        (catalogue::CONFIRMATION_RESTORING_SINCE, 1),
        (catalogue::CONFIRMATION_ALERTS, 6),
    ];

    fn series<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
        let is_of = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        text.lines().filter(is_of).collect()
    }

    #[test]
    fn every_series_is_there_from_the_start_and_none_is_added_by_use() {
        use Alert::{ClockUntrusted, OpenAfterDone, RecordRefused, SessionOfAnotherSource, TooOld, UnknownSource};
        use TransactionEnd::{Aborted, Committed, Fenced, Unknown};
        let metrics = Metrics::new().unwrap();
        let rules = ["small payouts".to_owned(), "blocked".to_owned()];
        let confirmation = metrics.confirmation(&rules);
        let before = metrics.render();
        for (name, count) in SERIES {
            assert_eq!(series(&before, name).len(), count, "{name}\n{before}");
            assert!(before.contains(&format!("# HELP {name} ")), "{name}");
        }
        for line in series(&before, catalogue::CONFIRMATION_OLDEST_REMAINING) {
            assert!(line.to_lowercase().ends_with(" inf") || line.ends_with(" +Inf"), "{line}");
        }
        for number in 0..12 {
            let kind = DeciderKind::try_from(number).unwrap_or_default();
            confirmation.decided(kind, "blocked");
            confirmation.decided(kind, "no such rule");
            let (action, result) = (Action::try_from(number % 3), Result::try_from(number));
            confirmation.ended(action.unwrap_or_default(), result.unwrap_or_default());
            confirmation.rejected(RejectionReason::try_from(number).unwrap_or_default());
            confirmation.quarantined(QuarantineReason::try_from(number).unwrap_or_default());
        }
        for held in
            [HoldLabel::Rule, HoldLabel::NoRule, HoldLabel::NotEvaluated, HoldLabel::RuleFailed, HoldLabel::UnreadField]
        {
            confirmation.held(held);
        }
        for end in [Committed, Aborted, Fenced, Unknown] {
            confirmation.transaction(end);
        }
        for alert in [ClockUntrusted, UnknownSource, OpenAfterDone, TooOld, SessionOfAnotherSource, RecordRefused] {
            confirmation.alert(alert);
        }
        for stop in [Stop::Unreadable, Stop::Lost] {
            confirmation.stopped(stop, 1.0);
        }
        confirmation.rule_failed("blocked");
        confirmation.rule_failed("no such rule");
        let after = metrics.render();
        for (name, count) in SERIES {
            assert_eq!(series(&after, name).len(), count, "{name}");
        }
        for one in [
            r#"paybridge_confirmation_decisions_total{kind="rule",rule="blocked"} 1"#,
            r#"paybridge_confirmation_decisions_total{kind="deadline",rule=""} 2"#,
            r#"paybridge_confirmation_outcomes_total{action="cancel",result="superseded"} 1"#,
            r#"paybridge_confirmation_quarantined_total{reason="misrouted_decision"} 1"#,
            r#"paybridge_confirmation_alerts_total{kind="too_old"} 1"#,
            r#"paybridge_confirmation_rule_failures_total{rule="blocked"} 1"#,
        ] {
            assert!(after.contains(one), "no {one} in\n{after}");
        }
    }
}
