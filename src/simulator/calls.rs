//! How the simulated provider takes one call: it meets its fault, is proven, has its effect, and is answered.
//! Must not know connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::DATE;
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::answer::{self, SimulatedAnswer};
use super::faults::{Fault, FaultPlan};
use super::sessions::{ApiCall, CallResult, SimulatedSessions};
use super::{AnsweredCall, CallHook, Hook, ProviderClock};
use crate::provider::keys::PublicKey;
use crate::provider::smart_glocal::api::{IDEMPOTENCY_KEY_HEADER, Operation, PROJECT_HEADER, SIGNATURE_HEADER};

/// A call's body is a session's id.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulated provider hangs up")]
pub(super) struct HangUp;

/// The provider.
pub(super) struct ApiServer {
    pub version: u8,
    pub project: String,
    pub keys: Vec<PublicKey>,
    pub applied: Option<Hook>,
    pub answered: Option<CallHook>,
    state: Mutex<ApiState>,
    /// Lets held calls go on.
    pub releases: Semaphore,
    /// How many calls have come, authentic or not.
    pub arrivals: watch::Sender<u64>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

/// What changes while it serves.
pub(super) struct ApiState {
    pub sessions: SimulatedSessions,
    pub plan: FaultPlan,
    pub clock: ProviderClock,
}

#[derive(Deserialize)]
struct Body {
    session_id: String,
}

/// A call that is being taken.
struct CountedCall<'p>(&'p ApiServer);

impl ApiServer {
    pub(super) fn new(
        (version, project, keys): (u8, String, Vec<PublicKey>),
        (applied, answered): (Option<Hook>, Option<CallHook>),
        sessions: SimulatedSessions,
        plan: FaultPlan,
    ) -> Arc<Self> {
        Arc::new(Self {
            version,
            project,
            keys,
            applied,
            answered,
            state: Mutex::new(ApiState { sessions, plan, clock: ProviderClock::Offset(SignedDuration::ZERO) }),
            releases: Semaphore::new(0),
            arrivals: watch::Sender::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ApiState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most calls that were being taken at one moment.
    pub(super) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::Relaxed)
    }

    /// Takes one call, from its fault to its answer.
    pub(super) async fn take(&self, request: Request<Incoming>) -> Result<SimulatedAnswer, HangUp> {
        let _present = CountedCall::new(self);
        self.arrivals.send_modify(|count| *count += 1);
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| HangUp)?.to_bytes();
        let Some(operation) = self.operation(head.uri.path()) else {
            return Ok(self.dated(answer::plain(StatusCode::NOT_FOUND, "there is nothing here")));
        };
        let fault = self.state().plan.next(operation);
        match &fault {
            Some(Fault::Delay(time)) => sleep(*time).await,
            Some(Fault::Hold) => self.wait_for_release().await,
            _ => {}
        }
        let answer = match at_the_door(fault.as_ref(), head.uri.path()) {
            Some(answer) => answer?,
            None => match self.prove(&head, &body) {
                Ok(Body { session_id }) => self.answer(&head, operation, &session_id, fault.as_ref())?,
                Err(refusal) => *refusal,
            },
        };
        Ok(self.dated(answer))
    }

    async fn wait_for_release(&self) {
        // Never closed.
        if let Ok(permit) = self.releases.acquire().await {
            permit.forget();
        }
    }

    fn operation(&self, path: &str) -> Option<Operation> {
        let name = path.strip_prefix(&format!("/api/v{}/session/", self.version))?;
        Operation::ALL.into_iter().find(|operation| operation.as_str() == name)
    }

    /// What the call's body says, once it is known who says it.
    fn prove(&self, head: &Parts, body: &Bytes) -> Result<Body, Box<SimulatedAnswer>> {
        let header = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let signature = STANDARD.decode(header(SIGNATURE_HEADER)).unwrap_or_default();
        if header(PROJECT_HEADER) != self.project.as_bytes() {
            return Err(Box::new(answer::error(StatusCode::BAD_REQUEST, "authorization_error")));
        }
        if !self.keys.iter().any(|key| key.verifies(body, &signature)) {
            return Err(Box::new(answer::error(StatusCode::UNAUTHORIZED, "authentication_error")));
        }
        serde_json::from_slice(body).map_err(|_| Box::new(answer::error(StatusCode::BAD_REQUEST, "invalid_request")))
    }

    /// What an authentic call does, and what is answered.
    fn answer(
        &self,
        head: &Parts,
        operation: Operation,
        session_id: &str,
        fault: Option<&Fault>,
    ) -> Result<SimulatedAnswer, HangUp> {
        let key = head.headers.get(IDEMPOTENCY_KEY_HEADER).and_then(|key| key.to_str().ok());
        let call = ApiCall { operation, session_id, key, at: Timestamp::now() };
        let (answer, applied, error) = {
            let sessions = &mut self.state().sessions;
            match fault {
                Some(Fault::ForgetKeys) => sessions.forget_keys(),
                Some(Fault::ForgetSession) => sessions.forget_session(session_id),
                _ => {}
            }
            let said = carry_out(sessions, &call, fault);
            match said {
                CallResult::Ok(view, applied) => {
                    (answer::ok(session_id, view, sessions.fields(session_id)), applied, None)
                }
                CallResult::Error(code) => (answer::error(StatusCode::BAD_REQUEST, code), None, Some(code)),
            }
        };
        if let Some(hook) = &self.answered {
            hook(&AnsweredCall { session_id: session_id.to_owned(), operation, error });
        }
        if let (Some(applied), Some(hook)) = (&applied, &self.applied) {
            hook(applied);
        }
        on_the_way_back(fault, answer)
    }

    fn dated(&self, mut answer: SimulatedAnswer) -> SimulatedAnswer {
        let ProviderClock::Offset(offset) = self.state().clock else { return answer };
        let date = Timestamp::now().checked_add(offset).ok();
        let date = date.and_then(|date| DateTimePrinter::new().timestamp_to_rfc9110_string(&date).ok());
        if let Some(Ok(date)) = date.map(HeaderValue::try_from) {
            answer.headers_mut().insert(DATE, date);
        }
        answer
    }
}

/// Faults that happen before anybody looks at the call.
fn at_the_door(fault: Option<&Fault>, path: &str) -> Option<Result<SimulatedAnswer, HangUp>> {
    Some(Ok(match fault? {
        Fault::FailBefore => answer::plain(StatusCode::INTERNAL_SERVER_ERROR, "<html>oops</html>"),
        Fault::Unauthorized => answer::plain(StatusCode::UNAUTHORIZED, "who are you?"),
        Fault::NotFound => answer::plain(StatusCode::NOT_FOUND, "there is nothing here"),
        Fault::TooMany(retry_after) => answer::too_many(retry_after),
        Fault::RefuseBarely(code) => answer::bare_error(StatusCode::BAD_REQUEST, code),
        Fault::Redirect => answer::redirect(path),
        Fault::LoseRequest => return Some(Err(HangUp)),
        _ => return None,
    }))
}

/// Records the call, and does what it asks for unless something is against it.
fn carry_out(sessions: &mut SimulatedSessions, call: &ApiCall<'_>, fault: Option<&Fault>) -> CallResult {
    let received = sessions.receive(call);
    match fault {
        Some(Fault::Refuse(code)) => return CallResult::Error(code),
        Some(Fault::BurnKey) => {
            sessions.use_key(call.key);
            return CallResult::Error("internal_error");
        }
        _ => {}
    }
    if let Err(code) = received {
        return CallResult::Error(code);
    }
    if !sessions.use_key(call.key) {
        return CallResult::Error("idempotency_key_already_exists");
    }
    sessions.carry_out(call)
}

/// Faults that happen to the answer.
fn on_the_way_back(fault: Option<&Fault>, answer: SimulatedAnswer) -> Result<SimulatedAnswer, HangUp> {
    match fault {
        Some(Fault::LoseAnswer) => Err(HangUp),
        Some(Fault::FailAfter) => Ok(answer::plain(StatusCode::INTERNAL_SERVER_ERROR, "<html>oops</html>")),
        Some(Fault::Garbage) => Ok(answer::plain(StatusCode::OK, "{\"status\":\"ok\",")),
        Some(Fault::Huge) => Ok(answer::huge(answer)),
        Some(Fault::Drip) => Ok(answer::drip(answer)),
        Some(Fault::Gzip) => Ok(answer::gzip(answer)),
        Some(Fault::Mark) => Ok(answer::marked(answer)),
        _ => Ok(answer),
    }
}

impl<'p> CountedCall<'p> {
    fn new(provider: &'p ApiServer) -> Self {
        let now = provider.at_once.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        provider.most_at_once.fetch_max(now, Ordering::Relaxed);
        Self(provider)
    }
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}
