//! What must hold of a record that is held: its own evidence proves it again, and neither a release nor the engine takes it for more
//! than it is.
//! Must not know how the record came to be.

use paybridge::kafka::record::Record;
use paybridge::message::release::v1::ReleaseVerdict as Verdict;
use paybridge::provider::{AuthenticWebhook, Content, Normalized, RawWebhook, Unverified};
use paybridge::release::held::{HeldKind, HeldRecord, HeldTopic};
use paybridge::release::judge::HeldJudgement;

use crate::fixtures::NOW;
use crate::records;
use crate::subject::{PREFIX, Subject};

/// How much of a rejected body is kept: less than most have, so that some are cut.
const REJECTED_BYTES_MAX: usize = 256;
/// What a record has for an id that has none.
const RANDOM_ID: &str = "0190a0b0-0000-7000-8000-000000000000";

/// A record of an authentic webhook: where it is held, a release finds it as authentic as it was, and as unreadable.
pub fn check(subject: &Subject, webhook: &AuthenticWebhook, event: &Normalized, record: &Record) {
    let Some(topic) = HeldTopic::of_name(&record.topic, PREFIX) else {
        assert!(matches!(event.content, Content::Event(_)), "what is held is on {}", record.topic);
        return;
    };
    let held = HeldRecord::decode(topic, &records::read(record));
    assert_eq!((held.kind, held.source()), (HeldKind::Webhook, subject.name.as_str()), "{held:?}");
    for judgement in subject.judge.judge(&held, NOW) {
        let HeldJudgement::Stays(verdict, remark) = judgement else { panic!("it was held, and is an event at once") };
        let expected = [Verdict::StillUndecodable, Verdict::StillUnrecognized, Verdict::AddressNotAllowed];
        // A token is a secret, which no record has.
        let has_token = webhook.signed_parts().is_some_and(|parts| parts.template.is_empty());
        let is_expected = expected.contains(&verdict) || has_token && verdict == Verdict::NotAuthentic;
        assert!(is_expected, "{verdict:?}: {remark}");
    }
}

/// A webhook that is not believed is not believed either when it is released by what was kept of it.
pub fn check_rejected(subject: &Subject, raw: &RawWebhook, reason: Unverified) {
    let sample = subject.encoder.rejected(raw, reason, REJECTED_BYTES_MAX, RANDOM_ID);
    let kept = subject.encoder.unverified(raw, reason, RANDOM_ID);
    for record in [sample, kept] {
        records::decode(&record);
        let Some(topic) = HeldTopic::of_name(&record.topic, PREFIX) else { panic!("{} holds nothing", record.topic) };
        let held = HeldRecord::decode(topic, &records::read(&record));
        for judgement in subject.judge.judge(&held, NOW) {
            let HeldJudgement::Stays(verdict, remark) = judgement else {
                panic!("it was rejected as {reason:?}, and can be released");
            };
            let expected = [Verdict::NotAuthentic, Verdict::BodyCut, Verdict::AddressNotAllowed];
            assert!(expected.contains(&verdict), "rejected as {reason:?}, and then {verdict:?}: {remark}");
        }
    }
}
