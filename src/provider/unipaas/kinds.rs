//! The kinds of UNIPaaS's webhooks: their names, topics and messages, and how one is known by its path or its shape.
//! Must not know signatures, or what the fields of a body mean.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message;

use super::body::UnipaasBody;
use super::{authorizations, ewallets, mandates, payouts, vendors};
use crate::message::unipaas::v1::{
    PaymentOptionUpdate, PlanCreate, PlanUpdate, SubscriptionChargeFailure, SubscriptionChargeSuccess,
    SubscriptionCreate, SubscriptionUpdate, TransferUpdate,
};
use crate::provider::json::{Object, Reader};
use crate::provider::{EventType, Payload};
use Sameness::{Content, Event};

/// One kind of webhook.
pub struct WebhookKind {
    /// Its name as the provider registers it, which is what the path carries: `authorization/update`.
    pub name: &'static str,
    /// Its topic and message.
    pub event_type: EventType,
    /// What two equal bodies are.
    pub sameness: Sameness,
    /// What is known of its body.
    pub body: KnownBody,
}

/// What is known of a kind's body.
pub enum KnownBody {
    /// Its fields.
    Typed {
        /// Whether a body that came without a name is of this kind, given that none of the kinds above it has it.
        has_shape: fn(Object<'_>) -> bool,
        /// Reads it.
        read: ReadBody,
    },
    /// Nothing: the body's bytes are put into the kind's message.
    Untyped(fn(Bytes) -> Vec<u8>),
}

/// Reads the fields of a body.
pub type ReadBody = fn(&Reader<'_, '_>) -> UnipaasBody;

/// What two equal bodies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// One event.
    Event,
    /// The same content: the body has no time of its own, and a state may come back.
    Content,
}

/// Every kind. The typed ones stand in the order in which their shapes are tried.
pub static KINDS: [WebhookKind; 15] = [
    typed(
        ("authorization/update", "authorization-update", "paybridge.unipaas.v1.AuthorizationUpdate"),
        |body| body.has("authorizationStatus"),
        (authorizations::read, Content),
    ),
    typed(
        ("onboarding/update", "onboarding-update", "paybridge.unipaas.v1.OnboardingUpdate"),
        |body| body.has("onboardingStatus"),
        (vendors::onboarding, Content),
    ),
    typed(
        ("notification/create", "notification-create", "paybridge.unipaas.v1.NotificationCreate"),
        |body| body.has("notificationId") || (body.has("subject") && body.has("importance")),
        (vendors::notification, Event),
    ),
    typed(
        ("mandate/update", "mandate-update", "paybridge.unipaas.v1.MandateUpdate"),
        |body| body.has("mandateReference"),
        (mandates::read, Content),
    ),
    typed(
        ("ewalletTransaction/create", "ewallet-transaction-create", "paybridge.unipaas.v1.EwalletTransactionCreate"),
        |body| {
            let has_amounts = body.has("netAmount") || body.has("payableAmount");
            has_amounts || (body.has("eWalletId") && body.has("transactionType"))
        },
        (ewallets::transaction, Event),
    ),
    typed(
        ("payout/update", "payout-update", "paybridge.unipaas.v1.PayoutUpdate"),
        |body| body.has("payoutId") && body.has("updatedDate"),
        (payouts::read, Event),
    ),
    typed(
        ("ewallet/create", "ewallet-create", "paybridge.unipaas.v1.EwalletCreate"),
        |body| {
            let has_owner = body.has("platformId") || body.has("merchantId");
            (body.has("eWalletId") || body.has("id")) && body.has("status") && has_owner
        },
        (ewallets::ewallet, Content),
    ),
    untyped(("transfer/update", "transfer-update", "paybridge.unipaas.v1.TransferUpdate"), |payload| {
        TransferUpdate { metadata: None, payload }.encode_to_vec()
    }),
    untyped(("paymentOption/update", "payment-option-update", "paybridge.unipaas.v1.PaymentOptionUpdate"), |payload| {
        PaymentOptionUpdate { metadata: None, payload }.encode_to_vec()
    }),
    untyped(("plan/create", "plan-create", "paybridge.unipaas.v1.PlanCreate"), |payload| {
        PlanCreate { metadata: None, payload }.encode_to_vec()
    }),
    untyped(("plan/update", "plan-update", "paybridge.unipaas.v1.PlanUpdate"), |payload| {
        PlanUpdate { metadata: None, payload }.encode_to_vec()
    }),
    untyped(("subscription/create", "subscription-create", "paybridge.unipaas.v1.SubscriptionCreate"), |payload| {
        SubscriptionCreate { metadata: None, payload }.encode_to_vec()
    }),
    untyped(("subscription/update", "subscription-update", "paybridge.unipaas.v1.SubscriptionUpdate"), |payload| {
        SubscriptionUpdate { metadata: None, payload }.encode_to_vec()
    }),
    untyped(
        ("subscription/chargeSuccess", "subscription-charge-success", "paybridge.unipaas.v1.SubscriptionChargeSuccess"),
        |payload| SubscriptionChargeSuccess { metadata: None, payload }.encode_to_vec(),
    ),
    untyped(
        ("subscription/chargeFailure", "subscription-charge-failure", "paybridge.unipaas.v1.SubscriptionChargeFailure"),
        |payload| SubscriptionChargeFailure { metadata: None, payload }.encode_to_vec(),
    ),
];

/// The event types of all kinds, in their order.
pub static EVENT_TYPES: LazyLock<Vec<EventType>> =
    LazyLock::new(|| KINDS.iter().map(|kind| EventType { ..kind.event_type }).collect());

/// Name, topic part and message of a kind.
type Names = (&'static str, &'static str, &'static str);

const fn typed(
    (name, topic_part, message): Names,
    has_shape: fn(Object<'_>) -> bool,
    (read, sameness): (ReadBody, Sameness),
) -> WebhookKind {
    let event_type = EventType { topic_part, message, payload: Payload::Typed };
    WebhookKind { name, event_type, sameness, body: KnownBody::Typed { has_shape, read } }
}

const fn untyped((name, topic_part, message): Names, encode: fn(Bytes) -> Vec<u8>) -> WebhookKind {
    let event_type = EventType { topic_part, message, payload: Payload::Raw };
    WebhookKind { name, event_type, sameness: Event, body: KnownBody::Untyped(encode) }
}

/// The kind that a path names. Its case drifts and does not count, nor do slashes that enclose nothing.
pub fn named(path_suffix: &str) -> Option<&'static WebhookKind> {
    let is_meant = |kind: &&WebhookKind| {
        let mut parts = path_suffix.split('/').filter(|part| !part.is_empty());
        kind.name.split('/').all(|part| parts.next().is_some_and(|given| given.eq_ignore_ascii_case(part)))
            && parts.next().is_none()
    };
    KINDS.iter().find(is_meant)
}

/// The kind that a body of no known name has the shape of, and how it is read.
/// A field counts when it stands there, null or not.
pub fn shaped(object: Object<'_>) -> Option<(&'static WebhookKind, ReadBody)> {
    KINDS.iter().find_map(|kind| match kind.body {
        KnownBody::Typed { has_shape, read } => has_shape(object).then_some((kind, read)),
        KnownBody::Untyped(_) => None,
    })
}

impl WebhookKind {
    /// The kind whose shape a body has that came under this one's name, and has not this one's shape.
    pub fn contradicted_by(&self, object: Object<'_>) -> Option<&'static WebhookKind> {
        match self.body {
            KnownBody::Typed { has_shape, .. } if has_shape(object) => None,
            // An `id` with a status and a merchant is too little to accuse a body: mandates and plans have it as well. So have
            // transfers, with the account that they come from and an amount.
            KnownBody::Typed { .. } | KnownBody::Untyped(_) => shaped(object)
                .map(|(kind, _)| kind)
                .filter(|kind| kind.name != "ewallet/create" || object.has("eWalletId") && !object.has("amount")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::DESCRIPTORS;
    use crate::provider::json;

    fn name(kind: Option<&'static WebhookKind>) -> &'static str {
        kind.map_or("none", |kind| kind.name)
    }

    #[test]
    fn knows_a_name_in_any_case_and_among_any_slashes() {
        for (path_suffix, expect) in [
            ("payout/update", "payout/update"),
            ("eWallet/create", "ewallet/create"),
            ("ewallettransaction/CREATE", "ewalletTransaction/create"),
            ("subscription/chargesuccess", "subscription/chargeSuccess"),
            ("payout/update/", "payout/update"),
            ("//payout//update", "payout/update"),
            ("payout", "none"),
            ("payoutupdate", "none"),
            ("payout/update/now", "none"),
            ("payout/updated", "none"),
            ("payout-update", "none"),
            ("payout/create", "none"),
            ("/", "none"),
            ("", "none"),
        ] {
            assert_eq!(name(named(path_suffix)), expect, "{path_suffix}");
        }
        assert!(KINDS.iter().all(|kind| name(named(kind.name)) == kind.name));
    }

    #[test]
    fn tries_shapes_in_the_order_of_the_contract() {
        for (body, expect) in [
            (r#"{"authorizationStatus":null,"onboardingStatus":"CREATED"}"#, "authorization/update"),
            (r#"{"onboardingStatus":"CREATED","notificationId":1}"#, "onboarding/update"),
            (r#"{"notificationId":1,"mandateReference":"m"}"#, "notification/create"),
            (r#"{"subject":"s","importance":"high","mandateReference":"m"}"#, "notification/create"),
            (r#"{"subject":"s","mandateReference":"m","netAmount":1}"#, "mandate/update"),
            (r#"{"netAmount":1,"payoutId":"p","updatedDate":"d"}"#, "ewalletTransaction/create"),
            (r#"{"payableAmount":1}"#, "ewalletTransaction/create"),
            (r#"{"eWalletId":1,"transactionType":"Sale","payoutId":1,"updatedDate":"d"}"#, "ewalletTransaction/create"),
            (r#"{"payoutId":1,"updatedDate":"d","id":1,"status":"s","merchantId":"m"}"#, "payout/update"),
            (r#"{"payoutId":1,"eWalletId":1,"status":"s","platformId":"p"}"#, "ewallet/create"),
            (r#"{"id":1,"status":"s","merchantId":null}"#, "ewallet/create"),
            (r#"{"eWalletId":1,"status":"s"}"#, "none"),
            (r#"{"status":"s","merchantId":"m"}"#, "none"),
            (r#"{"payoutId":1}"#, "none"),
            (r#"{"importance":"high"}"#, "none"),
            ("{}", "none"),
        ] {
            assert_eq!(
                name(shaped(json::parse(body.as_bytes()).unwrap().object()).map(|(kind, _)| kind)),
                expect,
                "{body}"
            );
        }
    }

    #[test]
    fn every_kind_has_a_message_and_the_topic_of_its_name() {
        for kind in &KINDS {
            assert!(DESCRIPTORS.get_message_by_name(kind.event_type.message).is_some(), "{}", kind.name);
            let hyphen = |letter: char| match letter {
                '/' => "-".to_owned(),
                'A'..='Z' => format!("-{}", letter.to_ascii_lowercase()),
                _ => letter.to_string(),
            };
            assert_eq!(kind.event_type.topic_part, kind.name.chars().map(hyphen).collect::<String>());
        }
        assert!(EVENT_TYPES.iter().eq(KINDS.iter().map(|kind| &kind.event_type)));
    }
}
