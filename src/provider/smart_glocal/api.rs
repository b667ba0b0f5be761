//! Smart Glocal's session API: what a call looks like and what its answer says.
//! Pure: must not know sockets, retries, or why a call is made.

mod reply;
mod session;
mod settings;

use std::fmt;

use aws_lc_rs::signature::RsaKeyPair;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use serde_json::json;

pub use super::normalize::{NEXT_ACTIONS, OPERATION_STATUSES, SESSION_STATUSES};
pub use super::signing::SIGNATURE_HEADER;
use super::signing::signature;
pub use super::unknown_amounts::OPERATION_LISTS;
use super::{ConfigureError, KeyFiles, KeyId, Section, SmartGlocalSettings};
use crate::message::smart_glocal::v1::{NextAction, SessionStatus};
use crate::provider::keys::public_half_id;

pub use reply::{FailureScope, failure_scope, is_of_account, not_processed_code, read};
pub use session::{ShownSession, session};
pub(super) use settings::ApiSettings;

/// The only provider whose sessions wait for confirmation.
pub const CONFIRMATION_PROVIDER: &str = super::NAME;
/// The header of the project's id.
pub const PROJECT_HEADER: &str = "x-partner-project";
/// The header of the idempotency key.
pub const IDEMPOTENCY_KEY_HEADER: &str = "x-partner-idempotency-key";

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
pub struct SessionView {
    /// Where it stands; unspecified for an unknown text.
    pub status: SessionStatus,
    /// What the provider waits for.
    pub next_action: NextAction,
}

/// What became of a call.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// The provider took the call. A status always has its session.
    Ok(Option<SessionView>),
    /// A business refusal of an action that the contract lists: final. Never the reply to a status.
    Refused {
        /// The provider's code.
        code: String,
        /// The provider's description; may hold personal data: for the outcome event, never for a log.
        description: String,
    },
    /// An error whose code the contract does not list, or that lists it as a refusal and a mere status got it.
    UnknownCode {
        /// The provider's code, at most 128 bytes.
        code: String,
        /// The provider's description, at most 1024 bytes; may hold personal data: never for a log.
        description: String,
    },
    /// An error that the provider means to be tried again, with another key.
    TryAgain,
    /// The idempotency key was used before.
    KeyExists,
    /// It was not sent at all: held back after others failed, too late to be sent, or there is nowhere to send it.
    NotSent,
    /// Not processed, and not for the session's sake: signature, project, address, TLS, too many calls. The call had no effect.
    NotProcessed,
    /// No telling whether the call had an effect: a timeout, a 5xx, an answer that does not parse.
    Unclear,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 3] = [Self::Confirm, Self::Cancel, Self::Status];

    /// The last part of its path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
            Self::Status => "status",
        }
    }

    /// The idempotency key of the `number`th try that the provider is to tell from others: `{action}:{session_id}:{number}`.
    /// A status changes nothing and has none. What cannot stand in a header is percent-encoded, so that different sessions
    /// keep different keys.
    pub fn idempotency_key(self, session_id: &str, number: u32) -> Option<String> {
        use std::fmt::Write;
        if self == Self::Status {
            return None;
        }
        let mut key = format!("{}:", self.as_str());
        for byte in session_id.bytes() {
            match byte {
                b'%' | 0..=b' ' | 127.. => write!(key, "%{byte:02X}").unwrap_or_default(),
                plain => key.push(char::from(plain)),
            }
        }
        write!(key, ":{number}").unwrap_or_default();
        Some(key)
    }
}

/// Without descriptions, which may hold personal data: a reply may be logged like this.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(view) => f.debug_tuple("Ok").field(view).finish(),
            Self::Refused { code, .. } => f.debug_struct("Refused").field("code", code).finish_non_exhaustive(),
            Self::UnknownCode { code, .. } => f.debug_struct("UnknownCode").field("code", code).finish_non_exhaustive(),
            Self::TryAgain => f.write_str("TryAgain"),
            Self::KeyExists => f.write_str("KeyExists"),
            Self::NotSent => f.write_str("NotSent"),
            Self::NotProcessed => f.write_str("NotProcessed"),
            Self::Unclear => f.write_str("Unclear"),
        }
    }
}

/// The session API of one source, with its project and the key that signs.
pub struct SessionApi {
    confirm: Uri,
    cancel: Uri,
    status: Uri,
    project: HeaderValue,
    key: RsaKeyPair,
    response_bytes_max: usize,
}

impl SessionApi {
    /// The API that a source's section describes; none without its table `api`.
    ///
    /// # Errors
    /// Which setting or key file cannot be used, and why.
    pub fn from_section(section: &Section, files: &dyn KeyFiles) -> Result<Option<Self>, ConfigureError> {
        let settings: SmartGlocalSettings = section.parse()?;
        settings.api.map(|api| api.open(files)).transpose()
    }

    /// A signed call, ready to be sent to its whole URL. `idempotency_key` is a value as
    /// [`Operation::idempotency_key`] makes it; one that cannot stand in a header is left out.
    pub fn request(&self, operation: Operation, session_id: &str, idempotency_key: Option<&str>) -> Request<Bytes> {
        let body = Bytes::from(json!({ "session_id": session_id }).to_string());
        let signature = signature(&self.key, &body);
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = match operation {
            Operation::Confirm => self.confirm.clone(),
            Operation::Cancel => self.cancel.clone(),
            Operation::Status => self.status.clone(),
        };
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static(PROJECT_HEADER), self.project.clone());
        let more = [(SIGNATURE_HEADER, Some(signature.as_str())), (IDEMPOTENCY_KEY_HEADER, idempotency_key)];
        for (name, value) in more {
            if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        request
    }

    /// The id of the public half of the key that signs: the half that the provider must know.
    pub fn key_id(&self) -> Option<KeyId> {
        public_half_id(&self.key)
    }

    /// The largest body of an answer that is read.
    pub fn response_bytes_max(&self) -> usize {
        self.response_bytes_max
    }

    /// Whether calls go over TLS.
    pub fn is_encrypted(&self) -> bool {
        self.status.scheme() == Some(&Scheme::HTTPS)
    }

    /// Whether calls go unencrypted to another machine, where everyone on the way can read them.
    pub fn is_plain_http_off_loopback(&self) -> bool {
        settings::is_plain_http_off_loopback(&self.status)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::provider::keys::public_keys;
    use crate::provider::tests::fixtures::{FixtureKeys, section};

    const API: &str = "base_url = 'https://example.com/x'\nversion = 1\nproject = 'shop'\n\
                       private_key_file = 'smart-glocal-private.pem'";

    fn open(api: &str) -> Result<Option<SessionApi>, ConfigureError> {
        let toml = format!("public_key_files = ['smart-glocal-public.pem']\n[api]\n{api}");
        SessionApi::from_section(&section(&toml), &FixtureKeys)
    }

    #[test]
    fn names_the_setting_that_cannot_be_used() {
        for (setting, wrong, expect) in [
            ("version = 1", "version = 3", "api.version"),
            ("'https://example.com/x'", "'example.com'", "api.base_url"),
            ("'shop'", "''", "api.project"),
            ("'shop'", "\"a\\nb\"", "api.project"),
            ("version = 1", "version = 1\nresponse_bytes_max = 10", "api.response_bytes_max"),
            ("smart-glocal-private.pem", "smart-glocal-public.pem", "smart-glocal-public.pem holds an RSA public key"),
            ("smart-glocal-private.pem", "none.pem", "none.pem cannot be read"),
            ("project = 'shop'\n", "", "`sources.test.api.project` is missing"),
        ] {
            let error = open(&API.replace(setting, wrong)).err().unwrap();
            assert!(error.to_string().starts_with(expect), "{wrong}: {error}");
        }
        let without = SessionApi::from_section(&section("public_key_files = ['x']"), &FixtureKeys).unwrap();
        assert!(without.is_none());
    }

    #[test]
    fn signs_exactly_the_bytes_of_the_body() {
        let api = open(API).unwrap().unwrap();
        let keys = public_keys(&FixtureKeys, &[PathBuf::from("smart-glocal-public.pem")]).unwrap();
        for (operation, key) in [(Operation::Confirm, Some("confirm:ps_\"1:1")), (Operation::Status, None)] {
            let request = api.request(operation, "ps_\"1", key);
            assert_eq!(request.uri(), &*format!("https://example.com/x/api/v1/session/{}", operation.as_str()));
            assert_eq!((request.method(), &request.body()[..]), (&Method::POST, &br#"{"session_id":"ps_\"1"}"#[..]));
            let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("content-type"), Some("application/json"));
            assert_eq!(header(PROJECT_HEADER), Some("shop"));
            assert_eq!(header(IDEMPOTENCY_KEY_HEADER), key);
            let signature = STANDARD.decode(header(SIGNATURE_HEADER).unwrap()).unwrap();
            assert!(keys[0].verifies(request.body(), &signature));
        }
        assert!(api.is_encrypted() && !api.is_plain_http_off_loopback());
        assert_eq!(api.response_bytes_max(), 1_048_576);
    }

    #[test]
    fn prints_no_description() {
        let (code, description) = ("account_not_found".to_owned(), "Jane Roe".to_owned());
        for reply in [
            Reply::Refused { code: code.clone(), description: description.clone() },
            Reply::UnknownCode { code, description },
        ] {
            let printed = format!("{reply:?}");
            assert!(printed.contains("account_not_found") && !printed.contains("Jane"), "{printed}");
        }
    }

    #[test]
    fn a_key_names_action_session_and_number() {
        assert_eq!(Operation::Confirm.idempotency_key("ps_3230", 2).as_deref(), Some("confirm:ps_3230:2"));
        assert_eq!(Operation::Cancel.idempotency_key("a b\n%é", 10).as_deref(), Some("cancel:a%20b%0A%25%C3%A9:10"));
        assert_eq!(Operation::Status.idempotency_key("ps_3230", 1), None);
    }

    proptest! {
        #[test]
        fn different_tries_have_different_keys_that_stand_in_a_header(
            one in (any::<String>(), any::<u32>()),
            other in (any::<String>(), any::<u32>()),
        ) {
            let key = |(id, number): &(String, u32)| Operation::Confirm.idempotency_key(id, *number).unwrap();
            prop_assert!(HeaderValue::from_str(&key(&one)).is_ok());
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }
    }
}
