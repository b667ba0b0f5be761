//! Whether an event's evidence proves what the event says: whoever may write a topic could put another amount on a real session.
//! Pure: must not know what an event leads to, nor how a provider signs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use prost::Message;

use crate::message::event::v1::{EventMetadata, Evidence};
use crate::provider::{AuthenticWebhook, Content, RawWebhook, Source};

/// The sources whose events can be verified, by name, each with the keys of the moment.
pub type Verifiers = BTreeMap<Arc<str>, Arc<ArcSwap<Box<dyn Source>>>>;

/// What the evidence proves.
#[derive(Clone, Debug, PartialEq)]
pub enum Examined<M> {
    /// The provider sent this.
    Proven {
        /// The event's id, as the verified bytes give it.
        event_id: String,
        /// The message, as the verified bytes give it, without metadata.
        message: M,
        /// The paths of the fields of the verified bytes that could not be read.
        unread_fields: Vec<String>,
    },
    /// It cannot be examined here: the body was not kept, or its source or the key that verified it is not configured.
    Unverifiable,
}

/// Why evidence contradicts its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The signature is not the provider's.
    #[error("the signature in the evidence does not verify with the key of its source")]
    Signature,
    /// The signature is right, and what it signs is another event.
    #[error("the evidence is the signed webhook of another session or event type")]
    OtherEvent,
}

/// Examines the evidence of an event whose message has the full protobuf name `name`.
///
/// # Errors
/// It contradicts the event: somebody else than the ingress wrote it.
pub fn examine<M: Message + Default>(
    verifiers: &Verifiers,
    metadata: &EventMetadata,
    name: &str,
) -> Result<Examined<M>, Contradiction> {
    let verifier = verifiers.get(metadata.source.as_str()).map(|verifier| verifier.load_full());
    let evidence = metadata.evidence.as_ref();
    let (Some(source), Some(evidence)) = (verifier, evidence) else { return Ok(Examined::Unverifiable) };
    let Some(webhook) = webhook(evidence) else { return Ok(Examined::Unverifiable) };
    let Ok(authentic) = AuthenticWebhook::authenticate(&**source, webhook) else {
        // A key that is configured no more: a rotation behind a backlog.
        let is_known = source.key_ids().iter().any(|key| key.as_str() == evidence.key_id);
        return if is_known { Err(Contradiction::Signature) } else { Ok(Examined::Unverifiable) };
    };
    // Its providers put one event into a webhook.
    let Some(event) = source.normalize(&metadata.source, &authentic).event() else {
        return Err(Contradiction::OtherEvent);
    };
    match event.content {
        Content::Event(encoded) if encoded.event_type.message == name => {
            let message = M::decode(encoded.fields.as_slice()).map_err(|_| Contradiction::OtherEvent)?;
            Ok(Examined::Proven {
                event_id: event.identity.of_webhook().to_string(),
                message,
                unread_fields: event.unread_fields,
            })
        }
        Content::Event(_) | Content::Unrecognized | Content::Undecodable(_) => Err(Contradiction::OtherEvent),
    }
}

/// The webhook that the evidence is of, as far as authentication reads it; nothing where its body was not kept.
fn webhook(evidence: &Evidence) -> Option<RawWebhook> {
    let header = |(name, value): (&String, &String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    Some(RawWebhook {
        path_suffix: String::new(),
        query: String::new(),
        headers: evidence.headers.iter().filter_map(header).collect::<HeaderMap>(),
        body: evidence.raw_body.clone()?,
        remote_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        received_at: Timestamp::UNIX_EPOCH,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::smart_glocal::v1::{PaymentFinished, ReadyToConfirm};
    use crate::provider::tests::fixtures::{FixtureKeys, section};
    use crate::provider::{Provider, smart_glocal};

    const READY: &str = "paybridge.smart_glocal.v1.ReadyToConfirm";
    const SOURCE: &str = "public_key_files = ['smart-glocal-public.pem']";
    const BODY: &str = r#"{"type":"ready_to_confirm","session":{"id":"ps_1","payout_list":[]}}"#;

    fn verifiers() -> Verifiers {
        let source = smart_glocal::PROVIDER.configure(&section(SOURCE), &FixtureKeys).unwrap();
        Verifiers::from([("sg-main".into(), Arc::new(ArcSwap::from_pointee(source)))])
    }

    /// An event of this body, as the ingress would have published it.
    fn event(body: &str) -> EventMetadata {
        let sender =
            smart_glocal::PROVIDER.sender(&section(SOURCE), &FixtureKeys, Some("smart-glocal-private.pem".as_ref()));
        let signed = sender.unwrap().sign("", body.to_owned().into(), Timestamp::UNIX_EPOCH, 1);
        let key_id = verifiers()["sg-main"].load().key_ids().remove(0);
        let headers = signed.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let evidence = Evidence {
            raw_body: Some(signed.body),
            headers,
            key_id: key_id.as_str().to_owned(),
            ..Evidence::default()
        };
        EventMetadata { source: "sg-main".to_owned(), evidence: Some(evidence), ..EventMetadata::default() }
    }

    fn examined(
        spoil: impl FnOnce(&mut EventMetadata, &mut Evidence),
    ) -> Result<Examined<ReadyToConfirm>, Contradiction> {
        let mut metadata = event(BODY);
        let mut evidence = metadata.evidence.take().unwrap();
        spoil(&mut metadata, &mut evidence);
        metadata.evidence = metadata.evidence.or(Some(evidence));
        examine(&verifiers(), &metadata, READY)
    }

    #[test]
    fn what_the_provider_signed_is_proven_whatever_else_the_event_says() {
        let Ok(Examined::Proven { event_id, message, .. }) =
            examined(|metadata, _| metadata.event_id = "forged".to_owned())
        else {
            panic!("it is authentic")
        };
        assert_eq!(message.session.unwrap().id, "ps_1");
        assert_eq!(event_id.len(), 32);
    }

    #[test]
    fn other_bytes_another_signature_and_another_event_contradict() {
        let other = BODY.replace("ps_1", "ps_2");
        let body = examined(|_, evidence| evidence.raw_body = Some(other.clone().into_bytes().into()));
        assert_eq!(body, Err(Contradiction::Signature));
        let signature = event(&other).evidence.unwrap().headers;
        assert_eq!(examined(|_, evidence| evidence.headers = signature), Err(Contradiction::Signature));
        assert_eq!(examined(|_, evidence| evidence.headers.clear()), Err(Contradiction::Signature));
        let finished =
            examine::<PaymentFinished>(&verifiers(), &event(BODY), "paybridge.smart_glocal.v1.PaymentFinished");
        assert_eq!(finished, Err(Contradiction::OtherEvent));
        for body in [r#"{"type":"later","session":{"id":"ps_1"}}"#, r#"{"type":"ready_to_confirm"}"#] {
            assert_eq!(examine::<ReadyToConfirm>(&verifiers(), &event(body), READY), Err(Contradiction::OtherEvent));
        }
    }

    #[test]
    fn without_body_source_or_key_nothing_is_proven_or_contradicted() {
        let spoils: [fn(&mut EventMetadata, &mut Evidence); 4] = [
            |_, evidence| evidence.raw_body = None,
            |metadata, _| metadata.source = "sg-other".to_owned(),
            |metadata, _| metadata.evidence = Some(Evidence::default()),
            |_, evidence| {
                evidence.raw_body = Some("{}".into());
                evidence.key_id = "of another key".to_owned();
            },
        ];
        for spoil in spoils {
            assert_eq!(examined(spoil), Ok(Examined::Unverifiable));
        }
    }
}
