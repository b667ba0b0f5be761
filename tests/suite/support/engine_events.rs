//! The events and decisions that the engine's tests write: signed as the provider signs them, and as the ingress publishes them.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use paybridge::config::Config;
use paybridge::config::files::FileReader;
use paybridge::message::confirmation::v1::{Action, Decision};
use paybridge::message::event::v1::{EventMetadata, Evidence};
use paybridge::message::smart_glocal::v1::{PaymentFinished, ReadyToConfirm, SessionStatus};
use paybridge::message::timestamp;
use paybridge::provider::{self, AuthenticWebhook, Content, RawWebhook, Sender, Source};
use prost::Message;
use serde_json::{Value, json};

use super::bridge::key_file;

/// A decision of another team on a session of the one source.
pub fn decision(session_id: &str, action: Action, decision_id: &str) -> Decision {
    Decision {
        source: "sg-main".to_owned(),
        session_id: session_id.to_owned(),
        action: action.into(),
        decided_by: "risk".to_owned(),
        reason: "looked at".to_owned(),
        decision_id: decision_id.to_owned(),
    }
}

/// The event of a session that waits since `updated_at`.
pub fn waiting_event(session_id: &str, updated_at: Timestamp, cents: i64) -> ReadyToConfirm {
    ready_event(session_id, "ready", updated_at, cents)
}

/// The same, one of several events of the session: `marker` tells them apart.
pub fn ready_event(session_id: &str, marker: &str, updated_at: Timestamp, cents: i64) -> ReadyToConfirm {
    event_of(&ready_body(session_id, marker, updated_at, cents))
}

/// What the provider signs of a session that waits.
pub fn ready_body(session_id: &str, marker: &str, updated_at: Timestamp, cents: i64) -> Value {
    let amount = json!({ "amount": cents, "currency": "usd" });
    let operation = json!({ "id": format!("po_{session_id}"), "amount_details": amount, "metadata": marker });
    json!({ "type": "ready_to_confirm", "session": {
        "id": session_id,
        "status": "in_progress",
        "next_action": "confirm",
        "updated_at": updated_at.to_string(),
        "payout_list": [operation],
    } })
}

/// The event of a session that finished just now.
pub fn finished_event(session_id: &str, status: SessionStatus) -> PaymentFinished {
    let status = match status {
        SessionStatus::Accepted => "accepted",
        SessionStatus::Cancelled => "cancelled",
        SessionStatus::Error => "error",
        SessionStatus::InProgress | SessionStatus::Created | SessionStatus::Unspecified => "in_progress",
    };
    event_of(&json!({ "type": "payment_finished", "session": {
        "id": session_id,
        "status": status,
        "updated_at": Timestamp::now().to_string(),
    } }))
}

/// The event of a body that the provider signed, as the ingress publishes it.
pub fn event_of<M: Event>(body: &Value) -> M {
    let signed = PROVIDER.sender.sign("", body.to_string().into(), Timestamp::now(), 0);
    let header =
        |(name, value): &(&'static str, String)| (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
    let webhook = RawWebhook {
        path_suffix: String::new(),
        query: String::new(),
        headers: signed.headers.iter().map(header).collect::<HeaderMap>(),
        body: signed.body,
        remote_address: [127, 0, 0, 1].into(),
        received_at: Timestamp::now(),
    };
    let authentic = AuthenticWebhook::authenticate(&*PROVIDER.source, webhook).ok().unwrap();
    let event = PROVIDER.source.normalize("sg-main", &authentic).event().unwrap();
    let Content::Event(encoded) = event.content else { panic!("no event: {body}") };
    let evidence = Evidence {
        raw_body: Some(authentic.raw().body.clone()),
        body_sha256: Bytes::from_static(&[0; 32]),
        scheme: authentic.scheme().into(),
        key_id: authentic.key_id().as_str().to_owned(),
        signature: authentic.signature().to_owned(),
        headers: signed.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Evidence::default()
    };
    let metadata = EventMetadata {
        event_id: event.identity.of_webhook().to_string(),
        source: "sg-main".to_owned(),
        provider: "smart-glocal".to_owned(),
        event_type: event.event_type,
        subject: event.subject,
        received_at: Some(timestamp(authentic.raw().received_at)),
        evidence: Some(evidence),
        ..EventMetadata::default()
    };
    M::decode(encoded.fields.as_slice()).unwrap().with(metadata)
}

/// A message with metadata.
pub trait Event: Message + Default {
    /// The same with this metadata.
    fn with(self, metadata: EventMetadata) -> Self;
}

impl Event for ReadyToConfirm {
    fn with(self, metadata: EventMetadata) -> Self {
        Self { metadata: Some(metadata), ..self }
    }
}

impl Event for PaymentFinished {
    fn with(self, metadata: EventMetadata) -> Self {
        Self { metadata: Some(metadata), ..self }
    }
}

/// The provider, with the key that it signs with.
struct Provider {
    sender: Box<dyn Sender>,
    source: Box<dyn Source>,
}

static PROVIDER: LazyLock<Provider> = LazyLock::new(|| {
    let public = key_file("smart-glocal-public.pem");
    let toml = format!("[sources.sg-main]\nprovider = 'smart-glocal'\npublic_key_files = ['{}']", public.display());
    let config = Config::from_toml(&toml, []).unwrap();
    let (_, settings) = config.sources.first_key_value().unwrap();
    let provider = provider::find("smart-glocal").unwrap();
    let private = key_file("smart-glocal-private.pem");
    Provider {
        sender: provider.sender(&settings.section, &FileReader::new(), Some(&private)).unwrap(),
        source: provider.configure(&settings.section, &FileReader::new()).unwrap(),
    }
});

/// This long ago.
pub fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}
