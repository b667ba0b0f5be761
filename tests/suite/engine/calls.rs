//! Calls of the session API over real sockets to the simulated provider: what each disappointment comes to, how many go at
//! once and in what order, and what holds them back.

mod faults;
mod flow;
mod forms;
mod secured;
mod simulated;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use paybridge::config::Config;
use paybridge::config::files::FileReader;
use paybridge::confirmation::calls::{CallAnswer, CallSettings, Caller, ProviderCall};
use paybridge::confirmation::session::model::SessionKey;
use paybridge::https::Roots;
use paybridge::metrics::Metrics;
use paybridge::provider;
use paybridge::provider::keys::{PublicKey, public_keys};
use paybridge::provider::smart_glocal::api::{Operation, Reply, SessionApi};
use paybridge::server::tls::Acceptor;
use paybridge::simulator::{self, Fault, Simulator};
use rustls::RootCertStore;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::support::bridge::key_file;
use crate::support::eventually::{LIMIT, eventually};
use crate::support::exposition::Exposition;
use crate::support::ports::free_port;

/// Longer than any call that is to be answered takes on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);
const PROJECT: &str = "shop";

/// A caller and the provider that it calls, which knows the public half of its key.
struct CallsSetup {
    simulator: Simulator,
    caller: Caller,
    answers: Receiver<CallAnswer>,
    api: Arc<ArcSwap<SessionApi>>,
    metrics: Arc<Metrics>,
    runtime: Runtime,
}

/// How the caller is made.
struct Way {
    timeout: Duration,
    in_flight_max: usize,
    send_within: Duration,
    roots: RootCertStore,
    tls: Option<Acceptor>,
    project: &'static str,
    private_key: PathBuf,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            timeout: PATIENT,
            in_flight_max: 8,
            send_within: PATIENT,
            roots: RootCertStore::empty(),
            tls: None,
            project: PROJECT,
            private_key: key_file("smart-glocal-private.pem"),
        }
    }
}

/// The key whose private half signs the calls.
fn known_keys() -> Vec<PublicKey> {
    public_keys(&FileReader::new(), &[key_file("smart-glocal-public.pem")]).unwrap()
}

fn session_api(base_url: &str, way: &Way) -> SessionApi {
    let toml = format!(
        "[sources.sg]\nprovider = 'smart-glocal'\npublic_key_files = ['{}']\n[sources.sg.api]\n\
         base_url = '{base_url}'\nversion = 2\nproject = '{}'\nprivate_key_file = '{}'",
        key_file("smart-glocal-public.pem").display(),
        way.project,
        way.private_key.display(),
    );
    let config = Config::from_toml(&toml, []).unwrap();
    let section = &config.sources.get("sg").unwrap().section;
    provider::find("smart-glocal").unwrap().session_api(section, &FileReader::new()).unwrap().unwrap()
}

impl CallsSetup {
    fn start() -> Self {
        Self::with(Way::default(), simulator::SimulatorSettings::new(PROJECT, known_keys()))
    }

    fn with(way: Way, settings: simulator::SimulatorSettings) -> Self {
        let runtime = Runtime::new().unwrap();
        let scheme = if way.tls.is_some() { "https" } else { "http" };
        let simulator = {
            let _entered = runtime.enter();
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            Simulator::start(listener, way.tls.clone(), settings).unwrap()
        };
        let base_url = format!("{scheme}://{}", simulator.address);
        Self::calling(&base_url, way, simulator, runtime)
    }

    /// A caller of another address than the simulator's.
    fn calling(base_url: &str, way: Way, simulator: Simulator, runtime: Runtime) -> Self {
        let metrics = Metrics::new().unwrap();
        let api = Arc::new(ArcSwap::from_pointee(session_api(base_url, &way)));
        let apis = BTreeMap::from([(Arc::from("sg"), Arc::clone(&api))]);
        let Way { timeout, in_flight_max, send_within, roots, .. } = way;
        let settings = CallSettings { timeout, in_flight_max, send_within, roots: Roots::Only(roots) };
        let (caller, answers) = Caller::start(settings, apis, runtime.handle().clone(), &metrics).unwrap();
        Self { simulator, caller, answers, api, metrics, runtime }
    }

    /// A caller of an address where nobody listens.
    fn calling_nobody() -> Self {
        let Self { simulator, runtime, .. } = Self::start();
        Self::calling(&format!("http://127.0.0.1:{}", free_port()), Way::default(), simulator, runtime)
    }

    /// Makes a call about a session that is ours at this moment.
    fn call(&self, call: ProviderCall) {
        self.caller.call(call, Instant::now());
    }

    fn answer(&self) -> CallAnswer {
        self.answers.recv_timeout(LIMIT).unwrap()
    }

    /// Calls, and waits for the one answer.
    fn ask(&self, operation: Operation, key_number: u32) -> CallAnswer {
        let call = ProviderCall { operation, key_number, ..call(1) };
        self.call(call.clone());
        let answer = self.answer();
        assert_eq!(answer.call, call);
        answer
    }

    fn reply(&self, operation: Operation, key_number: u32) -> Reply {
        self.ask(operation, key_number).reply
    }

    /// The actions that the provider has applied to the session.
    fn applied(&self) -> Vec<Operation> {
        self.simulator.session("ps_1").map(|session| session.actions()).unwrap_or_default()
    }

    /// Waits until so many calls have come to the provider.
    fn await_calls(&self, count: u64) {
        let come = async { tokio::time::timeout(LIMIT, self.simulator.await_calls(count)).await };
        self.runtime.block_on(come).unwrap();
    }

    /// Nothing more will be answered: nothing waits, and nothing is on its way.
    #[track_caller]
    fn expect_no_more_answers(&self) {
        eventually(LIMIT, || match self.caller.in_flight() {
            0 => Ok(()),
            left => Err(format!("{left} on their way")),
        });
        assert_eq!(self.answers.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    }

    /// The value of one series, its label values in the order of their names.
    fn counted(&self, name: &str, labels: &[&str]) -> String {
        let shown = Exposition::read(&self.metrics.render());
        shown.values(name).get(labels).unwrap_or_else(|| panic!("{name} {labels:?}")).to_string()
    }
}

/// The first confirmation of one session.
fn call(number: u32) -> ProviderCall {
    ProviderCall {
        key: SessionKey { source: "sg".into(), session_id: "ps_1".into() },
        epoch: 1,
        number,
        operation: Operation::Confirm,
        key_number: 1,
        due_by: Timestamp::UNIX_EPOCH,
    }
}
