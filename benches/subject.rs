//! A webhook of each provider with the source that takes it, for what measures them. Must not measure.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot begin has no caller to tell")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use jiff::Timestamp;
use paybridge::config::files::FileReader;
use paybridge::config::{Config, EvidenceKeep};
use paybridge::encode::{Bridge, Encoder};
use paybridge::provider::{self, Provider, RawWebhook, Source};

/// A source of each provider, with the fixtures' keys, and the event whose sample is measured.
pub const SOURCES: [(&str, &str, &str); 4] = [
    ("smart-glocal", "payment-finished", "public_key_files = [\"KEYS/smart-glocal-public.pem\"]"),
    ("undostres", "payment-request-card", "key_files = [\"KEYS/undostres.key\"]\naccount_ids = [321]"),
    ("unipaas", "authorization-update", "secret_files = [\"KEYS/unipaas.key\"]"),
    ("standard-webhooks", "received", "secret_files = [\"KEYS/standard-webhooks.key\"]"),
];

/// One source, and a webhook that it takes.
pub struct Subject {
    provider: &'static dyn Provider,
    pub source: Box<dyn Source>,
    pub raw: RawWebhook,
}

impl Subject {
    /// The subject that a row of [`SOURCES`] tells.
    pub fn of((name, event, settings): (&str, &str, &str)) -> Self {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys");
        let settings = settings.replace("KEYS", &keys.display().to_string());
        let toml = format!("[sources.measured]\nprovider = \"{name}\"\n{settings}\n");
        let config = Config::from_toml(&toml, []).unwrap_or_else(|errors| panic!("{errors}"));
        let (_, settings) = config.sources.first_key_value().unwrap();
        let provider = provider::find(name).unwrap();
        let signing_key = keys.join("smart-glocal-private.pem");
        let signing_key = (name == "smart-glocal").then_some(signing_key.as_path());
        let sender = provider.sender(&settings.section, &FileReader::new(), signing_key).unwrap();
        let event_type = provider.event_types().iter().find(|event_type| event_type.topic_part == event).unwrap();
        let now = Timestamp::now();
        let signed = sender.sample(event_type, now, 100_000_000_000);
        let headers = signed
            .headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let raw = RawWebhook {
            path_suffix: signed.path_suffix,
            headers: headers.collect::<HeaderMap>(),
            body: signed.body,
            remote_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received_at: now,
        };
        Self { provider, source: provider.configure(&settings.section, &FileReader::new()).unwrap(), raw }
    }

    /// What makes the records of this source.
    pub fn encoder(&self) -> Encoder {
        let bridge = Bridge { instance: "paybridge-0".to_owned(), keep: EvidenceKeep::Inline };
        Encoder::new(&bridge, "measured", self.provider, "payments")
    }
}
