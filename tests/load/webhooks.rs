//! The webhooks that a measurement sends: samples of the library, brought to a size, signed, each a different event, and all
//! of one length as requests. Must not know how they are sent or kept.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::config::files::FileReader;
use paybridge::provider::{self, AuthenticWebhook, RawWebhook, Sender, SignedWebhook, Source};
use serde_json::Value;

use crate::support::cache::CHECKOUT;

/// The first event's number. All that follow have as many digits.
const FIRST_NUMBER: u64 = 100_000_000;
/// Stands for an event's number, in as many digits.
const PLACE_HOLDER: u64 = 987_654_321;
/// When all of them are said to have happened.
const NOW: &str = "2026-01-02T03:04:05Z";
/// The header that tells the floor a record's key: it does not read bodies.
pub const KEY_HEADER: &str = "x-key";

/// What a provider's webhooks are made of.
pub struct Kind {
    /// The provider.
    pub provider: &'static str,
    /// The event, as its topic says it.
    pub event: &'static str,
    /// The provider's own keys of a source, with `KEYS` for the folder of keys.
    settings: &'static str,
    /// The files with the key that signs, and with the one that verifies.
    signing_key: &'static str,
    verifying_key: &'static str,
    /// Where a list stands that may have any number of elements.
    list: &'static str,
    /// The object with the text that fills what is left, and the text's name.
    filler: (&'static str, &'static str),
    /// What a small body does without: the object, and the field.
    spare: &'static [(&'static str, &'static str)],
}

/// Every kind that is measured.
pub static KINDS: [Kind; 3] = [
    Kind {
        provider: "smart-glocal",
        event: "payment-finished",
        settings: "public_key_files = [\"KEYS/smart-glocal-public.pem\"]",
        signing_key: "smart-glocal-private.pem",
        verifying_key: "smart-glocal-public.pem",
        list: "/session/payment_list",
        filler: ("/session/payment_list/0", "metadata"),
        spare: &[],
    },
    Kind {
        provider: "unipaas",
        event: "authorization-update",
        settings: "secret_files = [\"KEYS/unipaas.key\"]",
        signing_key: "unipaas.key",
        verifying_key: "unipaas.key",
        list: "/items",
        filler: ("", "description"),
        spare: &[("", "items"), ("", "paymentOption"), ("", "consumerEmail"), ("", "checkoutStatus")],
    },
    Kind {
        provider: "undostres",
        event: "payment-request-card",
        settings: "key_files = [\"KEYS/undostres.key\"]\naccount_ids = [321]",
        signing_key: "undostres.key",
        verifying_key: "undostres.key",
        list: "",
        filler: ("/details", "description"),
        spare: &[],
    },
];

/// How large bodies are before they are encrypted, where they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As the library's sample.
    Sample,
    /// Exactly so many bytes.
    Bytes(usize),
}

impl Size {
    /// The bytes, where they were chosen.
    pub fn bytes(self) -> Option<usize> {
        match self {
            Self::Sample => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

/// Webhooks of one kind, size, and number of sources.
pub struct Webhooks {
    /// Their kind.
    pub kind: &'static Kind,
    size: Size,
    sources: u64,
    sender: Box<dyn Sender>,
    path_suffix: String,
    /// A body before its signature, with the place holder for its number.
    text: String,
    /// The record's key that the daemon finds in it, likewise.
    key: String,
}

impl Kind {
    /// The kind of this provider.
    pub fn of(provider: &str) -> &'static Self {
        KINDS.iter().find(|kind| kind.provider == provider).unwrap()
    }

    /// The part of the daemon's configuration with so many sources.
    pub fn sources(&self, count: u64) -> String {
        let settings = self.settings.replace("KEYS", &keys_folder().display().to_string());
        (0..count).fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "[sources.{}]\nprovider = \"{}\"\n{settings}", source(number), self.provider);
            text
        })
    }

    /// The file with the key that signs.
    pub fn signing_key_file(&self) -> PathBuf {
        keys_folder().join(self.signing_key)
    }

    /// The file with the key that verifies.
    pub fn verifying_key_file(&self) -> PathBuf {
        keys_folder().join(self.verifying_key)
    }
}

impl Webhooks {
    /// Prepares the webhooks of a kind, for so many sources in turn.
    pub fn new(kind: &'static Kind, size: Size, sources: u64) -> Self {
        let config = Config::from_toml(&kind.sources(1), []).unwrap_or_else(|errors| panic!("{errors}"));
        let settings = config.sources.get(source(0).as_str()).unwrap();
        let (provider, files) = (provider::find(kind.provider).unwrap(), FileReader::new());
        let key_file = kind.signing_key_file();
        let sender = provider.sender(&settings.section, &files, Some(&key_file)).unwrap();
        let believer = provider.configure(&settings.section, &files).unwrap();
        let event_type = provider.event_types().iter().find(|one| one.topic_part == kind.event).unwrap();
        let sample = sender.sample(event_type, now(), PLACE_HOLDER);
        let path_suffix = sample.path_suffix.clone();
        let plain = authentic(&*believer, sample);
        let text = plain.plaintext().map_or_else(|| plain.raw().body.clone(), Clone::clone);
        let text = match size {
            Size::Sample => String::from_utf8(text.to_vec()).unwrap(),
            Size::Bytes(bytes) => kind.sized(serde_json::from_slice(&text).unwrap(), bytes),
        };
        let signed = sender.sign(&path_suffix, text.clone().into(), now(), PLACE_HOLDER);
        let key = believer.normalize(&source(0), &authentic(&*believer, signed)).event().unwrap().key.unwrap();
        Self { kind, size, sources, sender, path_suffix, text, key }
    }

    /// The request of the webhook at this place of the row.
    pub fn request(&self, index: u64) -> Vec<u8> {
        let number = FIRST_NUMBER + index;
        let numbered = |text: &str| text.replace(&PLACE_HOLDER.to_string(), &number.to_string());
        let signed = self.sender.sign(&self.path_suffix, numbered(&self.text).into(), now(), number);
        let mut head = format!("POST /webhooks/{}", source(index % self.sources));
        if !signed.path_suffix.is_empty() {
            let _ = write!(head, "/{}", signed.path_suffix);
        }
        let _ = write!(head, " HTTP/1.1\r\nhost: 127.0.0.1\r\n");
        for (name, value) in &signed.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "{KEY_HEADER}: {}\r\ncontent-length: {}\r\n\r\n", numbered(&self.key), signed.body.len());
        let mut request = head.into_bytes();
        request.extend_from_slice(&signed.body);
        request
    }

    /// Tells these webhooks from others, for people.
    pub fn name(&self) -> String {
        let size = match self.size {
            Size::Sample => "sample".to_owned(),
            Size::Bytes(bytes) => bytes.to_string(),
        };
        format!("{}-{size}-{}", self.kind.provider, self.sources)
    }
}

impl Kind {
    /// A body of exactly `bytes`: without what can be spared while it is too large, then with a longer list, then with a
    /// text that fills the rest.
    fn sized(&self, mut body: Value, bytes: usize) -> String {
        let (holder, filler) = self.filler;
        let entry = body.pointer_mut(holder).unwrap().as_object_mut().unwrap().entry(filler).or_insert("".into());
        *entry = "".into();
        for (holder, field) in self.spare {
            if body.to_string().len() > bytes {
                body.pointer_mut(holder).unwrap().as_object_mut().unwrap().remove(*field);
            }
        }
        if let Some(Value::Array(mut list)) = body.pointer(self.list).cloned() {
            let mut left = bytes.saturating_sub(body.to_string().len());
            let mut next = another(&list[0], list.len());
            while next.to_string().len() < left {
                left -= next.to_string().len() + 1;
                list.push(next);
                next = another(&list[0], list.len());
            }
            *body.pointer_mut(self.list).unwrap() = list.into();
        }
        let left = bytes.checked_sub(body.to_string().len()).unwrap();
        body.pointer_mut(holder).unwrap()[filler] = "x".repeat(left).into();
        body.to_string()
    }
}

/// The same element under an id of its own, where it has one.
fn another(element: &Value, number: usize) -> Value {
    let mut other = element.clone();
    if let Some(Value::String(id)) = other.get_mut("id") {
        let _ = write!(id, "_{number}");
    }
    other
}

/// The name of a source; all have one length.
fn source(number: u64) -> String {
    format!("load-{number:04}")
}

fn keys_folder() -> PathBuf {
    PathBuf::from(CHECKOUT).join("tests/fixtures/keys")
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A webhook as the daemon sees it, and believes it.
fn authentic(source: &dyn Source, signed: SignedWebhook) -> AuthenticWebhook {
    let headers: HeaderMap = signed
        .headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let raw = RawWebhook {
        path_suffix: signed.path_suffix,
        query: signed.query,
        headers,
        body: Bytes::clone(&signed.body),
        remote_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received_at: now(),
    };
    AuthenticWebhook::authenticate(source, raw).unwrap_or_else(|rejected| panic!("{}", rejected.reason))
}
