//! What the engine's three inputs say: a session that waits, one that is finished, a decision of another team.
//! Pure: any bytes are classified. Must not know what is done about them, nor name a value in an error.

use std::sync::Arc;

use jiff::Timestamp;
use prost::Message;

use super::evidence::{self, Contradiction, Examined, Verifiers};
use crate::config::SourceName;
use crate::confirmation::session::model::{EventAge, Mode, Opening, SessionKey};
use crate::kafka::partition;
use crate::message::confirmation::v1;
use crate::message::event::v1::{EventMetadata, QuarantineReason};
use crate::message::instant;
use crate::message::smart_glocal::v1::{
    NextAction, Operation, OperationKind, PaymentFinished, ReadyToConfirm, Session, SessionStatus,
};
use crate::provider::CONFIRMATION_PROVIDER;
use crate::provider::smart_glocal::api::SessionView;

/// The longest id of a session, in bytes: no provider's is near it, and every session of the ledger has one in memory.
pub const SESSION_ID_BYTES_MAX: usize = 255;
const READY_MESSAGE: &str = "paybridge.smart_glocal.v1.ReadyToConfirm";
const FINISHED_MESSAGE: &str = "paybridge.smart_glocal.v1.PaymentFinished";
/// The longest id of an event, in bytes: ours have 32.
const EVENT_ID_BYTES_MAX: usize = 255;

/// A `ready_to_confirm`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadyEvent {
    /// The session.
    pub key: SessionKey,
    /// The event's id.
    pub event_id: String,
    /// When Kafka appended the event, by the broker's clock.
    pub recorded_at: Timestamp,
    /// The session as the provider signed it, or as the event has it where that cannot be verified.
    pub session: Session,
    /// The paths of the fields of its body that could not be read.
    pub unread_fields: Vec<String>,
    /// Which of the two.
    pub proof: EventProof,
}

/// Whether an event is known to be the provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventProof {
    /// Its evidence was verified again.
    Verified,
    /// It cannot be verified here: see [`Examined::Unverifiable`].
    Unverifiable,
}

/// A `payment_finished`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedEvent {
    /// The session.
    pub key: SessionKey,
    /// When Kafka appended the event, by the broker's clock.
    pub recorded_at: Timestamp,
    /// What the session looked like to the provider.
    pub view: SessionView,
    /// Whether that is known.
    pub proof: EventProof,
}

/// A record that is no event of its topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct UndecodableRecord {
    /// What is wrong with it.
    pub problem: RecordProblem,
    /// The configured source that it names, if it names a possible one.
    pub source_name: Option<Arc<str>>,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// No protobuf of the topic's message.
    #[error("the value is not the protobuf message of its topic")]
    NotProtobuf,
    /// A part that every event has.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A text beyond its bound.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// No name that a source can have.
    #[error("metadata.source is not a valid source name")]
    NotASource,
    /// An event of somebody whose sessions do not wait.
    #[error("metadata.provider is not smart-glocal")]
    OtherProvider,
    /// Two ids for one session.
    #[error("metadata.subject and session.id differ")]
    TwoSessions,
    /// A time that is none.
    #[error("{0} is not a valid timestamp")]
    Time(&'static str),
    /// A session on two partitions would be decided twice.
    #[error("the record is not on its session's partition, as murmur2 of the session's id gives it")]
    OtherPartition,
    /// Somebody else than the ingress wrote it.
    #[error("{0}")]
    Evidence(#[from] Contradiction),
    /// A session belongs to the source that opened it first.
    #[error("the session belongs to another source, which opened it first")]
    OtherSource,
    /// What the engine has to write for it is too large, or refused for another reason that no second try changes.
    #[error("Kafka refuses the record that the engine writes for this session")]
    Refused,
}

/// Of nobody knows whom.
impl From<RecordProblem> for UndecodableRecord {
    fn from(problem: RecordProblem) -> Self {
        Self { problem, source_name: None }
    }
}

impl RecordProblem {
    /// Under which reason such a record is in quarantine.
    pub fn reason(self) -> QuarantineReason {
        match self {
            Self::Evidence(_) => QuarantineReason::EvidenceDoesNotVerify,
            Self::OtherSource => QuarantineReason::SessionOfAnotherSource,
            Self::Refused => QuarantineReason::RecordRefused,
            Self::NotProtobuf
            | Self::Missing(_)
            | Self::TooLong(_)
            | Self::NotASource
            | Self::OtherProvider
            | Self::TwoSessions
            | Self::Time(_)
            | Self::OtherPartition => QuarantineReason::UndecodableRecord,
        }
    }
}

/// Understands a record of the topic of sessions that wait, which Kafka appended at `recorded_at`.
///
/// # Errors
/// The record is no such event: it belongs in quarantine.
pub fn ready(value: &[u8], recorded_at: Timestamp, verifiers: &Verifiers) -> Result<ReadyEvent, UndecodableRecord> {
    let ReadyToConfirm { metadata, session } = decode(value)?;
    let metadata = metadata.unwrap_or_default();
    let source_name = source_name(&metadata);
    read_ready(&metadata, session, recorded_at, verifiers).map_err(|problem| UndecodableRecord { problem, source_name })
}

/// Understands a record of the topic of sessions that are finished, which Kafka appended at `recorded_at`.
///
/// # Errors
/// The record is no such event: it belongs in quarantine.
pub fn finished(
    value: &[u8],
    recorded_at: Timestamp,
    verifiers: &Verifiers,
) -> Result<FinishedEvent, UndecodableRecord> {
    let PaymentFinished { metadata, session } = decode(value)?;
    let metadata = metadata.unwrap_or_default();
    let source_name = source_name(&metadata);
    read_finished(&metadata, session, recorded_at, verifiers)
        .map_err(|problem| UndecodableRecord { problem, source_name })
}

/// The partition of a session among `partitions` of each input and of the ledger.
pub fn partition_of(session_id: &str, partitions: i32) -> i32 {
    partition::of(session_id.as_bytes(), partitions)
}

impl ReadyEvent {
    /// What of it the ledger keeps, and whether it tells how old it is.
    pub fn opening(&self, mode: Mode) -> (Opening, EventAge) {
        let began_at = began_at(&self.session);
        let opening = Opening {
            ready_event_id: self.event_id.clone(),
            recorded_at: self.recorded_at,
            window_began_at: began_at.unwrap_or(self.recorded_at).min(self.recorded_at),
            operations: operations(&self.session),
            dry_run: match mode {
                Mode::Live => false,
                Mode::DryRun => true,
            },
            failed_rule: String::new(),
        };
        (opening, if began_at.is_some() { EventAge::Known } else { EventAge::Unknown })
    }
}

/// When a session's window began, as the provider tells it: its `updated_at`, else its `created_at`.
pub fn began_at(session: &Session) -> Option<Timestamp> {
    session.updated_at.or(session.created_at).as_ref().and_then(instant)
}

/// What of a session's operations the ledger keeps.
pub fn operations(session: &Session) -> Vec<v1::Operation> {
    session.operations.iter().map(kept).collect()
}

fn decode<M: Message + Default>(value: &[u8]) -> Result<M, UndecodableRecord> {
    M::decode(value).map_err(|_| UndecodableRecord { problem: RecordProblem::NotProtobuf, source_name: None })
}

fn source_name(metadata: &EventMetadata) -> Option<Arc<str>> {
    SourceName::new(&metadata.source).map(|name| Arc::from(name.as_ref()))
}

fn read_ready(
    metadata: &EventMetadata,
    session: Option<Session>,
    recorded_at: Timestamp,
    verifiers: &Verifiers,
) -> Result<ReadyEvent, RecordProblem> {
    let (key, session) = common(metadata, session)?;
    let told = present("metadata.event_id", metadata.event_id.clone(), EVENT_ID_BYTES_MAX)?;
    match evidence::examine(verifiers, metadata, READY_MESSAGE)? {
        Examined::Unverifiable => {
            let unread_fields = metadata.unread_fields.clone();
            Ok(ReadyEvent { key, event_id: told, recorded_at, session, unread_fields, proof: EventProof::Unverifiable })
        }
        Examined::Proven { event_id, message: ReadyToConfirm { session, .. }, unread_fields } => {
            let session = proven(&key, session)?;
            Ok(ReadyEvent { key, event_id, recorded_at, session, unread_fields, proof: EventProof::Verified })
        }
    }
}

fn read_finished(
    metadata: &EventMetadata,
    session: Option<Session>,
    recorded_at: Timestamp,
    verifiers: &Verifiers,
) -> Result<FinishedEvent, RecordProblem> {
    let (key, session) = common(metadata, session)?;
    match evidence::examine(verifiers, metadata, FINISHED_MESSAGE)? {
        Examined::Unverifiable => {
            Ok(FinishedEvent { key, recorded_at, view: view(&session), proof: EventProof::Unverifiable })
        }
        Examined::Proven { message: PaymentFinished { session, .. }, .. } => {
            let view = view(&proven(&key, session)?);
            Ok(FinishedEvent { key, recorded_at, view, proof: EventProof::Verified })
        }
    }
}

/// The session that was signed, if it is the one that the event is of.
fn proven(key: &SessionKey, session: Option<Session>) -> Result<Session, RecordProblem> {
    let session = session.filter(|session| *session.id == *key.session_id);
    session.ok_or(RecordProblem::Evidence(Contradiction::OtherEvent))
}

/// Where a session stands. A value of later days is nothing that is known to be an end.
fn view(session: &Session) -> SessionView {
    SessionView {
        status: SessionStatus::try_from(session.status).unwrap_or_default(),
        next_action: NextAction::try_from(session.next_action).unwrap_or_default(),
    }
}

/// What both events have: whose session it is, and the session.
fn common(metadata: &EventMetadata, session: Option<Session>) -> Result<(SessionKey, Session), RecordProblem> {
    if metadata.source.is_empty() {
        return Err(RecordProblem::Missing("metadata.source"));
    }
    let source = source_name(metadata).ok_or(RecordProblem::NotASource)?;
    if metadata.provider != CONFIRMATION_PROVIDER {
        return Err(RecordProblem::OtherProvider);
    }
    let session = session.ok_or(RecordProblem::Missing("session"))?;
    for (name, time) in [("session.updated_at", &session.updated_at), ("session.created_at", &session.created_at)] {
        if time.as_ref().is_some_and(|time| instant(time).is_none()) {
            return Err(RecordProblem::Time(name));
        }
    }
    let session_id = present("session.id", session.id.clone(), SESSION_ID_BYTES_MAX)?;
    if metadata.subject != session_id {
        return Err(RecordProblem::TwoSessions);
    }
    Ok((SessionKey { source, session_id: session_id.into() }, session))
}

fn present(name: &'static str, text: String, bytes_max: usize) -> Result<String, RecordProblem> {
    match text.len() {
        0 => Err(RecordProblem::Missing(name)),
        length if length > bytes_max => Err(RecordProblem::TooLong(name)),
        _ => Ok(text),
    }
}

fn kept(operation: &Operation) -> v1::Operation {
    let kind = match OperationKind::try_from(operation.kind) {
        Ok(OperationKind::Payout) => v1::OperationKind::Payout,
        Ok(OperationKind::Payment) => v1::OperationKind::Payment,
        Ok(OperationKind::Unspecified) | Err(_) => v1::OperationKind::Unspecified,
    };
    v1::Operation { id: operation.id.clone(), kind: kind.into(), amount: operation.amount.clone() }
}

#[cfg(test)]
mod tests;
