//! What the engine knows of a session, between its `ready_to_confirm` and its end.
//! Pure: no clock, no input or output; must not know how it is stored or what happens next.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::message::confirmation::v1;

/// One session of one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The name of the source in the configuration.
    pub source: Arc<str>,
    /// The provider's id of the session.
    pub session_id: Arc<str>,
}

/// As the ledger's key has it: a source's name holds no slash.
impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.session_id)
    }
}

impl SessionKey {
    /// As the ledger's key has it.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (source, session_id) = std::str::from_utf8(key).ok()?.split_once('/')?;
        Some(Self { source: source.into(), session_id: session_id.into() })
    }
}

/// Whether the provider is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Live,
    /// It is not: decisions are only told.
    DryRun,
}

/// What is done with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Its operations go on.
    Confirm,
    /// It ends without them.
    Cancel,
}

impl Action {
    /// As commands and log lines write it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        }
    }
}

impl From<Action> for v1::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Confirm => Self::Confirm,
            Action::Cancel => Self::Cancel,
        }
    }
}

/// What the ledger remembers of a session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEntry {
    /// Decisions that wait for their session; at least one.
    Early(Vec<Decision>),
    /// Not opened yet: the provider is asked first whether it still waits.
    Checking(Box<Checking>),
    /// Opened, not decided.
    Awaiting(Box<Opening>),
    /// Decided, not ended.
    Decided(Box<Decided>),
}

impl SessionEntry {
    /// How many decisions wait for the session to open.
    pub fn waiting_decisions(&self) -> usize {
        match self {
            Self::Early(early) => early.len(),
            Self::Checking(checking) => checking.early.len(),
            Self::Awaiting(_) | Self::Decided(_) => 0,
        }
    }

    /// What opened it, or is to open it; none where only decisions wait.
    pub fn opening_mut(&mut self) -> Option<&mut Opening> {
        match self {
            Self::Early(_) => None,
            Self::Checking(checking) => Some(&mut checking.opening),
            Self::Awaiting(opening) => Some(opening),
            Self::Decided(decided) => Some(&mut decided.opening),
        }
    }
}

/// A decision of another team, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub action: Action,
    /// Who decided.
    pub decided_by: String,
    /// Why, for people.
    pub reason: String,
    /// Its identity; empty: none.
    pub decision_id: String,
    /// Offset of its record in its partition.
    pub offset: i64,
    /// When Kafka appended that, by the broker's clock.
    pub recorded_at: Timestamp,
}

/// What the `ready_to_confirm` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its event id.
    pub ready_event_id: String,
    /// When Kafka appended its event, by the broker's clock.
    pub recorded_at: Timestamp,
    /// When the window began: the session's `updated_at`, else its `created_at`, but never later than `recorded_at`.
    pub window_began_at: Timestamp,
    /// The session's operations.
    pub operations: Vec<v1::Operation>,
    /// Whether nobody is called.
    pub dry_run: bool,
    /// The rule that failed, and therefore holds the session; empty: none.
    pub failed_rule: String,
}

/// A session that opens only if `session/status` says that the provider still waits for its confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checking {
    /// What its `ready_to_confirm` said.
    pub opening: Opening,
    /// What the rules go by, and what they said.
    pub basis: RuleBasis,
    /// Whether the `ready_to_confirm` tells how old it is.
    pub age: EventAge,
    /// Decisions that wait for the session; may be none.
    pub early: Vec<Decision>,
}

/// What the rules go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleBasis {
    /// The verified webhook, and this is what they say; nothing: they hold.
    Webhook(Option<(Action, Decider)>),
    /// What `session/status` shows, because the webhook cannot be verified here. Times and operations go by that too.
    Status,
}

/// How it is known when a session's window began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventAge {
    /// The provider's body says it.
    Known,
    /// It does not: an old body that is sent again looks as if it were new.
    Unknown,
}

/// What decided, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decider {
    /// Which kind.
    pub kind: v1::DeciderKind,
    /// The rule's name, or who decided; else empty.
    pub name: String,
    /// The decision's identity; else empty.
    pub decision_id: String,
    /// The decision's reason; else empty.
    pub reason: String,
}

impl Decider {
    /// A decider without a name.
    pub fn of_kind(kind: v1::DeciderKind) -> Self {
        Self { kind, name: String::new(), decision_id: String::new(), reason: String::new() }
    }
}

/// A session that is decided and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What opened it.
    pub opening: Opening,
    /// What is done; never changes.
    pub action: Action,
    /// What decided.
    pub decider: Decider,
    /// When.
    pub decided_at: Timestamp,
    /// Number of the idempotency key used last, or about to be; 0: none.
    pub key_number: u32,
    /// Calls of the action that were made or are about to be.
    pub attempts: u32,
    /// Answers with an unknown code: how many, and since when.
    pub unknown_codes: Option<(u32, Timestamp)>,
    /// Whether the action was tried after the window's end.
    pub tried_after_window: bool,
}

/// What the ledger remembers of a session that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// When it ended.
    pub done_at: Timestamp,
    /// How.
    pub result: v1::Result,
    /// Event id of the `ready_to_confirm`.
    pub ready_event_id: String,
    /// Identity of the decision that counted; else empty.
    pub decision_id: String,
}

/// How a session ended, for the outcome event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What opened it.
    pub opening: Opening,
    /// What was decided, by what, and when; nothing where it ended before.
    pub decided: Option<(Action, Decider, Timestamp)>,
    /// What came of it.
    pub result: v1::Result,
    /// The provider's code and description of a refusal.
    pub refusal: Option<ProviderRefusal>,
    /// Calls of the action that were made or were about to be.
    pub attempts: u32,
    /// When the provider's answer or last word came in.
    pub answered_at: Option<Timestamp>,
    /// When the outcome was known.
    pub known_at: Timestamp,
    /// Seconds left of the window then; negative after its end.
    pub remaining_seconds: i64,
    /// Whether the provider itself told how it ended.
    pub verified: bool,
}

/// A refusal in the provider's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRefusal {
    /// The code.
    pub code: String,
    /// The description.
    pub description: String,
}
