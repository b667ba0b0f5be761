//! Where a session stands now, and what comes next. Pure. Must not know how it is written.

use jiff::Timestamp;
use serde::Serialize;

use super::configured_engine::ConfiguredEngine;
use super::rules_today::{RuleWord, RulesToday};
use super::session_record::{RecordContent, SessionRecord};
use super::step::{counted, outcome_words};
use super::words;
use crate::confirmation::codec::inputs::ReadyEvent;
use crate::confirmation::codec::ledger::LedgerRecord;
use crate::confirmation::session::machine::Policy;
use crate::confirmation::session::model::{Decided, Decision, Opening, SessionEntry};
use crate::message::confirmation::v1;

/// Where a session stands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CurrentState {
    pub(super) state: StateName,
    /// The same as a sentence or two.
    pub(super) summary: String,
    /// What comes next, and what somebody can do.
    pub(super) next: Vec<String>,
    /// When the clock decides, and what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deadline: Option<NextDeadline>,
}

/// The states, by the words of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateName {
    /// Only decisions are there.
    NotOpened,
    /// The engine has not taken its event, as far as the topics tell.
    NotTaken,
    /// The provider is asked before it opens.
    Checking,
    /// It is open and not decided.
    Awaiting,
    /// It is decided and has not ended.
    Decided,
    /// It has ended.
    Done,
}

/// When the clock decides on a session, and what.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NextDeadline {
    at: String,
    action: &'static str,
}

/// Tells where a session stands by its records, in their order.
pub(super) struct StateReader<'a> {
    pub(super) source: &'a str,
    pub(super) session_id: &'a str,
    pub(super) records: &'a [SessionRecord],
    pub(super) engine: &'a ConfiguredEngine,
    pub(super) now: Timestamp,
}

impl StateReader<'_> {
    /// Where it stands.
    pub(super) fn read(&self) -> CurrentState {
        let outcome = self.records.iter().rev().find_map(|record| match &record.content {
            RecordContent::Outcome(outcome) => Some(outcome),
            _ => None,
        });
        if let Some(outcome) = outcome {
            return ended(outcome);
        }
        let entry = self.records.iter().rev().find_map(|record| match &record.content {
            RecordContent::Ledger(_, entry) => Some(entry),
            _ => None,
        });
        match entry {
            Some(Some(Ok(entry))) => self.by_ledger(entry),
            Some(Some(Err(error))) => state(
                StateName::NotTaken,
                format!("The engine's memory of it cannot be read by this version: {error}."),
                vec!["Run `paybridge why` of the engine's version.".to_owned()],
            ),
            Some(None) => state(
                StateName::Done,
                "The engine has forgotten it, and no outcome of it was read.".to_owned(),
                vec!["Look further back with --since.".to_owned()],
            ),
            None => self.without_ledger(),
        }
    }

    fn by_ledger(&self, entry: &LedgerRecord) -> CurrentState {
        match entry {
            LedgerRecord::Entry(_, SessionEntry::Early(early)) => self.not_opened(early),
            LedgerRecord::Entry(_, SessionEntry::Checking(checking)) => state(
                StateName::Checking,
                "Not open yet: the engine asks the provider (session/status) whether it still waits.".to_owned(),
                vec![format!(
                    "The engine asks again until {}, and then ends it as expired. paybridge_confirmation_calls_total says how its calls go.",
                    words::time_from(self.now, self.engine.policy.last_end(&checking.opening))
                )],
            ),
            LedgerRecord::Entry(_, SessionEntry::Awaiting(opening)) => self.awaiting(opening),
            LedgerRecord::Entry(_, SessionEntry::Decided(decided)) => self.decided(decided),
            LedgerRecord::Done(_, done) => state(
                StateName::Done,
                format!(
                    "Ended: {} ({}). Its outcome was not read.",
                    words::result(done.result),
                    done.result.as_str_name()
                ),
                vec!["Look further back with --since.".to_owned()],
            ),
            LedgerRecord::Owner(_) => self.without_ledger(),
        }
    }

    fn awaiting(&self, opening: &Opening) -> CurrentState {
        let Self { engine: ConfiguredEngine { policy, .. }, now, .. } = self;
        let summary = format!("Open and not decided. {}", self.why_held(opening));
        let mut next = vec![self.by_the_clock(policy, opening)];
        next.push(format!(
            "To decide: paybridge decide {} {} confirm --reason TEXT (or cancel in place of confirm).",
            self.source, self.session_id
        ));
        let due = policy.first_look(opening);
        if *now > due {
            next.push(
                "That time is over. See that an engine runs (paybridge_confirmation_lag_records, its log), and that it trusts its clock \
                 (paybridge_clock_trusted)."
                    .to_owned(),
            );
        }
        let deadline = policy
            .at_deadline
            .map(|action| NextDeadline { at: words::time(policy.deadline(opening)), action: action.verb() });
        CurrentState { deadline, ..state(StateName::Awaiting, summary, next) }
    }

    fn by_the_clock(&self, policy: &Policy, opening: &Opening) -> String {
        let window_end = words::time_from(self.now, policy.window_end(opening));
        match policy.at_deadline {
            Some(action) => format!(
                "Unless it is decided before, the deadline decides at {}: {}. The window closes at {window_end}.",
                words::time_from(self.now, policy.deadline(opening)),
                action.verb()
            ),
            None => format!(
                "No deadline decides (confirmation.at_deadline is \"nothing\"): the provider ends it when the window closes, at {window_end}."
            ),
        }
    }

    /// Why an open session was not decided by a rule, as today's rules tell.
    fn why_held(&self, opening: &Opening) -> String {
        let Some(event) = self.event(&opening.ready_event_id) else {
            return "Its event was not read, so the rules cannot be tried: look further back with --since.".to_owned();
        };
        let rules = RulesToday::of(&self.engine.rules, event);
        match rules.verdict {
            RuleWord::Hold => format!("Today's rules say: {}.", rules.because),
            RuleWord::Confirm | RuleWord::Cancel => format!(
                "The engine held it when it opened, but today's rules say: {}. So it had other rules then, or could not try them.",
                rules.because
            ),
        }
    }

    /// The event that opened it; the first one, where that is not there.
    fn event(&self, event_id: &str) -> Option<&ReadyEvent> {
        let events = || {
            self.records.iter().filter_map(|record| match &record.content {
                RecordContent::Ready(Ok(event)) if *event.key.source == *self.source => Some(&**event),
                _ => None,
            })
        };
        events().find(|event| event.event_id == event_id)
    }

    fn decided(&self, decided: &Decided) -> CurrentState {
        let action = decided.action.verb();
        let summary = format!(
            "Decided: {action}, by {}. It has not ended: {}.",
            words::decider_of(&decided.decider),
            match decided.attempts {
                0 => "the provider has not been called yet".to_owned(),
                attempts => format!(
                    "no final answer to session/{action} yet ({})",
                    counted(usize::try_from(attempts).unwrap_or(usize::MAX), "call")
                ),
            }
        );
        let last_end = words::time_from(self.now, self.engine.policy.last_end(&decided.opening));
        let next = vec![
            format!(
                "The engine repeats the call until the provider answers, at the latest until {last_end}. The decision cannot be changed."
            ),
            "How its calls go: paybridge_confirmation_calls_total, and the engine's log.".to_owned(),
        ];
        state(StateName::Decided, summary, next)
    }

    fn not_opened(&self, early: &[Decision]) -> CurrentState {
        let until = words::time_from(self.now, self.engine.policy.unknown_at(early));
        let summary = format!("Not opened: {} for it, and the provider has not asked.", waiting(early.len()));
        let next = vec![format!(
            "If the provider asks until {until}, the rules come first; if they hold it, the first decision counts. Else the decisions are rejected."
        )];
        state(StateName::NotOpened, summary, next)
    }

    fn without_ledger(&self) -> CurrentState {
        let ready = self.records.iter().rev().find_map(|record| match &record.content {
            RecordContent::Ready(read) => Some(read),
            _ => None,
        });
        let engine =
            "See that an engine runs and reads (paybridge_confirmation_lag_records, its log, `paybridge check`).";
        match ready {
            Some(Err(why)) => state(
                StateName::NotTaken,
                format!("The engine does not take its event: {}. Nobody decides on it here.", why.problem),
                vec!["Decide at the provider, and find out who wrote the event: `paybridge tail quarantine --from-beginning`.".to_owned()],
            ),
            Some(Ok(event)) => {
                let (opening, _) = event.opening(self.engine.mode);
                let last_end = words::time_from(self.now, self.engine.policy.last_end(&opening));
                state(
                    StateName::NotTaken,
                    "The provider asks, and the ledger has no entry: no engine has taken the event.".to_owned(),
                    vec![
                        engine.to_owned(),
                        format!("It is too late at {last_end}. An event that is too old opens nothing."),
                    ],
                )
            }
            None => state(
                StateName::NotOpened,
                "Not opened: the provider has not asked for a confirmation, as far as the topics were read.".to_owned(),
                vec!["Compare the session id with `metadata.subject` of its event; look further back with --since.".to_owned(), engine.to_owned()],
            ),
        }
    }
}

fn waiting(count: usize) -> String {
    format!("{} {}", counted(count, "decision"), if count == 1 { "waits" } else { "wait" })
}

fn state(state: StateName, summary: String, next: Vec<String>) -> CurrentState {
    CurrentState { state, summary, next, deadline: None }
}

fn ended(outcome: &v1::Outcome) -> CurrentState {
    let words = outcome_words(outcome);
    let begins = words.chars().take(1).flat_map(char::to_uppercase);
    let mut sentences = vec![begins.chain(words.chars().skip(1)).collect::<String>()];
    if !outcome.reason.is_empty() {
        sentences.push(format!("Reason: {}", outcome.reason));
    }
    if !outcome.refusal_code.is_empty() {
        sentences.push(format!("Refused with {}", outcome.refusal_code));
    }
    if !outcome.verified && !outcome.dry_run {
        sentences.push("The provider itself did not say so: ask it".to_owned());
    }
    state(StateName::Done, format!("{}.", sentences.join(". ")), Vec::new())
}
