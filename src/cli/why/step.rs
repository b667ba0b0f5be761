//! One record of a session as one step of its story, in plain words. Pure. Must not know what the steps say together.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::configured_engine::ConfiguredEngine;
use super::rules_today::RulesToday;
use super::session_record::{RecordContent, SessionRecord};
use super::words;
use crate::cli::session_search::SessionTopic;
use crate::confirmation::codec::inputs::{self, EventProof, FinishedEvent, ReadyEvent, UndecodableRecord};
use crate::confirmation::codec::ledger::LedgerRecord;
use crate::confirmation::session::model::{
    Checking, Decided, Decision, Done, EventAge, Mode, Opening, RuleBasis, SessionEntry, SessionKey,
};
use crate::message::confirmation::v1;
use crate::message::instant;
use crate::message::smart_glocal::v1::SessionStatus;

/// Something that happened to a session, and the record that says so.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StoryStep {
    /// When Kafka appended the record.
    pub(super) time: Option<String>,
    pub(super) kind: SessionTopic,
    /// What happened, as a sentence.
    pub(super) what: String,
    #[serde(serialize_with = "as_object", skip_serializing_if = "Vec::is_empty")]
    pub(super) details: Vec<(&'static str, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rules: Option<RulesToday>,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

fn as_object<S: Serializer>(details: &[(&'static str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(details.iter().map(|(name, text)| (name, text)))
}

/// What happened, without where.
struct Happening {
    what: String,
    details: Vec<(&'static str, String)>,
    rules: Option<RulesToday>,
}

impl Happening {
    fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), details: Vec::new(), rules: None }
    }

    fn with(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.details.push((name, text.into()));
        self
    }

    fn with_some(self, name: &'static str, text: Option<String>) -> Self {
        match text.filter(|text| !text.is_empty()) {
            Some(text) => self.with(name, text),
            None => self,
        }
    }
}

/// Makes steps of records, in the order of their times.
pub(super) struct StepWriter<'a> {
    pub(super) source: &'a str,
    pub(super) engine: &'a ConfiguredEngine,
    /// What the ledger said last.
    pub(super) ledger: Option<&'a LedgerRecord>,
}

impl<'a> StepWriter<'a> {
    /// The next step.
    pub(super) fn step(&mut self, record: &'a SessionRecord) -> StoryStep {
        let Happening { what, details, rules } = self.happening(record);
        StoryStep {
            time: record.appended_at.map(words::time),
            kind: record.which,
            what,
            details,
            rules,
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
        }
    }

    fn happening(&mut self, record: &'a SessionRecord) -> Happening {
        match &record.content {
            RecordContent::Ready(Ok(ready)) => self.ready(ready),
            RecordContent::Finished(Ok(finished)) => self.finished(finished),
            RecordContent::Ready(Err(why)) => not_taken("event that asks for a confirmation", why),
            RecordContent::Finished(Err(why)) => not_taken("event that says that the session has finished", why),
            RecordContent::Decision { read: Ok((key, decision)), passed_on } => {
                let passed_on =
                    passed_on.as_ref().map(|from| format!("from {from}: it was written to a wrong partition"));
                self.decision(key, decision).with_some("passed on", passed_on)
            }
            RecordContent::Decision { read: Err(malformed), .. } => {
                Happening::of(format!("A decision that cannot count: {}.", malformed.reason))
            }
            RecordContent::Ledger(_, entry) => match entry {
                None => Happening::of("The engine forgets the session."),
                Some(Err(error)) => {
                    Happening::of(format!("The engine's memory, which this version cannot read: {error}."))
                }
                Some(Ok(entry)) => {
                    let before = self.ledger.replace(entry);
                    ledger_entry(entry, before)
                }
            },
            RecordContent::Rejected(rejected) => self.rejected(rejected),
            RecordContent::Outcome(outcome) => ended(outcome),
            RecordContent::Unreadable => Happening::of("A record that is no message of its topic."),
        }
    }

    fn ready(&self, ready: &ReadyEvent) -> Happening {
        let operations = words::operations(&inputs::operations(&ready.session));
        if *ready.key.source != *self.source {
            let other = format!("The same session id comes in at the source {}: {operations}.", ready.key.source);
            let why = format!("no, the session is of {} (quarantine: SESSION_OF_ANOTHER_SOURCE)", self.source);
            return Happening::of(other).with("taken", why);
        }
        let (opening, age) = ready.opening(self.engine.mode);
        let happening = Happening::of(format!("The provider asks for a confirmation: {operations}."))
            .with("event", ready.event_id.as_str());
        let happening = self.window(happening, &opening, age);
        match ready.proof {
            EventProof::Verified => {
                Happening { rules: Some(RulesToday::of(&self.engine.rules, ready)), ..happening }
            }
            EventProof::Unverifiable => Happening {
                rules: Some(RulesToday::of(&self.engine.rules, ready)),
                ..happening.with(
                    "proof",
                    "its signature cannot be verified with the keys and the body that are here; an engine that cannot either asks the \
                     provider (session/status), and tries the rules on its answer",
                )
            },
        }
    }

    fn window(&self, happening: Happening, opening: &Opening, age: EventAge) -> Happening {
        let policy = &self.engine.policy;
        let end = format!(
            "{} to {}{}",
            words::time(opening.window_began_at),
            words::time(policy.window_end(opening)),
            match age {
                EventAge::Known => "",
                EventAge::Unknown => " (the event has no time of its own: the record's counts)",
            }
        );
        let deadline = policy.at_deadline.map(|action| {
            format!("{} at {}, unless decided before", action.verb(), words::time(policy.deadline(opening)))
        });
        happening.with("window", end).with_some("deadline", deadline)
    }

    fn decision(&self, key: &SessionKey, decision: &Decision) -> Happening {
        let other = (*key.source != *self.source)
            .then(|| format!("{}, which is not the session's source ({})", key.source, self.source));
        Happening::of(format!("Decision of \"{}\": {}.", decision.decided_by, decision.action.verb()))
            .with_some("reason", Some(decision.reason.clone()))
            .with_some("decision id", Some(decision.decision_id.clone()))
            .with_some("source", other)
    }

    fn rejected(&self, rejected: &v1::DecisionRejected) -> Happening {
        let decision = rejected.decision.clone().unwrap_or_default();
        let what = format!(
            "The decision of \"{}\" to {} does not count: {}.",
            decision.decided_by,
            words::verb_of(decision.action()),
            words::rejection(rejected.reason())
        );
        let place = rejected.record.as_ref().map(|at| format!("partition {}, offset {}", at.partition, at.offset));
        let other = (decision.source != self.source).then_some(decision.source);
        Happening::of(what)
            .with("rejected as", rejected.reason().as_str_name())
            .with_some("decision id", Some(decision.decision_id))
            .with_some("decision at", place)
            .with_some("source", other)
    }

    fn finished(&self, finished: &FinishedEvent) -> Happening {
        let status = match finished.view.status {
            SessionStatus::Accepted => "accepted",
            SessionStatus::Cancelled => "cancelled",
            SessionStatus::Error => "error, which is not final",
            SessionStatus::InProgress => "in progress, which is not final",
            SessionStatus::Created => "created, which is not final",
            SessionStatus::Unspecified => "of a status that this version does not know",
        };
        let what = format!("The provider says that the session has finished: {status}.");
        let other = (*finished.key.source != *self.source).then(|| finished.key.source.to_string());
        let unverified = (finished.proof == EventProof::Unverifiable && self.engine.mode == Mode::Live)
            .then(|| "its signature cannot be verified with the keys and the body that are here".to_owned());
        Happening::of(what).with_some("source", other).with_some("proof", unverified)
    }
}

fn ledger_entry(entry: &LedgerRecord, before: Option<&LedgerRecord>) -> Happening {
    match entry {
        LedgerRecord::Entry(_, SessionEntry::Early(early)) => Happening::of(format!(
            "The session had not opened yet. The engine kept {} for it.",
            counted(early.len(), "decision")
        )),
        LedgerRecord::Entry(_, SessionEntry::Checking(checking)) => about_to_open(checking),
        LedgerRecord::Entry(_, SessionEntry::Awaiting(opening)) => {
            let what = "The session is open. The engine holds it for a decision or the deadline.";
            let failed_rule = Some(opening.failed_rule.clone());
            Happening::of(what).with_some("rule that failed", failed_rule).with_some("dry run", dry_run(opening))
        }
        LedgerRecord::Entry(key, SessionEntry::Decided(decided)) => match before {
            Some(LedgerRecord::Entry(_, SessionEntry::Decided(earlier))) => carried_on(key, decided, earlier),
            _ => decided_now(key, decided),
        },
        LedgerRecord::Done(_, Done { result, .. }) => {
            Happening::of(format!("The engine notes the end: {}.", words::result(*result)))
                .with("result", result.as_str_name())
        }
        LedgerRecord::Owner(_) => Happening::of("The engine's own entry."),
    }
}

fn about_to_open(checking: &Checking) -> Happening {
    let why = match (&checking.basis, checking.age) {
        (RuleBasis::Status, _) => "its event could not be verified",
        (RuleBasis::Webhook(_), EventAge::Unknown) => "its event does not tell how old it is",
        (RuleBasis::Webhook(_), EventAge::Known) => {
            "its window was over when it came, or the engine's clock was not trusted"
        }
    };
    Happening::of("Before the session opens, the engine asks the provider (session/status) whether it still waits.")
        .with("why", why)
        .with_some("early decisions", (!checking.early.is_empty()).then(|| checking.early.len().to_string()))
}

fn ended(outcome: &v1::Outcome) -> Happening {
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().and_then(instant).map(words::time);
    let refusal = match (outcome.refusal_code.as_str(), outcome.refusal_description.as_str()) {
        ("", text) | (text, "") => text.to_owned(),
        (code, description) => format!("{code}: {description}"),
    };
    let unverified = (!outcome.verified && !outcome.dry_run)
        .then(|| "no: the provider itself did not tell how the session ended. Ask it".to_owned());
    Happening::of(format!("Outcome: {}.", outcome_words(outcome)))
        .with("result", outcome.result().as_str_name())
        .with_some("refused with", Some(refusal))
        .with_some("decision id", Some(outcome.decision_id.clone()))
        .with_some("reason", Some(outcome.reason.clone()))
        .with("calls", outcome.attempts.to_string())
        .with_some("opened at", time(&outcome.opened_at))
        .with_some("decided at", time(&outcome.decided_at))
        .with_some("answered at", time(&outcome.answered_at))
        .with("window left", format!("{} s", outcome.remaining_seconds))
        .with_some("verified", unverified)
}

/// How a session ended, in one sentence without its point.
pub(super) fn outcome_words(outcome: &v1::Outcome) -> String {
    let result = words::result(outcome.result());
    match outcome.action() {
        v1::Action::Unspecified => format!("not decided here; {result}"),
        action => {
            let decider = words::decider(outcome.decided_by_kind(), &outcome.decided_by_name);
            if words::is_done(outcome.result()) {
                format!("{} by {decider}; {result}", words::done(action))
            } else {
                format!("\"{}\" was decided by {decider}, but {result}", words::verb_of(action))
            }
        }
    }
}

fn not_taken(kind: &str, why: &UndecodableRecord) -> Happening {
    Happening::of(format!("An {kind}, which the engine does not take: {}.", why.problem))
        .with("quarantine", why.problem.reason().as_str_name())
}

fn decided_now(key: &SessionKey, decided: &Decided) -> Happening {
    let action = decided.action.verb();
    let what = format!("Decided: {action}, by {}.", words::decider_of(&decided.decider));
    let call = match decided.attempts {
        0 => "first the engine asks the provider (session/status)".to_owned(),
        attempts => format!("session/{action}, call {attempts}, {}", idempotency_key(key, decided)),
    };
    Happening::of(what)
        .with_some("reason", Some(decided.decider.reason.clone()))
        .with_some("decision id", Some(decided.decider.decision_id.clone()))
        .with("call", call)
        .with_some("dry run", dry_run(&decided.opening))
}

fn carried_on(key: &SessionKey, decided: &Decided, earlier: &Decided) -> Happening {
    let action = decided.action.verb();
    if decided.attempts == earlier.attempts {
        return Happening::of(format!("The engine notes how far it is with session/{action}."))
            .with("calls so far", decided.attempts.to_string());
    }
    Happening::of(format!("The engine calls session/{action} again: call {}.", decided.attempts))
        .with("key", idempotency_key(key, decided))
}

fn idempotency_key(key: &SessionKey, decided: &Decided) -> String {
    format!("idempotency key {}:{}:{}", decided.action.verb(), key.session_id, decided.key_number)
}

fn dry_run(opening: &Opening) -> Option<String> {
    opening.dry_run.then(|| "nobody is called".to_owned())
}

/// `1 decision`, `2 decisions`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The place of a record in the order of the story: by time, and where that is the same, as things usually happen.
pub(super) fn order(record: &SessionRecord) -> (Timestamp, SessionTopic, i64) {
    (record.appended_at.unwrap_or(Timestamp::UNIX_EPOCH), record.which, record.offset)
}
