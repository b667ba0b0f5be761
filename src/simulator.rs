//! A simulated Smart Glocal session API: a real HTTP server whose calls are proven as the provider proves them, and that
//! fails on demand. For the demonstration and the tests only. Like a naive provider it does not protect its callers from
//! themselves: what is done twice, or confirmed and cancelled, is recorded.
//! Must not know who calls it, nor lean on the code that does, but for the words that both sides speak.

mod answer;
mod calls;
pub mod faults;
pub mod sessions;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::provider::keys::PublicKey;
pub use crate::provider::smart_glocal::api::{Operation, SessionView};
use crate::server::tls::Acceptor;
use calls::{ApiServer, HangUp};
use faults::FaultPlan;
pub use faults::{Fault, Faults};
use sessions::SimulatedSessions;
pub use sessions::{Applied, Received, SecondActions, Session, UnknownSessions};

/// More than any caller opens; the next is closed at once.
const CONNECTIONS_MAX: usize = 1024;

/// Is told of each action at the moment of its effect. Must not block.
pub type Hook = Arc<dyn Fn(&Applied) + Send + Sync>;

/// An authentic call with the answer that the provider has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredCall {
    /// The session.
    pub session_id: String,
    /// What was called.
    pub operation: Operation,
    /// The code of the error; none: it was done, or told.
    pub error: Option<&'static str>,
}

/// Is told of each authentic call before its answer is sent. Must not block.
pub type CallHook = Arc<dyn Fn(&AnsweredCall) + Send + Sync>;

/// The provider's idea of what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderClock {
    /// Ours plus this, in every answer's `Date`.
    Offset(SignedDuration),
    /// It does not say.
    Silent,
}

/// What the provider is like.
pub struct SimulatorSettings {
    /// The version of its API, 1 or 2.
    pub version: u8,
    /// The project that it knows.
    pub project: String,
    /// Whose calls it believes.
    pub keys: Vec<PublicKey>,
    /// What a session that nobody opened is.
    pub unknown_sessions: UnknownSessions,
    /// What becomes of a second action.
    pub second_actions: SecondActions,
    /// From an action to the end of its session, as `session/status` tells it.
    pub finish_after: Duration,
    /// Faults at random.
    pub faults: Faults,
    /// Is told of each action.
    pub applied: Option<Hook>,
    /// Is told of each call.
    pub answered: Option<CallHook>,
}

impl SimulatorSettings {
    /// A naive provider without faults that opens sessions when it is called, speaks version 2 of the API, and ends
    /// sessions at once.
    pub fn new(project: impl Into<String>, keys: Vec<PublicKey>) -> Self {
        Self {
            version: 2,
            project: project.into(),
            keys,
            unknown_sessions: UnknownSessions::Open,
            second_actions: SecondActions::Apply,
            finish_after: Duration::ZERO,
            faults: Faults::default(),
            applied: None,
            answered: None,
        }
    }
}

/// A running one. It ends when this is dropped, with everything that it has under way.
pub struct Simulator {
    /// Where it listens.
    pub address: SocketAddr,
    provider: Arc<ApiServer>,
    _stop: DropGuard,
}

impl Simulator {
    /// Serves on a socket, over TLS where there is an acceptor; to be called on a runtime.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn start(listener: TcpListener, tls: Option<Acceptor>, settings: SimulatorSettings) -> io::Result<Self> {
        let SimulatorSettings {
            version,
            project,
            keys,
            unknown_sessions,
            second_actions,
            finish_after,
            faults,
            applied,
            answered,
        } = settings;
        let address = listener.local_addr()?;
        let sessions = SimulatedSessions::new(unknown_sessions, second_actions, finish_after);
        let provider = ApiServer::new((version, project, keys), (applied, answered), sessions, FaultPlan::new(faults));
        let stop = CancellationToken::new();
        let serving = accept_all(listener, tls, Arc::clone(&provider), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self { address, provider, _stop: stop.drop_guard() })
    }

    /// Makes a session, or makes it look like this from now on; its record stays.
    pub fn open(&self, session_id: &str, view: SessionView) {
        self.provider.state().sessions.open(session_id, view);
    }

    /// Refuses every action on a session with this code from now on, whichever call comes first.
    pub fn refuse(&self, session_id: &str, code: &'static str) {
        self.provider.state().sessions.refuse(session_id, code);
    }

    /// Tells these fields of a session too from now on, as JSON has them: its times and operations, say.
    pub fn describe(&self, session_id: &str, fields: Map<String, Value>) {
        self.provider.state().sessions.describe(session_id, fields);
    }

    /// Makes a session another project's: every call about it is answered `authorization_error` from now on.
    pub fn disown(&self, session_id: &str) {
        self.provider.state().sessions.disown(session_id);
    }

    /// The next `count` calls meet the fault, after those that were asked for before.
    pub fn misbehave(&self, fault: Fault, count: u32) {
        self.provider.state().plan.add(None, fault, count);
    }

    /// The same, of one operation's calls.
    pub fn misbehave_at(&self, operation: Operation, fault: Fault, count: u32) {
        self.provider.state().plan.add(Some(operation), fault, count);
    }

    /// Ends the faults that were asked for.
    pub fn recover(&self) {
        self.provider.state().plan.clear();
    }

    /// Lets so many calls go on that [`Fault::Hold`] holds, now or later.
    pub fn release(&self, count: usize) {
        self.provider.releases.add_permits(count);
    }

    /// Sets the provider's clock, for all answers to come.
    pub fn set_clock(&self, clock: ProviderClock) {
        self.provider.state().clock = clock;
    }

    /// Forgets all idempotency keys.
    pub fn forget_keys(&self) {
        self.provider.state().sessions.forget_keys();
    }

    /// Makes a session unknown to calls.
    pub fn forget_session(&self, session_id: &str) {
        self.provider.state().sessions.forget_session(session_id);
    }

    /// How many calls have met a fault, by the fault's name.
    pub fn faults_met(&self) -> BTreeMap<&'static str, u64> {
        self.provider.state().plan.met().clone()
    }

    /// A session with its record.
    pub fn session(&self, session_id: &str) -> Option<Session> {
        self.provider.state().sessions.session(session_id, Timestamp::now())
    }

    /// All sessions with their records, by their ids; the last 100,000.
    pub fn sessions(&self) -> BTreeMap<String, Session> {
        self.provider.state().sessions.sessions(Timestamp::now())
    }

    /// Waits until so many calls have come since the start, authentic or not.
    pub async fn await_calls(&self, count: u64) {
        // The sender lives as long as the provider, which `self` holds.
        let mut arrivals = self.provider.arrivals.subscribe();
        let _come = arrivals.wait_for(|come| *come >= count).await;
    }

    /// Calls that have come since the start, authentic or not.
    pub fn calls(&self) -> u64 {
        *self.provider.arrivals.borrow()
    }

    /// The most calls that it was taking at one moment.
    pub fn most_at_once(&self) -> usize {
        self.provider.most_at_once()
    }
}

async fn accept_all(listener: TcpListener, tls: Option<Acceptor>, provider: Arc<ApiServer>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, perhaps: others may run meanwhile.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (tls, provider, within) = (tls.clone(), Arc::clone(&provider), stop.clone());
        let connection = async move {
            let _place = place;
            match tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => converse(stream, provider, within).await,
                    Err(error) => tracing::debug!(%error, "the simulated provider cannot shake hands"),
                },
                None => converse::<TcpStream>(stream, provider, within).await,
            }
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

async fn converse<S>(stream: S, provider: Arc<ApiServer>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let provider = Arc::clone(&provider);
        let taking = stop.clone().run_until_cancelled_owned(async move { provider.take(request).await });
        // A task of its own: a call has its effect also when its caller has hung up.
        let taking = tokio::spawn(taking);
        async move { taking.await.ok().flatten().unwrap_or(Err(HangUp)) }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    // The provider's own clock tells the date.
    http.http1().auto_date_header(false);
    http.http2().auto_date_header(false);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(error, "a connection of the simulated provider ended");
    }
}
