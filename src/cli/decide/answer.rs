//! What became of a decision, as the records of outcomes and of rejected decisions say. Must not know how it was written.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use prost::Message;

use crate::cli::{line_style, print, tell};
use crate::kafka::decoded::{self, ReadRecord};
use crate::kafka::reader::{ReadStep, TopicReader};
use crate::kafka::topics;
use crate::message::DESCRIPTORS;
use crate::message::confirmation::v1::{self, DecisionRejected, Outcome, RejectionReason};
use crate::short_line::ShortLine;

/// How long one look for a record takes at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a record says of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DecisionResult {
    /// The session ended as this decision said, or tried to.
    Decided { result: v1::Result },
    /// The session ended, and somebody or something else had decided.
    DecidedByAnother { who: String },
    /// The decision did not count.
    Rejected { reason: RejectionReason },
}

/// The first record that says what became of the decision; none in time. Blocks.
///
/// # Errors
/// The topics cannot be read any more.
pub(super) fn await_answer(
    reader: &TopicReader,
    decision: &v1::Decision,
    deadline: Instant,
) -> anyhow::Result<Option<(DecisionResult, ReadRecord)>> {
    let mut outage = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match reader.next(left.min(LOOK_EVERY))? {
            ReadStep::Record(record) => {
                if let Some(result) = result(decision, &record) {
                    return Ok(Some((result, *record)));
                }
            }
            ReadStep::Interrupted(error) if outage.is_none() => {
                tell(&format!("{error}; going on when it does"));
                outage = Some(error);
            }
            ReadStep::Interrupted(_) | ReadStep::Idle => {}
        }
        if left.is_zero() {
            return Ok(None);
        }
    }
}

/// What a record of either topic says of the decision; nothing if it is about another.
fn result(decision: &v1::Decision, record: &ReadRecord) -> Option<DecisionResult> {
    let value = record.value.as_deref()?;
    if record.header("ce_type") == Some(topics::DECISION_REJECTED_MESSAGE) {
        let rejected = DecisionRejected::decode(value).ok()?;
        let reason = rejected.reason();
        return (rejected.decision?.decision_id == decision.decision_id).then_some(DecisionResult::Rejected { reason });
    }
    let outcome = Outcome::decode(value).ok()?;
    if outcome.source != decision.source || outcome.session_id != decision.session_id {
        return None;
    }
    if outcome.decision_id == decision.decision_id {
        return Some(DecisionResult::Decided { result: outcome.result() });
    }
    let kind = outcome.decided_by_kind().as_str_name();
    let name = Some(outcome.decided_by_name.as_str()).filter(|name| !name.is_empty());
    Some(DecisionResult::DecidedByAnother { who: name.map_or(kind.to_owned(), |name| format!("{kind} `{name}`")) })
}

/// Prints the record, and says what it means for the decision.
///
/// # Errors
/// The output cannot be written.
pub(super) fn report(result: DecisionResult, record: ReadRecord, prefix: &str) -> anyhow::Result<ExitCode> {
    let record = decoded::decode(record, None, &DESCRIPTORS);
    // People read terminals, and programs pipes: as `tail` does it.
    if io::stdout().is_terminal() {
        writeln!(anstream::stdout(), "{}", line_style::whole(&ShortLine::of(&record, prefix)))?;
    } else {
        print(&format!("{}\n", serde_json::to_string(&record)?))?;
    }
    match result {
        DecisionResult::Decided { result } => {
            tell(&format!("decided by this decision: {}", result.as_str_name()));
            Ok(ExitCode::SUCCESS)
        }
        DecisionResult::DecidedByAnother { who } => {
            tell(&format!("the session ended, and not by this decision: {who} decided"));
            Ok(ExitCode::FAILURE)
        }
        DecisionResult::Rejected { reason } => {
            tell(&format!("the decision was rejected: {}", what_to_do(reason)));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn what_to_do(reason: RejectionReason) -> &'static str {
    match reason {
        RejectionReason::AlreadyDecided => "the session was decided before: `paybridge why SESSION` tells by whom",
        RejectionReason::Expired => "the session's window had closed",
        RejectionReason::UnknownSession => "no such session was opened: compare SESSION with `subject` of its event",
        RejectionReason::SourceMismatch => "the session is another source's: take `source` of its event",
        RejectionReason::Malformed => {
            "the engine cannot read it: this program and the engine's are of different versions"
        }
        RejectionReason::TooManyEarly => {
            "the session has not opened, and too many decisions for such sessions wait (confirmation.early_decisions_max): \
             decide again once it has opened"
        }
        RejectionReason::Unspecified => "the engine gives a reason that this version does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::topics::{DECISION_REJECTED_MESSAGE, OUTCOME_MESSAGE};

    fn decided(source: &str, session_id: &str, decision_id: &str) -> v1::Decision {
        let text = str::to_owned;
        v1::Decision {
            source: text(source),
            session_id: text(session_id),
            decision_id: text(decision_id),
            ..v1::Decision::default()
        }
    }

    fn record(message: &str, value: Vec<u8>) -> ReadRecord {
        let headers = vec![("ce_type".to_owned(), Some(message.as_bytes().to_vec()))];
        ReadRecord { headers, value: Some(value), ..ReadRecord::default() }
    }

    fn outcome(source: &str, session_id: &str, decision_id: &str, name: &str) -> ReadRecord {
        let outcome = Outcome {
            source: source.to_owned(),
            session_id: session_id.to_owned(),
            decision_id: decision_id.to_owned(),
            decided_by_kind: v1::DeciderKind::Rule.into(),
            decided_by_name: name.to_owned(),
            result: v1::Result::Refused.into(),
            ..Outcome::default()
        };
        record(OUTCOME_MESSAGE, outcome.encode_to_vec())
    }

    fn rejected(decision_id: &str) -> ReadRecord {
        let rejected = DecisionRejected {
            decision: Some(decided("s", "1", decision_id)),
            reason: RejectionReason::Expired.into(),
            ..DecisionRejected::default()
        };
        record(DECISION_REJECTED_MESSAGE, rejected.encode_to_vec())
    }

    #[test]
    fn only_what_is_about_this_decision_or_session_is_an_answer() {
        let another = |who: &str| Some(DecisionResult::DecidedByAnother { who: who.to_owned() });
        for (record, expected) in [
            (outcome("t", "1", "d", ""), None),
            (outcome("s", "2", "d", ""), None),
            (rejected("e"), None),
            (rejected(""), None),
            (record(OUTCOME_MESSAGE, vec![0xff]), None),
            (ReadRecord { value: None, ..outcome("s", "1", "d", "") }, None),
            (outcome("s", "1", "d", ""), Some(DecisionResult::Decided { result: v1::Result::Refused })),
            (outcome("s", "1", "e", "small"), another("DECIDER_KIND_RULE `small`")),
            (outcome("s", "1", "", ""), another("DECIDER_KIND_RULE")),
            (rejected("d"), Some(DecisionResult::Rejected { reason: RejectionReason::Expired })),
        ] {
            assert_eq!(result(&decided("s", "1", "d"), &record), expected, "{record:?}");
        }
    }
}
