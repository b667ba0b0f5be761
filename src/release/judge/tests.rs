//! What becomes of held records: each verdict, and the events that are made.

use crate::provider;
use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::*;
use crate::kafka::decoded::ReadRecord;
use crate::message::event::v1::{
    AuthenticationFailure, EventMetadata, Evidence, QuarantineReason, QuarantinedWebhook, RejectedWebhook,
    UnrecognizedWebhook,
};
use crate::message::smart_glocal::v1::ReadyToConfirm;
use crate::message::timestamp;
use crate::provider::SignedWebhook;
use crate::provider::tests::fixtures::FixtureKeys;
use crate::release::held::HeldTopic;

const SOURCES: &str = "
[sources.sg]
provider = 'smart-glocal'
public_key_files = ['smart-glocal-public.pem']
allow_from = ['192.0.2.0/24']
[sources.pay]
provider = 'unipaas'
secret_files = ['unipaas.key']
[sources.other]
provider = 'standard-webhooks'
secret_files = ['standard-webhooks.key']
[sources.adyen]
provider = 'adyen'
secret_files = ['adyen.key']
basic_auth_files = ['adyen-basic-auth.key']
";
const READY: &str =
    r#"{"type":"ready_to_confirm","session":{"id":"ps_1","updated_at":"2026-01-02T03:04:00Z","payout_list":[]}}"#;
const RECEIVED: &str = "2026-01-02T03:04:05Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn judge(sources: &str) -> Judge {
    let config = Config::from_toml(sources, []).unwrap();
    let keys = config.sources.iter().map(|(name, settings)| {
        let provider = provider::find(&settings.provider).unwrap();
        let source = Arc::new(provider.configure(&settings.section, &FixtureKeys).unwrap());
        let present: PresentKeys = Box::new(move || Arc::clone(&source));
        (name.clone(), present)
    });
    let keys: BTreeMap<SourceName, PresentKeys> = keys.collect();
    Judge::new(&config, keys)
}

/// A webhook as its provider sends it, signed at the time of receipt.
fn signed(source: &str, path_suffix: &str, body: &str) -> SignedWebhook {
    let config = Config::from_toml(SOURCES, []).unwrap();
    let settings = config.sources.get(source).unwrap();
    let provider = provider::find(&settings.provider).unwrap();
    let private = (source == "sg").then_some("smart-glocal-private.pem".as_ref());
    let sender = provider.sender(&settings.section, &FixtureKeys, private).unwrap();
    sender.sign(path_suffix, body.to_owned().into(), at(RECEIVED), 1)
}

fn metadata(source: &str, webhook: &SignedWebhook) -> EventMetadata {
    let digest: [u8; 32] = Sha256::digest(&webhook.body).into();
    let headers = webhook.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let evidence = Evidence {
        raw_body: Some(webhook.body.clone()),
        body_sha256: Bytes::copy_from_slice(&digest),
        headers: headers.collect(),
        remote_address: "192.0.2.1".to_owned(),
        path_suffix: webhook.path_suffix.clone(),
        ..Evidence::default()
    };
    EventMetadata {
        source: source.to_owned(),
        received_at: Some(timestamp(at(RECEIVED))),
        evidence: Some(evidence),
        ..EventMetadata::default()
    }
}

fn record(topic: HeldTopic, value: Vec<u8>, recorded_at: &str) -> HeldRecord {
    let record = ReadRecord {
        topic: topic.name("payments"),
        timestamp_ms: Some(at(recorded_at).as_millisecond()),
        key: Some(b"sg".to_vec()),
        value: Some(value),
        ..ReadRecord::default()
    };
    HeldRecord::decode(topic, &record)
}

fn quarantined(reason: QuarantineReason, metadata: EventMetadata) -> HeldRecord {
    let message =
        QuarantinedWebhook { metadata: Some(metadata), reason: reason.into(), ..QuarantinedWebhook::default() };
    record(HeldTopic::Quarantine, message.encode_to_vec(), RECEIVED)
}

fn rejected(cut: bool, metadata: EventMetadata, recorded_at: &str) -> HeldRecord {
    let failure = AuthenticationFailure::SignatureMismatch.into();
    let message = RejectedWebhook { metadata: Some(metadata), failure, body_bytes: 3, body_cut: cut };
    record(HeldTopic::Rejected, message.encode_to_vec(), recorded_at)
}

fn stays(held: &HeldRecord, sources: &str) -> (ReleaseVerdict, String) {
    match judge(sources).judge(held, at(RECEIVED)).remove(0) {
        HeldJudgement::Stays(verdict, remark) => (verdict, remark),
        HeldJudgement::Event(event) => panic!("{event:?}"),
    }
}

fn event(held: &HeldRecord, now: &str) -> ReleasableEvent {
    match judge(SOURCES).judge(held, at(now)).remove(0) {
        HeldJudgement::Event(event) => *event,
        HeldJudgement::Stays(verdict, remark) => panic!("{verdict:?}: {remark}"),
    }
}

#[test]
fn what_is_no_whole_webhook_stays_where_it_is() {
    use ReleaseVerdict as Verdict;
    let whole = || metadata("sg", &signed("sg", "", READY));
    for reason in [QuarantineReason::UndecodableRecord, QuarantineReason::RecordRefused, QuarantineReason::Unspecified]
    {
        assert_eq!(stays(&quarantined(reason, whole()), SOURCES).0, Verdict::NoWebhook, "{reason:?}");
    }
    assert_eq!(stays(&rejected(true, whole(), RECEIVED), SOURCES).0, Verdict::BodyCut);
    assert_eq!(stays(&record(HeldTopic::Quarantine, vec![0xff], RECEIVED), SOURCES).0, Verdict::Unreadable);
    let mut without_body = whole();
    without_body.evidence.as_mut().unwrap().raw_body = None;
    assert_eq!(stays(&quarantined(QuarantineReason::WrongShape, without_body), SOURCES).0, Verdict::Unreadable);
    let unknown = quarantined(QuarantineReason::WrongShape, EventMetadata { source: "gone".to_owned(), ..whole() });
    assert_eq!(stays(&unknown, SOURCES), (Verdict::SourceNotConfigured, "gone".to_owned()));
}

#[test]
fn what_todays_configuration_does_not_take_stays_where_it_is() {
    use ReleaseVerdict as Verdict;
    let whole = || metadata("sg", &signed("sg", "", READY));
    let elsewhere = SOURCES.replace("192.0.2.0/24", "198.51.100.0/24");
    let held = quarantined(QuarantineReason::WrongShape, whole());
    assert_eq!(stays(&held, &elsewhere), (Verdict::AddressNotAllowed, "192.0.2.1".to_owned()));
    let mut forged = whole();
    forged.evidence.as_mut().unwrap().raw_body = Some(READY.replace("ps_1", "ps_2").into());
    let forged = quarantined(QuarantineReason::WrongShape, forged);
    assert_eq!(stays(&forged, SOURCES).0, Verdict::NotAuthentic);
    let odd = |body| quarantined(QuarantineReason::WrongShape, metadata("sg", &signed("sg", "", body)));
    let (verdict, remark) = stays(&odd(r#"{"type":"ready_to_confirm"}"#), SOURCES);
    assert!(verdict == Verdict::StillUndecodable && remark.contains("session"), "{verdict:?} {remark}");
    let (verdict, remark) = stays(&odd(r#"{"type":"later","session":{"id":"ps_1"}}"#), SOURCES);
    assert_eq!((verdict, remark.as_str()), (Verdict::StillUnrecognized, "type later"));
    let small = format!("[ingress]\nbody_bytes_max = 1024\n{SOURCES}");
    let padded = READY.replace("\"ps_1\"", &format!("\"ps_1\",\"pad\":\"{}\"", "x".repeat(70_000)));
    assert_eq!(stays(&odd(&padded), &small).0, Verdict::TooLarge);
}

#[test]
fn an_event_is_what_it_would_have_been_and_keeps_its_time_of_receipt() {
    for held in [
        quarantined(QuarantineReason::UnverifiedKept, metadata("sg", &signed("sg", "", READY))),
        rejected(false, metadata("sg", &signed("sg", "", READY)), "2026-01-02T03:04:59Z"),
        record(
            HeldTopic::Unrecognized,
            UnrecognizedWebhook {
                metadata: Some(metadata("sg", &signed("sg", "", READY))),
                ..UnrecognizedWebhook::default()
            }
            .encode_to_vec(),
            RECEIVED,
        ),
    ] {
        let event = event(&held, RECEIVED);
        let [record] = event.records.as_slice() else { panic!("{event:?}") };
        assert_eq!(record.topic, event.topic);
        assert_eq!((&*event.topic, record.key.as_str()), ("payments.smart-glocal.ready-to-confirm.v1", "ps_1"));
        let metadata = ReadyToConfirm::decode(record.value.as_slice()).unwrap().metadata.unwrap();
        assert_eq!(metadata.event_id, event.event_id.to_string());
        assert_eq!(metadata.received_at, Some(timestamp(at(RECEIVED))), "{:?}", held.from);
        assert_eq!(metadata.evidence.unwrap().raw_body.as_deref(), Some(READY.as_bytes()));
        assert_eq!(event.remark, None);
    }
}

#[test]
fn a_session_whose_window_is_over_is_not_opened_any_more() {
    let held = quarantined(QuarantineReason::UnverifiedKept, metadata("sg", &signed("sg", "", READY)));
    assert_eq!(event(&held, "2026-01-02T07:03:59Z").remark, None);
    assert_eq!(event(&held, "2026-01-02T07:04:00Z").remark, Some(EventRemark::OpensNoSession));
    let too_large = quarantined(QuarantineReason::TooLarge, metadata("sg", &signed("sg", "", READY)));
    assert_eq!(event(&too_large, RECEIVED).remark, Some(EventRemark::WasTooLarge));
}

/// The signed time of a sample counts by the broker's clock; that of what was kept by the clock of who received it.
#[test]
fn signed_times_are_held_against_the_time_of_receipt() {
    let whole = || metadata("other", &signed("other", "", "{}"));
    let near = rejected(false, whole(), "2026-01-02T03:06:00Z");
    assert_eq!(&*event(&near, "2026-02-01T00:00:00Z").topic, "payments.standard-webhooks.received.v1");
    let (verdict, _) = stays(&rejected(false, whole(), "2026-01-02T04:00:00Z"), SOURCES);
    assert_eq!(verdict, ReleaseVerdict::NotAuthentic);
    let wrong_clock = EventMetadata { received_at: Some(timestamp(at("2026-01-02T04:00:00Z"))), ..whole() };
    let sampled = rejected(false, wrong_clock.clone(), RECEIVED);
    assert_eq!(&*event(&sampled, RECEIVED).topic, "payments.standard-webhooks.received.v1");
    assert_eq!(
        stays(&quarantined(QuarantineReason::UnverifiedKept, wrong_clock), SOURCES).0,
        ReleaseVerdict::NotAuthentic
    );
}

/// Bodies without a time of their own come back as other events, by the hour of their receipt.
#[test]
fn a_state_that_comes_back_in_another_hour_is_another_event() {
    let body = r#"{"vendorId":"v-1","status":"active","onboardingStatus":"APPROVED"}"#;
    let state = |received_at: &str| {
        let whole = metadata("pay", &signed("pay", "onboarding/update", body));
        let received_at = Some(timestamp(at(received_at)));
        event(&quarantined(QuarantineReason::UnverifiedKept, EventMetadata { received_at, ..whole }), RECEIVED).event_id
    };
    assert_eq!(state("2026-01-02T03:04:05Z"), state("2026-01-02T03:59:59Z"));
    assert_ne!(state("2026-01-02T03:04:05Z"), state("2026-01-02T04:00:00Z"));
}

/// A password is asked for when a webhook is received, and is in no record.
#[test]
fn a_webhook_that_came_with_a_password_is_released_without_it() {
    let body = r#"{"pspReference":"P","eventCode":"CAPTURE","success":"true"}"#;
    let mut webhook = signed("adyen", "", body);
    webhook.headers.retain(|(name, _)| *name != "authorization");
    assert_eq!(webhook.headers.len(), 1);
    let held = quarantined(QuarantineReason::WrongShape, metadata("adyen", &webhook));
    assert_eq!(&*event(&held, RECEIVED).topic, "payments.adyen.payment.v1");
    webhook.body = String::from_utf8(webhook.body.to_vec()).unwrap().replace("CAPTURE", "REFUND").into();
    let held = quarantined(QuarantineReason::WrongShape, metadata("adyen", &webhook));
    assert_eq!(stays(&held, SOURCES).0, ReleaseVerdict::NotAuthentic);
}
