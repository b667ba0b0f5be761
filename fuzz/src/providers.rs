//! Target `providers`: any webhook at a source of each provider and preset, and any body that its sender signs.
//!
//! An input is a letter for the provider, a digit for what is done, and a webhook: 0 takes it as it is, 1 signs it, 2 signs it
//! and then changes a byte.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use paybridge::confirmation::codec::evidence::Verifiers;
use paybridge::confirmation::codec::inputs::{self, EventProof, RecordProblem};
use paybridge::encode::RecordForm;
use paybridge::provider::{AuthenticWebhook, CONFIRMATION_PROVIDER, PROVIDERS, RawWebhook, SignedWebhook};

use crate::fixtures::{FixtureKeys, NOW, configuration};
use crate::held;
use crate::records::{self, Seen};
use crate::request;
use crate::subject::Subject;

/// The letter of the first provider.
pub const FIRST_LETTER: u8 = b'A';
/// Number of the samples: the same each time.
const NUMBER: u64 = 7;

/// One source of each provider, in their order.
static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let subject = |provider: &str| {
        let config = configuration(provider);
        let name = config.sources.keys().next().cloned();
        name.and_then(|name| Subject::of(&config, &name)).unwrap_or_else(|| panic!("{provider} cannot be configured"))
    };
    PROVIDERS.iter().map(|provider| subject(provider.name())).collect()
});

/// What verifies events of the provider whose sessions wait.
pub static VERIFIERS: LazyLock<Verifiers> = LazyLock::new(|| {
    let config = configuration(CONFIRMATION_PROVIDER);
    let provider = paybridge::provider::find(CONFIRMATION_PROVIDER);
    let sources = config.sources.iter().filter_map(|(name, settings)| {
        let source = provider?.configure(&settings.section, &FixtureKeys).ok()?;
        Some((Arc::from(name.as_ref()), Arc::new(ArcSwap::from_pointee(source))))
    });
    sources.collect::<BTreeMap<_, _>>()
});

/// Checks one input.
pub fn check(input: &[u8]) {
    let [letter, digit, webhook @ ..] = input else { return };
    let place = usize::from(letter.wrapping_sub(FIRST_LETTER)) % SUBJECTS.len();
    let Some(subject) = SUBJECTS.get(place) else { return };
    let webhook = request::parse(webhook);
    match digit % 3 {
        0 => check_as_it_is(subject, webhook),
        1 => check_signed(subject, &webhook),
        _ => check_changed(subject, webhook),
    }
}

/// Nobody but the sender is believed.
fn check_as_it_is(subject: &Subject, webhook: RawWebhook) {
    records::explain(&**subject.source, &webhook);
    match AuthenticWebhook::receive(&**subject.source, webhook) {
        Err(rejected) => held::check_rejected(subject, &rejected.raw, rejected.reason),
        Ok(webhook) => {
            // Adyen's signatures stand in the body: the fixtures have right ones.
            let may_be_authentic = subject.settings.outline.body_unsigned || subject.settings.provider == "adyen";
            assert!(may_be_authentic, "a webhook was believed that nobody signed");
            check_authentic(subject, &webhook);
        }
    }
}

fn check_signed(subject: &Subject, webhook: &RawWebhook) {
    let signed = signed(subject, webhook);
    records::explain(&**subject.source, &signed);
    match AuthenticWebhook::receive(&**subject.source, signed) {
        Ok(webhook) => {
            check_authentic(subject, &webhook);
        }
        Err(rejected) => {
            // What their senders sign, or encrypt, is parts of a JSON body.
            let provider = subject.settings.provider.as_str();
            assert!(["adyen", "undostres"].contains(&provider), "{provider} refuses its own: {:?}", rejected.reason);
        }
    }
}

/// One changed byte is not believed, or changes nothing that counts.
fn check_changed(subject: &Subject, mut webhook: RawWebhook) {
    let body = webhook.body.clone();
    let Some(([place, change], body)) = body.split_first_chunk::<2>() else { return };
    webhook.body = webhook.body.slice_ref(body);
    let signed = signed(subject, &webhook);
    let mut bytes = signed.body.to_vec();
    let place = usize::from(*place) * bytes.len() / 256;
    let Some(byte) = bytes.get_mut(place).filter(|_| *change != 0) else { return };
    *byte ^= change;
    let changed = RawWebhook { body: bytes.into(), ..signed.clone() };
    if subject.settings.outline.body_unsigned {
        return;
    }
    let Ok(changed) = AuthenticWebhook::receive(&**subject.source, changed) else { return };
    assert!(changed.signed_parts().is_some_and(|parts| !parts.body_signed), "a changed body is believed");
    let Ok(webhook) = AuthenticWebhook::receive(&**subject.source, signed) else {
        panic!("a webhook is believed once it is changed");
    };
    let events = |webhook| records::events(subject, webhook).iter().map(Seen::of).map(Seen::signed).collect::<Vec<_>>();
    assert_eq!(events(&changed), events(&webhook), "a byte that is not signed makes another event");
}

fn signed(subject: &Subject, webhook: &RawWebhook) -> RawWebhook {
    let Some(sender) = &subject.sender else { panic!("{} has no sender", subject.settings.provider) };
    let signed: SignedWebhook = sender.sign(&webhook.path_suffix, webhook.body.clone(), NOW, NUMBER);
    request::with_signature(webhook, &signed)
}

fn check_authentic(subject: &Subject, webhook: &AuthenticWebhook) {
    let seen = records::check(subject, webhook);
    if subject.settings.provider != CONFIRMATION_PROVIDER {
        return;
    }
    for (event, seen) in records::events(subject, webhook).iter().zip(seen) {
        let id = event.identity.of_webhook();
        let record = subject.encoder.authentic(webhook, event, id, RecordForm::AsConfigured);
        let proof = match seen.topic_part {
            Some("ready-to-confirm") => inputs::ready(&record.value, NOW, &VERIFIERS).map(|event| event.proof),
            Some("payment-finished") => inputs::finished(&record.value, NOW, &VERIFIERS).map(|event| event.proof),
            _ => continue,
        };
        match proof.map_err(|refused| refused.problem) {
            Ok(proof) => assert_eq!(proof, EventProof::Verified, "the engine cannot verify what the ingress published"),
            Err(RecordProblem::TooLong(_)) => {}
            Err(problem) => panic!("the engine refuses what the ingress published: {problem}"),
        }
    }
}
