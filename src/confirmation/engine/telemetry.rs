//! What the engine tells: for each event its metric and its log line, in one place.
//! Must not hold personal data: a session's id is none, who or what it pays is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::ledger_restore::UnreadablePartition;
use crate::confirmation::rules;
use crate::confirmation::session::clock_guard::ClockState;
use crate::confirmation::session::machine::Note;
use crate::confirmation::session::model::{Action, Outcome, SessionKey};
use crate::error_chain;
use crate::kafka::broker_clock::offset;
use crate::log_limit::{LINE_EVERY, LogLimit, kind_of, whole_seconds};
use crate::message::confirmation::v1::{self, DeciderKind, RejectionReason};
use crate::message::event::v1::QuarantineReason;
use crate::metrics::{Alert, ClockTrust, ConfirmationMetrics, HoldLabel, Stop, TransactionEnd};

/// Something to be counted once it is committed.
#[derive(Clone, Debug)]
pub enum TelemetryEvent {
    /// What the machine noted of a session.
    Noted(SessionKey, Note),
    /// A session opened and waits; when its deadline comes, if its event says when the session began.
    Held(SessionKey, rules::HoldReason, Option<Timestamp>),
    /// A session ended.
    Ended(SessionKey, Box<Outcome>),
    /// A decision does not count.
    Rejected(RejectionReason),
    /// A record of an input could not be taken.
    Quarantined(QuarantineReason),
    /// A session is written without its operations, because Kafka refused them.
    Trimmed(SessionKey),
    /// A decision went on to its own partition.
    PassedOn,
    /// An event of a source that is not configured.
    UnknownSource(SessionKey),
}

/// Tells.
pub struct Telemetry {
    metrics: Arc<ConfirmationMetrics>,
    /// Why Kafka cannot be used, and since when.
    kafka_unavailable: Option<KafkaUnavailable>,
    /// What was told last of the clock.
    clock: ClockState,
    /// Sessions whose delay was logged since the clock was trusted last.
    clock_delayed: BTreeSet<SessionKey>,
    clock_delayed_log: LogLimit<SessionKey>,
    /// What the configuration does at the deadline.
    at_deadline: Option<Action>,
    /// By the rule's name.
    rule_failures: BTreeMap<String, LogLimit<RuleFailure>>,
    decided_by_deadline: LogLimit<SessionKey>,
    /// Those of the next line that a failed rule held.
    decided_after_failed_rule: u64,
}

/// The first times of open sessions; none where there is no such session.
#[derive(Clone, Copy, Debug)]
pub struct FirstTimes {
    /// When the first window closes.
    pub window_end: Option<Timestamp>,
    /// When the deadline decides on the first session that nobody has decided on.
    pub deadline: Option<Timestamp>,
}

/// What a log line tells of a rule that failed.
#[derive(Debug)]
struct RuleFailure {
    session: SessionKey,
    /// Why, without a value of the session.
    why: String,
    /// What the deadline does with the session.
    deadline: String,
}

/// So many sessions are named while the clock is not trusted: for whoever looks, not a list of all.
const CLOCK_DELAYED_LOGGED_MAX: usize = 200;

impl Telemetry {
    /// Tells by these metrics and the log.
    pub fn new(metrics: Arc<ConfirmationMetrics>, at_deadline: Option<Action>) -> Self {
        Self {
            metrics,
            kafka_unavailable: None,
            clock: ClockState::Trusted,
            clock_delayed: BTreeSet::new(),
            clock_delayed_log: LogLimit::default(),
            at_deadline,
            rule_failures: BTreeMap::new(),
            decided_by_deadline: LogLimit::default(),
            decided_after_failed_rule: 0,
        }
    }

    /// What was committed.
    pub fn record_all(&mut self, events: Vec<TelemetryEvent>) {
        for count in events {
            self.count(count);
        }
    }

    fn count(&mut self, count: TelemetryEvent) {
        match count {
            TelemetryEvent::Noted(key, note) => self.noted(&key, note),
            TelemetryEvent::Held(key, held, deadline) => self.held(&key, held, deadline),
            TelemetryEvent::Ended(key, outcome) => {
                let decided = outcome.decided.as_ref();
                let action = decided.map_or(v1::Action::Unspecified, |(action, ..)| (*action).into());
                self.metrics.ended(action, outcome.result);
                tracing::debug!(session = %key, ?action, result = ?outcome.result, "a session ended");
            }
            TelemetryEvent::Rejected(reason) => {
                self.metrics.rejected(reason);
                tracing::debug!(?reason, "a decision does not count");
            }
            TelemetryEvent::Quarantined(reason) => {
                self.metrics.quarantined(reason);
                tracing::debug!(?reason, "a record of an input is in quarantine");
            }
            TelemetryEvent::Trimmed(key) => {
                self.metrics.alert(Alert::RecordRefused);
                tracing::error!(session = %key, "session is written without its operations, because Kafka refused them");
            }
            TelemetryEvent::PassedOn => self.metrics.passed_on.increment(1),
            TelemetryEvent::UnknownSource(key) => {
                self.metrics.alert(Alert::UnknownSource);
                tracing::debug!(
                    session = %key,
                    "a session of a source that is not configured here waits for a decision: nobody can call its provider"
                );
            }
        }
    }

    fn noted(&mut self, key: &SessionKey, note: Note) {
        match note {
            Note::Decided { by, rule, failed_rule } => {
                self.metrics.decided(by, &rule);
                if by == DeciderKind::Deadline {
                    self.decided_by_deadline.add(key.clone());
                    self.decided_after_failed_rule += u64::from(!failed_rule.is_empty());
                }
                tracing::debug!(session = %key, kind = ?by, rule, "a session is decided");
            }
            Note::Redelivered => self.metrics.redelivered.increment(1),
            Note::TooOld => {
                self.metrics.alert(Alert::TooOld);
                tracing::debug!(
                    session = %key,
                    "ready_to_confirm opens no session: its session may have ended and been forgotten, and the provider does not \
                     wait for its confirmation"
                );
            }
            Note::OtherSource => {
                self.metrics.alert(Alert::SessionOfAnotherSource);
                tracing::error!(session = %key, "ready_to_confirm opens no session: another source opened it before");
            }
            Note::ClockUntrusted => {
                self.metrics.alert(Alert::ClockUntrusted);
                self.clock_delayed(key);
            }
            Note::OpenAfterDone => {
                self.metrics.alert(Alert::OpenAfterDone);
                tracing::error!(session = %key, "the provider may still wait for a session that has ended here");
            }
        }
    }

    fn held(&mut self, key: &SessionKey, held: rules::HoldReason, deadline: Option<Timestamp>) {
        let reason = match held {
            rules::HoldReason::Rule(_) => HoldLabel::Rule,
            rules::HoldReason::NoRule => HoldLabel::NoRule,
            rules::HoldReason::NotEvaluated => HoldLabel::NotEvaluated,
            rules::HoldReason::UnreadField(_) => HoldLabel::UnreadField,
            rules::HoldReason::Failed { rule, why } => {
                self.metrics.rule_failed(&rule);
                let deadline = match (self.at_deadline, deadline) {
                    (None, _) => "none: confirmation.at_deadline is \"nothing\"".to_owned(),
                    (Some(action), Some(at)) => format!("{} at {}", action.verb(), at.strftime("%Y-%m-%dT%H:%M:%SZ")),
                    (Some(action), None) => format!("{}; the event does not say when", action.verb()),
                };
                let log = self.rule_failures.entry(rule).or_default();
                log.add(RuleFailure { session: key.clone(), why, deadline });
                HoldLabel::RuleFailed
            }
        };
        self.metrics.held(reason);
    }

    /// Logs what is due of that which happens often: rules that failed, and sessions that the deadline decided on.
    pub fn log_due(&mut self, now: Instant) {
        for (rule, log) in &self.rule_failures {
            if let Some((count, RuleFailure { session, why, deadline })) = log.due(now) {
                tracing::warn!(
                    %session,
                    rule,
                    error = why,
                    deadline,
                    count,
                    "rule failed; session is held until somebody decides or the deadline acts"
                );
            }
        }
        if let Some((count, session)) = self.decided_by_deadline.due(now) {
            let action = self.at_deadline.map(Action::verb);
            let rule_failed = std::mem::take(&mut self.decided_after_failed_rule);
            tracing::warn!(%session, action, count, rule_failed, "the deadline decided on sessions, because nobody else did in time");
        }
    }

    /// How a transaction ended.
    pub fn transaction(&self, end: TransactionEnd) {
        self.metrics.transaction(end);
    }

    /// The producer is made anew.
    pub fn rebuilt(&self) {
        self.metrics.rebuilds.increment(1);
    }

    /// How many partitions are worked on, and which are stopped, why.
    pub fn assigned(&self, working: usize, stopped: &[(i32, UnreadablePartition)]) {
        self.metrics.assigned_partitions.set(float(working));
        // Both are set each time: a gauge that is left alone would show what was stopped under an earlier assignment.
        for stop in [Stop::Unreadable, Stop::Lost] {
            let count = stopped.iter().filter(|(_, unreadable)| unreadable.stop() == stop).count();
            self.metrics.stopped(stop, float(count));
        }
        for (partition, unreadable) in stopped {
            let error = error_chain::joined(unreadable);
            tracing::error!(partition, error, "partition stopped; none of its sessions is decided");
        }
    }

    /// The engine works, or would if the group gave it partitions.
    pub fn accepted(&self) {
        self.metrics.engine_refused.set(0.0);
    }

    /// Open sessions have sources that are not configured here.
    pub fn unknown_sources(&self, sources: &BTreeSet<Arc<str>>) {
        for source in sources {
            self.metrics.alert(Alert::UnknownSource);
            tracing::error!(
                source = &**source,
                "sessions of a source that is not configured here are open; this process cannot call their provider"
            );
        }
    }

    /// Since when the ledger is being read.
    pub fn restoring(&self, since: Option<Timestamp>) {
        let seconds = since.map_or(0, Timestamp::as_second);
        self.metrics.restoring_since.set(float(usize::try_from(seconds).unwrap_or_default()));
    }

    /// Whether the clock can be believed, and how far it is ahead of the broker's and the provider's; told when it cannot any more, and when it can again.
    pub fn clock(&mut self, trust: ClockState, ahead: [Option<SignedDuration>; 2], ours: Timestamp) {
        let [of_broker, of_provider] = ahead;
        self.metrics.clock.show_offset(of_broker.unwrap_or_default().as_secs_f64());
        match (std::mem::replace(&mut self.clock, trust), trust) {
            (ClockState::Trusted, ClockState::Untrusted) => {
                let theirs = of_broker.and_then(|ahead| ours.checked_sub(ahead).ok());
                tracing::error!(
                    %ours,
                    brokers_time = theirs.map(tracing::field::display),
                    of_brokers = of_broker.map(offset),
                    of_provider = of_provider.map(offset),
                    "clock of this host is not trusted: it is more than 60 s from the brokers' or the provider's, or was set; \
                     no session is opened, expired or decided by its deadline until it is right; correct the time service (NTP)"
                );
                self.metrics.clock.show(ClockTrust::Untrusted);
            }
            (ClockState::Untrusted, ClockState::Trusted) => {
                self.metrics.clock.show(ClockTrust::Trusted);
                tracing::info!("clock of this host is trusted again; deadlines are acted on");
                self.clock_delayed.clear();
            }
            (ClockState::Untrusted, ClockState::Untrusted) | (ClockState::Trusted, ClockState::Trusted) => {}
        }
    }

    /// A session is due and waits, because the clock is not trusted; each is counted once, and a line comes at most once a minute.
    fn clock_delayed(&mut self, key: &SessionKey) {
        if self.clock_delayed.len() < CLOCK_DELAYED_LOGGED_MAX && self.clock_delayed.insert(key.clone()) {
            self.clock_delayed_log.add(key.clone());
        }
        if let Some((count, session)) = self.clock_delayed_log.due(Instant::now()) {
            tracing::error!(%session, count, "sessions are due, but nothing is done about them until the clock is right; correct the time service (NTP)");
        }
    }

    /// How things stand: how many sessions are open, when the first of their windows ends, and how many records wait.
    pub fn show(&self, open: usize, first: FirstTimes, lag: Option<u64>, now: Timestamp) {
        let FirstTimes { window_end: first_window_end, deadline } = first;
        self.metrics.next_deadline(deadline.map(|deadline| deadline.duration_since(now).as_secs_f64()));
        self.metrics.open_sessions.set(float(open));
        self.metrics.oldest_remaining(first_window_end.map(|end| end.duration_since(now).as_secs_f64()));
        if let Some(lag) = lag {
            self.metrics.lag_records.set(float(usize::try_from(lag).unwrap_or(usize::MAX)));
        }
    }

    /// Others hold what was held here, and show it.
    pub fn unassigned(&mut self) {
        // Nothing is held that a wrong clock could spoil, and nobody tells the time.
        self.clock = ClockState::Trusted;
        self.metrics.clock.show(ClockTrust::Trusted);
        self.metrics.clock.show_offset(0.0);
        self.metrics.open_sessions.set(0.0);
        self.metrics.oldest_remaining(None);
        self.metrics.next_deadline(None);
        self.metrics.lag_records.set(0.0);
    }

    /// Kafka cannot be used at the moment; logged for each reason, and once a minute.
    pub fn kafka_unavailable(&mut self, reason: &str) {
        let now = Instant::now();
        let kind = kind_of(reason);
        let before = self.kafka_unavailable.as_ref();
        let is_due = before
            .is_none_or(|before| before.kind != kind || now.saturating_duration_since(before.last_line) >= LINE_EVERY);
        if is_due {
            tracing::error!(reason, "the confirmation engine cannot use Kafka; retrying");
            let since = before.map_or(now, |before| before.since);
            self.kafka_unavailable = Some(KafkaUnavailable { kind: kind.to_owned(), since, last_line: now });
        }
    }

    /// It can again.
    pub fn kafka_available(&mut self) {
        if let Some(KafkaUnavailable { since, .. }) = self.kafka_unavailable.take() {
            let after = whole_seconds(since.elapsed());
            tracing::info!(after, "the confirmation engine can use Kafka again");
        }
    }
}

/// An outage, as it was logged last.
struct KafkaUnavailable {
    /// The reason without what differs each time.
    kind: String,
    since: Instant,
    last_line: Instant,
}

/// Another producer of this transactional id began.
pub fn producer_replaced(transactional_id: &str) {
    tracing::error!(
        transactional_id,
        "Kafka fenced the confirmation engine's producer: another process uses the same bridge_instance, or this process \
         stood still during a transaction. Two processes with one bridge_instance end each other's transactions again and \
         again: give each process a bridge_instance of its own. No session is decided twice"
    );
}

/// Other members of the group have the name of this process.
pub fn duplicate_instance(group_id: &str, instance: &str, hosts: &str) {
    tracing::warn!(
        group = group_id,
        instance,
        hosts,
        "another member of the consumer group has the bridge_instance of this process: they end each other's transactions \
         again and again. Give each process a bridge_instance of its own, such as its pod's name"
    );
}

/// A count as a gauge has it.
fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn shows_nothing_of_partitions_that_others_hold() {
        let metrics = Metrics::new().unwrap();
        let confirmation = Arc::new(metrics.confirmation(&[]));
        confirmation.open_sessions.set(7.0);
        confirmation.lag_records.set(7.0);
        confirmation.oldest_remaining(Some(7.0));
        assert_eq!(metrics.render().lines().filter(|line| line.ends_with(" 7")).count(), 3);
        Telemetry::new(confirmation, None).unassigned();
        assert_eq!(metrics.render().lines().filter(|line| line.ends_with(" 7")).count(), 0);
    }
}
