//! Standard Webhooks 1.0.0, for any sender that follows it: HMAC-SHA256 over id, timestamp and body, in three headers.
//! Must not know HTTP servers, Kafka, or what a sender's bodies mean.

mod sample;
mod signature;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use self::signature::SigningSecret;
use super::json::{self, Reader, Unread};
use super::{
    AuthenticWebhook, ConfigureError, Content, Encoded, EventId, EventType, Identity, KeyFiles, KeyId, Normalized,
    Payload, Proof, Provider, RawWebhook, Sender, Source, Understood, Unverified,
};
use crate::message::event::v1::Scheme;
use crate::message::standard_webhooks::v1::WebhookReceived;
use crate::message::timestamp;
use crate::settings::Section;
use crate::settings::list::list;

/// The provider.
pub static PROVIDER: StandardWebhooks = StandardWebhooks;

/// The message's id, the same on every retry.
const ID_HEADER: &str = "webhook-id";
/// When this attempt was made, in seconds since 1970.
const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// `version,base64` entries, separated by spaces.
const SIGNATURE_HEADER: &str = "webhook-signature";

/// A day: with more, the timestamp would not bound replays.
const TOLERANCE_S_MAX: u64 = 86_400;

static RECEIVED: EventType = EventType {
    topic_part: "received",
    message: "paybridge.standard_webhooks.v1.WebhookReceived",
    payload: Payload::Raw,
};

/// Standard Webhooks, as a provider.
pub struct StandardWebhooks;

/// The keys of `[sources.NAME]` that are Standard Webhooks' own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StandardWebhooksSettings {
    /// Files with the shared secrets: `whsec_` and base64, or base64 alone.
    #[serde(deserialize_with = "list")]
    secret_files: Vec<PathBuf>,
    /// How far the signed time may be from now, in seconds, either way.
    #[serde(default = "default_tolerance_s")]
    tolerance_s: u64,
}

fn default_tolerance_s() -> u64 {
    300
}

impl StandardWebhooksSettings {
    fn secrets(&self, files: &dyn KeyFiles) -> Result<Vec<SigningSecret>, ConfigureError> {
        if self.secret_files.is_empty() {
            return Err(value("secret_files", "is empty: name at least one file with the shared secret".to_owned()));
        }
        let secrets = self.secret_files.iter().map(|path| SigningSecret::from_file(files, path));
        Ok(secrets.collect::<Result<_, _>>()?)
    }

    fn tolerance(&self) -> Result<Duration, ConfigureError> {
        match self.tolerance_s {
            1..=TOLERANCE_S_MAX => Ok(Duration::from_secs(self.tolerance_s)),
            _ => Err(value("tolerance_s", format!("must be from 1 to {TOLERANCE_S_MAX}"))),
        }
    }
}

fn value(key: &'static str, problem: String) -> ConfigureError {
    ConfigureError::Value { key: key.into(), problem }
}

impl Provider for StandardWebhooks {
    fn name(&self) -> &'static str {
        "standard-webhooks"
    }

    fn event_types(&self) -> &'static [EventType] {
        std::slice::from_ref(&RECEIVED)
    }

    fn evidence_headers(&self) -> &'static [&'static str] {
        &[ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER]
    }

    fn configure(&self, section: &Section, files: &dyn KeyFiles) -> Result<Box<dyn Source>, ConfigureError> {
        let settings: StandardWebhooksSettings = section.parse()?;
        let (secrets, tolerance) = (settings.secrets(files)?, settings.tolerance()?);
        Ok(Box::new(StandardWebhooksSource { secrets, tolerance }))
    }

    fn sender(
        &self,
        section: &Section,
        files: &dyn KeyFiles,
        signing_key: Option<&Path>,
    ) -> Result<Box<dyn Sender>, ConfigureError> {
        let mut settings: StandardWebhooksSettings = section.parse()?;
        settings.secret_files = signing_key.map_or(settings.secret_files, |path| vec![path.to_owned()]);
        let first = settings.secrets(files)?.into_iter().next();
        let secret = first.ok_or_else(|| value("secret_files", "is empty".to_owned()))?;
        Ok(Box::new(sample::StandardWebhooksSender { secret }))
    }
}

struct StandardWebhooksSource {
    secrets: Vec<SigningSecret>,
    tolerance: Duration,
}

impl Source for StandardWebhooksSource {
    fn authenticate(&self, webhook: &RawWebhook) -> Result<Proof, Unverified> {
        let id = webhook.header(ID_HEADER)?;
        let time = webhook.header(TIMESTAMP_HEADER)?;
        let signature = webhook.joined_header(SIGNATURE_HEADER)?;
        if id.is_empty() {
            // all webhooks without an id would be one event
            return Err(Unverified::HeaderMissing);
        }
        let secret = signature::verify(&self.secrets, id, time, &webhook.body, &signature)?;
        let distance = attempted_at(time).map(|time| webhook.received_at.duration_since(time).unsigned_abs());
        if distance.is_none_or(|distance| distance > self.tolerance) {
            return Err(Unverified::TimestampOutsideTolerance);
        }
        Ok(Proof {
            scheme: Scheme::StandardWebhooksV1,
            key_id: secret.id().clone(),
            signature,
            plaintext: None,
            signed_parts: None,
        })
    }

    fn normalize(&self, source: &str, webhook: &AuthenticWebhook) -> Understood {
        // Authentication saw to it that both headers are there.
        let id = webhook.raw().header(ID_HEADER).unwrap_or_default().to_owned();
        let attempted_at = webhook.raw().header(TIMESTAMP_HEADER).ok().and_then(attempted_at);
        let payload = webhook.content().clone();
        let unread = Unread::default();
        let (r#type, occurred_at) = match json::parse(&payload) {
            Ok(document) => {
                let body = Reader::new(document.object(), &unread);
                (body.text("type"), body.time("timestamp"))
            }
            // The body need not be JSON.
            Err(_) => (None, None),
        };
        let message = WebhookReceived {
            metadata: None,
            webhook_id: id.clone(),
            timestamp: attempted_at.map(timestamp),
            r#type: r#type.clone(),
            payload: payload.clone(),
        };
        Understood::Event(Normalized {
            event_type: r#type.unwrap_or_default(),
            identity: Identity::Event(EventId::over(&[source.as_bytes(), id.as_bytes()])),
            subject: id.clone(),
            key: Some(id).filter(|id| !id.is_empty()),
            // The header's time is the attempt's; the event's own, where the sender gives it, is in the body.
            occurred_at,
            unread_fields: unread.into_paths(),
            content: Content::Event(Encoded::new(&RECEIVED, &message)),
        })
    }

    fn key_ids(&self) -> Vec<KeyId> {
        self.secrets.iter().map(|secret| secret.id().clone()).collect()
    }
}

/// The instant in `webhook-timestamp`: digits, seconds since 1970, without a zero before them. The official libraries read the
/// number, write it again, and take that for what was signed.
fn attempted_at(header: &str) -> Option<Timestamp> {
    let one_reading = header.bytes().all(|byte| byte.is_ascii_digit()) && (header == "0" || !header.starts_with('0'));
    header.parse().ok().filter(|_| one_reading).and_then(|seconds| Timestamp::from_second(seconds).ok())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::provider::tests::fixtures::{Files, raw, section};

    /// The secret of the specification's own example, and another.
    const TWO_SECRETS: Files = Files(&[
        ("specification.key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"),
        ("other.key", "dGhpcnR5LXR3byBieXRlcyBvZiB0ZXN0IHNlY3JldCE="),
    ]);

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: &str = "1614265330";
    const BODY: &str = r#"{"test": 2432232314}"#;
    // printf 'ID.AT.BODY' | openssl dgst -sha256 -mac HMAC -macopt hexkey:SECRET -binary | base64
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const SIGNED_BY_OTHER: &str = "v1,uJXwtrSmEBBTOsAc2+I2WmfPt/zCW8xnqsjbmRQt1sQ=";
    // printf SECRET | base64 -d | sha256sum
    const SPECIFICATION_ID: &str = "f74e1720b7614881";
    const OTHER_ID: &str = "614d8a1a479717ba";

    fn webhook(id: &str, at: &str, signature: &str) -> RawWebhook {
        let mut webhook = raw("", BODY);
        webhook.received_at = Timestamp::from_second(1_614_265_330).unwrap();
        for (name, value) in [(ID_HEADER, id), (TIMESTAMP_HEADER, at), (SIGNATURE_HEADER, signature)] {
            webhook.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        webhook
    }

    fn authenticate(settings: &str, webhook: &RawWebhook) -> Result<Proof, Unverified> {
        PROVIDER.configure(&section(settings), &TWO_SECRETS).unwrap().authenticate(webhook)
    }

    fn check(webhook: &RawWebhook, expect: Result<&str, Unverified>) {
        let proof = authenticate("secret_files = ['specification.key', 'other.key']", webhook);
        let key_id = proof.as_ref().map(|proof| proof.key_id.as_str()).map_err(|reason| *reason);
        assert_eq!(key_id, expect, "{:?}", webhook.headers);
    }

    #[test]
    fn rejects_a_signature_over_anything_else() {
        check(&webhook("msg_q", AT, SIGNED), Err(Unverified::SignatureMismatch));
        check(&webhook(ID, "1614265331", SIGNED), Err(Unverified::SignatureMismatch));
        let mut other_body = webhook(ID, AT, SIGNED);
        other_body.body = r#"{"test": 2432232315}"#.into();
        check(&other_body, Err(Unverified::SignatureMismatch));
        let only_other = "secret_files = ['other.key']";
        let reason = authenticate(only_other, &webhook(ID, AT, SIGNED)).err();
        assert_eq!(reason, Some(Unverified::SignatureMismatch));
    }

    #[test]
    fn rejects_what_is_no_signature_of_version_1() {
        let base64 = SIGNED.trim_start_matches("v1,");
        for signature in [
            "",
            "v1",
            "v1,",
            "v1,=",
            "v1,????",
            base64,
            &format!("v1a,{base64}"),
            &format!("V1,{base64}"),
            &format!("v1={base64}"),
            SIGNED.trim_end_matches('='),
        ] {
            let reason = authenticate("secret_files = ['specification.key']", &webhook(ID, AT, signature)).err();
            let refused = matches!(reason, Some(Unverified::SignatureMalformed | Unverified::SignatureMismatch));
            assert!(refused, "{signature}: {reason:?}");
        }
        check(&webhook(ID, AT, "v1a,AAAA"), Err(Unverified::SignatureMalformed));
        check(&webhook(ID, AT, "v1,AAAA"), Err(Unverified::SignatureMismatch));
    }

    #[test]
    fn believes_the_example_of_the_specification() {
        check(&webhook(ID, AT, SIGNED), Ok(SPECIFICATION_ID));
        let settings = "secret_files = ['specification.key']";
        let proof = authenticate(settings, &webhook(ID, AT, SIGNED)).unwrap();
        assert_eq!((proof.scheme, proof.signature.as_str()), (Scheme::StandardWebhooksV1, SIGNED));
    }

    #[test]
    fn believes_any_entry_of_any_secret() {
        check(&webhook(ID, AT, SIGNED_BY_OTHER), Ok(OTHER_ID));
        check(&webhook(ID, AT, &format!("v1a,AAAA {SIGNED_BY_OTHER}")), Ok(OTHER_ID));
        check(&webhook(ID, AT, &format!("v1,AAAA v1,?? v2,x  {SIGNED} junk")), Ok(SPECIFICATION_ID));
        check(&webhook(ID, AT, &format!("{SIGNED_BY_OTHER} {SIGNED}")), Ok(SPECIFICATION_ID));
    }

    #[test]
    fn needs_each_header_and_id_and_time_once() {
        for name in [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER] {
            let mut missing = webhook(ID, AT, SIGNED);
            missing.headers.remove(name);
            check(&missing, Err(Unverified::HeaderMissing));
            let mut twice = webhook(ID, AT, SIGNED);
            twice.headers.append(name, twice.headers[name].clone());
            let expect = if name == SIGNATURE_HEADER { Ok(SPECIFICATION_ID) } else { Err(Unverified::HeaderMissing) };
            check(&twice, expect);
        }
        let mut two_lines = webhook(ID, AT, SIGNED_BY_OTHER);
        two_lines.headers.append(SIGNATURE_HEADER, HeaderValue::from_static(SIGNED));
        check(&two_lines, Ok(SPECIFICATION_ID));
        // correctly signed: printf '.AT.BODY' | openssl dgst …
        let no_id = webhook("", AT, "v1,BbrBopkxy1IaPTmLxhGOIjtynRWNh3UqphKDPFaJ1cU=");
        check(&no_id, Err(Unverified::HeaderMissing));
    }

    #[test]
    fn believes_a_time_within_the_tolerance_on_both_sides() {
        let received = |millisecond: i64| {
            let mut webhook = webhook(ID, AT, SIGNED);
            webhook.received_at = Timestamp::from_millisecond(1_614_265_330_000 + millisecond).unwrap();
            webhook
        };
        for near in [-300_000, -1, 0, 299_999, 300_000] {
            check(&received(near), Ok(SPECIFICATION_ID));
        }
        for far in [-300_001, 300_001, 86_400_000] {
            check(&received(far), Err(Unverified::TimestampOutsideTolerance));
        }
        let narrow = "secret_files = ['specification.key']\ntolerance_s = 10";
        assert!(authenticate(narrow, &received(10_000)).is_ok());
        assert_eq!(authenticate(narrow, &received(10_001)).err(), Some(Unverified::TimestampOutsideTolerance));
    }

    #[test]
    fn looks_at_the_signature_before_the_time() {
        let mut old = webhook(ID, AT, SIGNED_BY_OTHER.replace("uJX", "uJY").as_str());
        old.received_at = Timestamp::UNIX_EPOCH;
        check(&old, Err(Unverified::SignatureMismatch));
    }

    #[test]
    fn believes_no_signed_time_that_is_not_seconds() {
        // printf 'ID.TIME.BODY' | openssl dgst …
        for (time, signature) in [
            ("soon", "v1,gWDRGVFXKTPxYnGclMbyz9wJvM3Qk/KfKwiB5vpNles="),
            ("-5", "v1,l/pb02M0U1XOQ6FNMrRX3vHf4vuAINTlaceMbab7n6c="),
            ("99999999999999999999", "v1,Y8EYKvqreWPzrz+28sw4+VlNjZt49JVCG7Qfo2CIwqY="),
        ] {
            check(&webhook(ID, time, signature), Err(Unverified::TimestampOutsideTolerance));
        }
        assert_eq!(attempted_at("+5"), None);
        assert_eq!(attempted_at("05"), None);
        assert_eq!(attempted_at("0"), Some(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn has_one_id_for_every_attempt_whatever_the_body() {
        let source = PROVIDER.configure(&section("secret_files = ['other.key']"), &TWO_SECRETS).unwrap();
        let id = |source_name, webhook: RawWebhook| {
            source
                .normalize(source_name, &AuthenticWebhook::assumed(webhook))
                .event()
                .unwrap()
                .identity
                .of_webhook()
                .to_string()
        };
        let mut later = webhook("msg_1", "1614269999", SIGNED);
        later.body = "another".into();
        // printf '\0\0\0\0\0\0\0\4test\0\0\0\0\0\0\0\5msg_1' | sha256sum
        assert_eq!(id("test", later), "6a3a2443f20418eb43d95fb5ed216d18");
        assert_eq!(id("test", webhook("msg_1", AT, SIGNED)), "6a3a2443f20418eb43d95fb5ed216d18");
        assert_ne!(id("test", webhook("msg_2", AT, SIGNED)), id("test", webhook("msg_1", AT, SIGNED)));
        assert_ne!(id("other", webhook("msg_1", AT, SIGNED)), id("test", webhook("msg_1", AT, SIGNED)));
    }

    #[test]
    fn names_the_setting_that_cannot_be_used() {
        for (settings, named) in [
            ("secret_files = []", "secret_files"),
            ("secret_files = ['other.key']\ntolerance_s = 0", "tolerance_s"),
            ("secret_files = ['other.key']\ntolerance_s = 86401", "tolerance_s"),
            ("secret_files = ['other.key']\ntolerance = 5", "tolerance"),
            ("tolerance_s = 5", "secret_files"),
        ] {
            let error = PROVIDER.configure(&section(settings), &TWO_SECRETS).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| error.contains(named)), "{settings}: {error:?}");
        }
    }
}
