//! A webhook of each provider with the source that takes it, for what measures them. Must not measure.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot begin has no caller to tell")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use jiff::Timestamp;
use paybridge::config::files::FileReader;
use paybridge::config::{Config, EvidenceKeep, SourceConfig};
use paybridge::encode::{Bridge, Encoder};
use paybridge::provider::{self, RawWebhook, Source};

/// What is measured: its name, its provider, the event whose sample it is, and the source's settings. Where the event is another
/// measured one's name, its body is taken, so that the two can be compared.
pub const SOURCES: [(&str, &str, &str, &str); 8] = [
    ("smart-glocal", "smart-glocal", "payment-finished", "public_key_files = [\"KEYS/smart-glocal-public.pem\"]"),
    ("undostres", "undostres", "payment-request-card", "key_files = [\"KEYS/undostres.key\"]\naccount_ids = [321]"),
    ("unipaas", "unipaas", "authorization-update", "secret_files = [\"KEYS/unipaas.key\"]"),
    ("standard-webhooks", "standard-webhooks", "received", "secret_files = [\"KEYS/standard-webhooks.key\"]"),
    ("adyen", "adyen", "payment", "secret_files = [\"KEYS/adyen.key\"]"),
    ("stripe", "stripe", "unipaas", "secret_files = [\"KEYS/stripe.key\"]"),
    (
        "declared-rsa",
        "custom",
        "smart-glocal",
        "public_key_files = [\"KEYS/smart-glocal-public.pem\"]\n[sources.measured.signature]\nalgorithm = \"rsa-pkcs1-sha256\"\n\
         from = \"header:x-signature\"\nencoding = \"base64\"\nsigned = \"{body}\"\n\
         [sources.measured.event]\ntype = \"pointer:/type\"\nkey = \"pointer:/session/id\"",
    ),
    (
        "declared-ed25519",
        "custom",
        "smart-glocal",
        "public_key_files = [\"KEYS/ed25519-public.pem\"]\n[sources.measured.signature]\nalgorithm = \"ed25519\"\n\
         from = \"header:x-signature\"\nencoding = \"base64\"\nsigned = \"{body}\"\n\
         [sources.measured.event]\ntype = \"pointer:/type\"\nkey = \"pointer:/session/id\"",
    ),
];

/// One source, and a webhook that it takes.
pub struct Subject {
    settings: SourceConfig,
    pub source: Box<dyn Source>,
    pub raw: RawWebhook,
}

impl Subject {
    /// The subject that a row of [`SOURCES`] tells.
    pub fn of((name, provider, event, settings): (&str, &str, &str, &str)) -> Self {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys");
        let settings = settings.replace("KEYS", &keys.display().to_string());
        let toml = format!("[sources.measured]\nprovider = \"{provider}\"\n{settings}\n");
        let config = Config::from_toml(&toml, []).unwrap_or_else(|errors| panic!("{errors}"));
        let (_, settings) = config.sources.first_key_value().unwrap();
        let provider = provider::find(provider).unwrap();
        let signing_key = match name {
            "smart-glocal" | "declared-rsa" => Some("smart-glocal-private.pem"),
            "declared-ed25519" => Some("ed25519-private.pem"),
            _ => None,
        };
        let signing_key = signing_key.map(|file| keys.join(file));
        let sender = provider.sender(&settings.section, &FileReader::new(), signing_key.as_deref()).unwrap();
        let now = Timestamp::now();
        let signed = if let Some(other) = SOURCES.into_iter().find(|(measured, ..)| *measured == event) {
            sender.sign("", Self::of(other).raw.body, now, 1)
        } else {
            let event_type = settings.outline.event_types.iter().find(|event_type| event_type.topic_part == event);
            sender.sample(event_type.unwrap(), now, 100_000_000_000)
        };
        let headers = signed
            .headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let raw = RawWebhook {
            path_suffix: signed.path_suffix,
            query: signed.query,
            headers: headers.collect::<HeaderMap>(),
            body: signed.body,
            remote_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received_at: now,
        };
        Self {
            source: provider.configure(&settings.section, &FileReader::new()).unwrap(),
            settings: settings.clone(),
            raw,
        }
    }

    /// What makes the records of this source.
    pub fn encoder(&self) -> Encoder {
        let bridge = Bridge { instance: "paybridge-0".to_owned(), keep: EvidenceKeep::Inline };
        Encoder::new(&bridge, "measured", &self.settings, "payments")
    }
}
