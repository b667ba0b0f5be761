//! The whole daemon in this process, on ports of its own, against a Kafka of the tests; and a client to talk to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use paybridge::app::{self, Listeners};
use paybridge::config::Config;
use paybridge::config::files::FileReader;
use paybridge::kafka::broker_clock::Broker;
use paybridge::kafka::topics::{self, Topic};
use paybridge::message::DESCRIPTORS;
use paybridge::provider::{self, EventType, Sender, SignedWebhook};
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cache::CHECKOUT;
use super::eventually::{ENDS_WITHIN, LIMIT, eventually};
use super::kafka::{Kafka, Record, unique_prefix};

/// A source of each provider whose answers tell the event's id, with the fixtures' keys.
pub const SOURCES: &str = r#"
[sources.sg-main]
provider = "smart-glocal"
public_key_files = ["smart-glocal-public.pem"]
[sources.udt]
provider = "undostres"
key_files = ["undostres.key"]
account_ids = [321]
[sources.unipaas]
provider = "unipaas"
secret_files = ["unipaas.key"]
[sources.other]
provider = "standard-webhooks"
secret_files = ["standard-webhooks.key"]
"#;

/// The file of a fixture key.
pub fn key_file(name: &str) -> PathBuf {
    Path::new(CHECKOUT).join("tests/fixtures/keys").join(name)
}

/// A running daemon. It is stopped, in order, when this value is dropped.
pub struct Bridge {
    /// Its configuration.
    pub config: Config,
    /// Where webhooks go: `http://127.0.0.1:port`.
    pub url: String,
    /// Where `/readyz` and `/metrics` are.
    pub admin_url: String,
    stop: CancellationToken,
    app: Option<JoinHandle<anyhow::Result<()>>>,
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Runtime,
}

/// What an HTTP server answered, and how long it took.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// From the request to the end of the answer.
    pub elapsed: Duration,
}

impl Answered {
    /// A field of the JSON body.
    pub fn json(&self, field: &str) -> String {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"));
        body[field].as_str().unwrap_or_default().to_owned()
    }
}

/// The series that counts replaced producers.
pub fn restarts_series(reason: &str) -> String {
    format!(r#"paybridge_kafka_producer_restarts_total{{reason="{reason}"}}"#)
}

/// The configuration of a test: its sources, the Kafka, and settings as environment variables without `PAYBRIDGE_`.
pub fn config(bootstrap: &str, sources: &str, settings: &[(&str, &str)]) -> Config {
    let keys = key_file("");
    let sources = sources.replace("_files = [\"", &format!("_files = [\"{}", keys.display()));
    let text = format!(
        r#"
        bridge_instance = "test"
        [ingress]
        listen = "127.0.0.1:8080"
        [admin]
        listen = "127.0.0.1:9090"
        [kafka]
        bootstrap_servers = "{bootstrap}"
        topic_prefix = "{prefix}"
        partitions = 3
        replication_factor = 1
        [shutdown]
        drain_delay_ms = 0
        {sources}"#,
        prefix = unique_prefix(),
    );
    let environment = settings.iter().map(|(name, value)| (format!("PAYBRIDGE_{name}"), (*value).to_owned()));
    Config::from_toml(&text, environment).unwrap_or_else(|errors| panic!("{errors}"))
}

impl Bridge {
    /// A ready daemon with a source of each provider and topics of its own on `kafka`.
    #[track_caller]
    pub fn start(kafka: &Kafka, settings: &[(&str, &str)]) -> Self {
        Self::start_with(kafka, SOURCES, settings)
    }

    /// A ready daemon with these sources and topics of its own on `kafka`.
    #[track_caller]
    pub fn start_with(kafka: &Kafka, sources: &str, settings: &[(&str, &str)]) -> Self {
        let config = config(kafka.bootstrap(), sources, settings);
        create_needed_topics(kafka, &config);
        let bridge = Self::launch(config);
        bridge.await_ready();
        bridge
    }

    /// A daemon that may never become ready.
    #[track_caller]
    pub fn launch(config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let (listeners, url, admin_url) = runtime.block_on(async {
            let ingress = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
            let urls = (url(&ingress), url(&admin));
            let ingress = config.ingress.enabled.then_some(ingress);
            (Listeners { ingress, admin }, urls.0, urls.1)
        });
        let app = runtime.spawn(app::serve(config.clone(), listeners, Broker::Stamps, stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { config, url, admin_url, stop, app: Some(app), client, runtime }
    }

    /// Waits until `/readyz` says yes.
    #[track_caller]
    pub fn await_ready(&self) {
        eventually(LIMIT, || match self.admin("/readyz") {
            answered if answered.status == 200 => Ok(()),
            answered => Err(format!("not ready: {}", answered.text)),
        });
    }

    /// Waits until it hears of the events of other replicas.
    #[track_caller]
    pub fn await_following(&self) {
        eventually(LIMIT, || match self.count("paybridge_dedup_following") {
            1 => Ok(()),
            _ => Err("it does not read the dedup topic".to_owned()),
        });
    }

    /// Sends one webhook to a source.
    pub fn post(&self, source: &str, webhook: &SignedWebhook) -> Answered {
        self.runtime.block_on(self.posting(source, webhook))
    }

    /// Sends webhooks to a source, all at once.
    pub fn post_all(&self, source: &str, webhooks: &[SignedWebhook]) -> Vec<Answered> {
        let tasks: Vec<_> = webhooks.iter().map(|webhook| self.runtime.spawn(self.posting(source, webhook))).collect();
        tasks.into_iter().map(|task| self.runtime.block_on(task).unwrap()).collect()
    }

    /// Sends one webhook in the background.
    pub fn post_later(&self, source: &str, webhook: &SignedWebhook) -> JoinHandle<Answered> {
        self.runtime.spawn(self.posting(source, webhook))
    }

    /// Waits for what runs in the background.
    pub fn wait<T>(&self, task: JoinHandle<T>) -> T {
        self.runtime.block_on(task).unwrap()
    }

    fn posting(&self, source: &str, webhook: &SignedWebhook) -> impl Future<Output = Answered> + Send + 'static {
        let url = format!("{}{}", self.url, self.path(source));
        exchange(self.client.clone(), webhook_request(&url, webhook))
    }

    /// The path of a source.
    pub fn path(&self, source: &str) -> String {
        let (name, settings) = self.config.sources.get_key_value(source).unwrap();
        settings.path(name)
    }

    /// Sends any request to the webhook port.
    pub fn request(&self, request: Request<Full<Bytes>>) -> Answered {
        self.runtime.block_on(exchange(self.client.clone(), request))
    }

    /// Asks the admin port.
    pub fn admin(&self, path: &str) -> Answered {
        let request = Request::builder().uri(format!("{}{path}", self.admin_url)).body(Full::default()).unwrap();
        self.request(request)
    }

    /// The value of one series as `/metrics` shows it: `paybridge_ready`, `name{label="value"}`; 0 where it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let metrics = self.admin("/metrics").text;
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The same for a whole number: a counter, or a gauge that counts.
    pub fn count(&self, series: &str) -> u64 {
        format!("{}", self.metric(series)).parse().unwrap()
    }

    /// How often its producer was replaced for a reason.
    pub fn restarts(&self, reason: &str) -> u64 {
        self.count(&restarts_series(reason))
    }

    /// The name of a topic: its part after the prefix.
    pub fn topic(&self, part: &str) -> String {
        format!("{}.{part}", self.config.kafka.topic_prefix.as_ref())
    }

    /// Stops the daemon as SIGTERM would, and gives what it ended with.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let Some(app) = self.app.take() else { return Ok(()) };
        self.runtime.block_on(async { tokio::time::timeout(ENDS_WITHIN, app).await })??
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            assert!(std::thread::panicking(), "the daemon ended badly: {error:#}");
        }
    }
}

async fn exchange(client: Client<HttpConnector, Full<Bytes>>, request: Request<Full<Bytes>>) -> Answered {
    try_exchange(client, request).await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// Sends a request; the error is of a connection that was refused, or of one that broke before its answer.
pub async fn try_exchange(
    client: Client<HttpConnector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answered, hyper_util::client::legacy::Error> {
    let begun = Instant::now();
    let response = client.request(request).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    Ok(Answered { status: head.status, headers: head.headers, text, elapsed: begun.elapsed() })
}

/// A webhook as a request to the source at `url`.
pub fn webhook_request(url: &str, webhook: &SignedWebhook) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(Method::POST).uri(webhook.address(url));
    for (name, value) in &webhook.headers {
        request = request.header(*name, value);
    }
    request.body(Full::new(webhook.body.clone())).unwrap()
}

/// Makes every topic that a configuration needs.
pub fn create_needed_topics(kafka: &Kafka, config: &Config) {
    create_topics(kafka, &topics::needed(config));
}

/// Makes topics with the settings that a configuration needs.
pub fn create_topics(kafka: &Kafka, needed: &[Topic]) {
    let settings: Vec<Vec<(&str, &str)>> = needed
        .iter()
        .map(|topic| topic.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
        .collect();
    let new: Vec<_> = needed
        .iter()
        .zip(&settings)
        .map(|(topic, settings)| (topic.name.as_str(), topic.partitions, settings.as_slice()))
        .collect();
    kafka.create_topics(&new);
}

/// Sends as the provider of a source of `config` would, with the fixtures' keys.
pub fn sender(config: &Config, source: &str) -> Box<dyn Sender> {
    let settings = config.sources.get(source).unwrap();
    let provider = provider::find(&settings.provider).unwrap();
    let private = key_file(&format!("{}-private.pem", provider.name()));
    let signing_key = private.exists().then_some(private);
    provider.sender(&settings.section, &FileReader::new(), signing_key.as_deref()).unwrap()
}

/// An event type of a provider by its topic part.
pub fn event_type(provider: &str, topic_part: &str) -> &'static EventType {
    let types = provider::find(provider).unwrap().event_types();
    types.iter().find(|event_type| event_type.topic_part == topic_part).unwrap()
}

/// A signed sample of a Smart Glocal `ready_to_confirm`; another number, another event.
pub fn ready_to_confirm(config: &Config, number: u64) -> SignedWebhook {
    let event_type = event_type("smart-glocal", "ready-to-confirm");
    sender(config, "sg-main").sample(event_type, Timestamp::now(), number)
}

/// A fixture's body, signed with the fixtures' key of Smart Glocal.
pub fn signed_fixture(config: &Config, name: &str) -> SignedWebhook {
    let body = fs::read(Path::new(CHECKOUT).join("tests/fixtures/smart-glocal").join(name)).unwrap();
    sender(config, "sg-main").sign("", body.into(), Timestamp::now(), 0)
}

/// A record's message as protobuf JSON with proto field names, decoded by its `ce_type`.
pub fn decoded(record: &Record) -> Value {
    let descriptor = DESCRIPTORS.get_message_by_name(record.header("ce_type").unwrap()).unwrap();
    let message = DynamicMessage::decode(descriptor, record.value.as_deref().unwrap()).unwrap();
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// How many records have each `ce_id`.
pub fn count_by_id(records: &[Record]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(record.header("ce_id").unwrap().to_owned()).or_default() += 1;
    }
    counts
}
