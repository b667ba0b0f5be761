//! `paybridge decide`: puts a decision on the decision topic and waits for what becomes of it. It is any other team's
//! decision to the engine. Must not know how the engine decides.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use prost::Message;
use rdkafka::ClientConfig;

use super::{ConfigFile, Environment, WRONG_USAGE, print, tell};
use crate::config::{ClientSide, Config};
use crate::confirmation::codec::decision::TEXT_BYTES_MAX;
use crate::confirmation::codec::inputs::SESSION_ID_BYTES_MAX;
use crate::kafka::client;
use crate::kafka::decoded::{self, ReadRecord};
use crate::kafka::publish_once::{Stored, publish_once};
use crate::kafka::reader::{ReadError, ReadStep, Start, TopicReader};
use crate::kafka::record::Record;
use crate::kafka::topics;
use crate::message::DESCRIPTORS;
use crate::message::confirmation::v1::{self, DecisionRejected, Outcome, RejectionReason};

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge decide sg-main ps_3230 confirm --reason 'known customer' --config config/local.toml\n  \
                           paybridge decide sg-main ps_3230 cancel --reason 'asked by phone' --decided-by risk --timeout 5m\n\n\
                           The record that tells what became of it is printed as `paybridge tail` would. Exit code 0 when the outcome was\n\
                           decided by this decision; 1 when it was rejected, when another decided, or when nothing came in time.";

/// How long Kafka may take until reading begins.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How long Kafka may take to acknowledge the decision.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(15);
/// How long one look for a record takes at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The longest wait: no window of a session is open for longer than a week.
const TIMEOUT_MAX: Duration = Duration::from_hours(7 * 24);
/// Stands before the advice to make topics, which such a configuration leaves out.
const NOT_ENABLED: &str = "confirmation.enabled is false in this configuration, so use the engine's";

/// What the user wants.
#[derive(Args)]
pub struct DecideOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// The source of the session: `metadata.source` of its event.
    source: String,
    /// The id of the session: `metadata.subject` of its event.
    session: String,
    /// What to do with the session.
    #[arg(value_enum)]
    action: ActionArgument,
    /// The reason, for people. The outcome repeats it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who decides. The outcome repeats it.
    #[arg(long, value_name = "NAME", default_value = "paybridge decide")]
    decided_by: String,
    /// How long to wait for the outcome, such as `60s` or `5m`.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: SignedDuration,
}

/// What is done with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ActionArgument {
    /// Let the provider carry out its operations.
    Confirm,
    /// End it; its operations are not carried out.
    Cancel,
}

/// What a record says of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DecisionResult {
    /// The session ended as this decision said, or tried to.
    Decided { result: v1::Result },
    /// The session ended, and somebody or something else had decided.
    DecidedByAnother { who: String },
    /// The decision did not count.
    Rejected { reason: RejectionReason },
}

/// Decides, waits and tells.
///
/// # Errors
/// The configuration cannot be used, the topics cannot be read, or Kafka does not take the decision.
pub async fn run(options: DecideOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let Some(timeout) = usable(&options) else { return Ok(ExitCode::from(WRONG_USAGE)) };
    let config = options.config.load(environment)?;
    check_source(&config, &options.source)?;
    let decision = decision(&options)?;
    let client = client::base(&config.kafka, ClientSide::Common)?;
    let prefix = config.kafka.topic_prefix.as_ref().to_owned();
    let decided = tokio::task::spawn_blocking(move || decide(&client, &prefix, &decision, timeout)).await?;
    match decided {
        Err(error) if is_of_missing_topics(&error) && !config.confirmation.enabled => Err(error.context(NOT_ENABLED)),
        decided => decided,
    }
}

fn is_of_missing_topics(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ReadError::Missing(_)))
}

/// How long to wait, unless an argument cannot be used, which is told.
fn usable(options: &DecideOptions) -> Option<Duration> {
    let texts = [
        ("SESSION", &options.session, SESSION_ID_BYTES_MAX),
        ("--reason", &options.reason, TEXT_BYTES_MAX),
        ("--decided-by", &options.decided_by, TEXT_BYTES_MAX),
    ];
    for (name, text, bytes_max) in texts {
        if text.is_empty() || text.len() > bytes_max {
            tell(&format!("{name} must have 1 to {bytes_max} bytes"));
            return None;
        }
    }
    let timeout = Duration::try_from(options.timeout).ok().filter(|timeout| *timeout <= TIMEOUT_MAX);
    if timeout.is_none() {
        tell("--timeout must be from 0 to 7 days: write it as 60s or 5m");
    }
    timeout
}

/// A source that does not exist would only be known by its decision never counting. A configuration without any source is
/// one for commands alone.
fn check_source(config: &Config, source: &str) -> anyhow::Result<()> {
    if config.sources.is_empty() || config.sources.contains_key(source) {
        return Ok(());
    }
    let names: Vec<&str> = config.sources.keys().map(AsRef::as_ref).collect();
    Err(anyhow!("there is no source `{source}`; there are: {}", names.join(", ")))
}

fn decision(options: &DecideOptions) -> anyhow::Result<v1::Decision> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow!("the system has no randomness for a decision_id"))?;
    let action = match options.action {
        ActionArgument::Confirm => v1::Action::Confirm,
        ActionArgument::Cancel => v1::Action::Cancel,
    };
    Ok(v1::Decision {
        source: options.source.clone(),
        session_id: options.session.clone(),
        action: action.into(),
        decided_by: options.decided_by.clone(),
        reason: options.reason.clone(),
        decision_id: format!("{:032x}", u128::from_be_bytes(random)),
    })
}

/// Reading begins before the decision is there, so that no answer to it is missed. Blocks.
fn decide(client: &ClientConfig, prefix: &str, decision: &v1::Decision, timeout: Duration) -> anyhow::Result<ExitCode> {
    let answers = [topics::outcome_topic(prefix), topics::decision_rejected_topic(prefix)];
    let reader = TopicReader::open(client, &answers, Start::End, OPEN_WITHIN)?;
    let record = Record {
        topic: topics::decision_topic(prefix).into(),
        key: decision.session_id.clone(),
        value: decision.encode_to_vec(),
        headers: Vec::new(),
    };
    let Stored { partition, offset } = publish_once(client, &record, ACKNOWLEDGED_WITHIN).with_context(|| {
        format!("decision {} may count or not: see the session's outcome, or decide once more", decision.decision_id)
    })?;
    let (id, topic) = (&decision.decision_id, &record.topic);
    tell(&format!("decision {id} is at {topic}, partition {partition}, offset {offset}"));
    let deadline = Instant::now() + timeout;
    let Some((result, record)) = answer(&reader, decision, deadline)? else {
        tell(&format!(
            "nothing came within {timeout:?}, and the decision may still count: see that an engine runs \
             (paybridge_confirmation_lag_records), and look with `paybridge tail confirmation --from-beginning --key {}`",
            decision.session_id
        ));
        return Ok(ExitCode::FAILURE);
    };
    report_result(result, record)
}

/// The first record that says what became of the decision; none in time.
fn answer(
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

fn report_result(result: DecisionResult, record: ReadRecord) -> anyhow::Result<ExitCode> {
    let line = serde_json::to_string(&decoded::decode(record, None, &DESCRIPTORS))?;
    print(&format!("{line}\n"))?;
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
        RejectionReason::AlreadyDecided => {
            "the session was decided before; by whom says its outcome or, while there is none yet, the ledger: `paybridge tail confirmation --from-beginning | grep SESSION`"
        }
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
