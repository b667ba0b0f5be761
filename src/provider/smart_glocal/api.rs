//! Smart Glocal's session API: what a call looks like and what its answer says.
//! Pure: must not know sockets, retries, or why a call is made.

use crate::message::smart_glocal::v1::{NextAction, SessionStatus};

/// A call of the session API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `session/confirm`.
    Confirm,
    /// `session/cancel`.
    Cancel,
    /// `session/status`.
    Status,
}

/// What a session looks like to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Where it stands; unspecified for an unknown text.
    pub status: SessionStatus,
    /// What the provider waits for.
    pub next_action: NextAction,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The provider took the call. A status always has its session.
    Ok(Option<Sight>),
    /// A business refusal that the contract lists: final.
    Refused {
        /// The provider's code.
        code: String,
        /// The provider's description.
        description: String,
    },
    /// An error whose code the contract does not list.
    UnknownCode {
        /// The provider's code.
        code: String,
        /// The provider's description.
        description: String,
    },
    /// An error that the provider means to be tried again, with another key.
    TryAgain,
    /// The idempotency key was used before.
    KeyExists,
    /// Our trouble, not the session's: signature, project, address, TLS, too many calls. The call had no effect.
    OurTrouble,
    /// No telling whether the call had an effect: a timeout, a 5xx, an answer that does not parse.
    Unclear,
}
