//! The seven families of notifications: each one's name on the wire, topic, message, codes, and what keeps its order.
//! Must not know how a notification is read.

use crate::message::undostres::v1::{
    Account, AccountCode, Customer, CustomerCode, Envelope, PaymentMethodCard, PaymentMethodCardCode,
    PaymentMethodDmcl, PaymentMethodDmclCode, PaymentRequestCard, PaymentRequestCardCode, PaymentRequestCashin,
    PaymentRequestCashinCode, PaymentRequestDmcl, PaymentRequestDmclCode,
};
use crate::provider::{Encoded, EventType, Payload};

const fn event(topic_part: &'static str, message: &'static str) -> EventType {
    EventType { topic_part, message, payload: Payload::Typed }
}

const PAYMENT_REQUEST_CARD: EventType = event("payment-request-card", "paybridge.undostres.v1.PaymentRequestCard");
const PAYMENT_REQUEST_DMCL: EventType = event("payment-request-dmcl", "paybridge.undostres.v1.PaymentRequestDmcl");
const PAYMENT_REQUEST_CASHIN: EventType =
    event("payment-request-cashin", "paybridge.undostres.v1.PaymentRequestCashin");
const PAYMENT_METHOD_CARD: EventType = event("payment-method-card", "paybridge.undostres.v1.PaymentMethodCard");
const PAYMENT_METHOD_DMCL: EventType = event("payment-method-dmcl", "paybridge.undostres.v1.PaymentMethodDmcl");
const CUSTOMER: EventType = event("customer", "paybridge.undostres.v1.Customer");
const ACCOUNT: EventType = event("account", "paybridge.undostres.v1.Account");

/// Every event type: one a family.
pub static EVENT_TYPES: [EventType; 7] = [
    PAYMENT_REQUEST_CARD,
    PAYMENT_REQUEST_DMCL,
    PAYMENT_REQUEST_CASHIN,
    PAYMENT_METHOD_CARD,
    PAYMENT_METHOD_DMCL,
    CUSTOMER,
    ACCOUNT,
];

/// One family of notifications.
pub struct Family {
    /// Its `event_type` on the wire.
    pub name: &'static str,
    /// What its events are about, and ordered by.
    pub about: About,
    is_code: fn(i32) -> bool,
    encode: fn(i32, Envelope) -> Encoded,
}

/// What a notification is about: the key and the subject are the first that is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// `transaction_id`, `details.code`, `request_id`.
    Request,
    /// `details.code`.
    Method,
    /// `customer_id`.
    Customer,
    /// `account_id`.
    Account,
}

/// A code of a family's: known to it, as the provider numbers it.
#[derive(Clone, Copy)]
pub struct Code {
    family: &'static Family,
    number: i32,
}

impl Family {
    /// The family of this `event_type`.
    pub fn find(event_type: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.name == event_type)
    }

    /// One of its codes; `None` when this version does not know it. The numbers of the messages' enums are the provider's.
    pub fn code(&'static self, number: i64) -> Option<Code> {
        let number = i32::try_from(number).ok().filter(|number| *number != 0 && (self.is_code)(*number))?;
        Some(Code { family: self, number })
    }
}

impl Code {
    /// What the family's events are about.
    pub fn about(self) -> About {
        self.family.about
    }

    /// The family's message with this code.
    pub fn encode(self, notification: Envelope) -> Encoded {
        (self.family.encode)(self.number, notification)
    }
}

static FAMILIES: [Family; 7] = [
    Family {
        name: "PAYMENT_REQUEST_CARD",
        about: About::Request,
        is_code: PaymentRequestCardCode::is_valid,
        encode: |code, notification| {
            let message = PaymentRequestCard { metadata: None, code, notification: Some(notification) };
            Encoded::new(&PAYMENT_REQUEST_CARD, &message)
        },
    },
    Family {
        name: "PAYMENT_REQUEST_DMCL",
        about: About::Request,
        is_code: PaymentRequestDmclCode::is_valid,
        encode: |code, notification| {
            let message = PaymentRequestDmcl { metadata: None, code, notification: Some(notification) };
            Encoded::new(&PAYMENT_REQUEST_DMCL, &message)
        },
    },
    Family {
        name: "PAYMENT_REQUEST_CASHIN",
        about: About::Request,
        is_code: PaymentRequestCashinCode::is_valid,
        encode: |code, notification| {
            let message = PaymentRequestCashin { metadata: None, code, notification: Some(notification) };
            Encoded::new(&PAYMENT_REQUEST_CASHIN, &message)
        },
    },
    Family {
        name: "PAYMENT_METHOD_CARD",
        about: About::Method,
        is_code: PaymentMethodCardCode::is_valid,
        encode: |code, notification| {
            let message = PaymentMethodCard { metadata: None, code, notification: Some(notification) };
            Encoded::new(&PAYMENT_METHOD_CARD, &message)
        },
    },
    Family {
        name: "PAYMENT_METHOD_DMCL",
        about: About::Method,
        is_code: PaymentMethodDmclCode::is_valid,
        encode: |code, notification| {
            let message = PaymentMethodDmcl { metadata: None, code, notification: Some(notification) };
            Encoded::new(&PAYMENT_METHOD_DMCL, &message)
        },
    },
    Family {
        name: "CUSTOMER",
        about: About::Customer,
        is_code: CustomerCode::is_valid,
        encode: |code, notification| {
            let message = Customer { metadata: None, code, notification: Some(notification) };
            Encoded::new(&CUSTOMER, &message)
        },
    },
    Family {
        name: "ACCOUNT",
        about: About::Account,
        is_code: AccountCode::is_valid,
        encode: |code, notification| {
            let message = Account { metadata: None, code, notification: Some(notification) };
            Encoded::new(&ACCOUNT, &message)
        },
    },
];
