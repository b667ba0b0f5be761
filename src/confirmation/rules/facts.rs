//! What a rule sees of one session: the model of the documentation, made of the message that its webhook became.
//! Pure: must not know rules. What the provider left out is absent, never empty or zero.

use std::collections::HashMap;

use cel::Value;
use chrono::DateTime;
use prost_types::Timestamp;

use crate::message::event::v1::Money;
use crate::message::smart_glocal::v1::{
    Card, Customer, Instrument, Operation, OperationKind, Session, operation_metadata,
};

/// A session as rules see it.
pub struct SessionFacts {
    /// The variable `session`.
    pub session: Value,
    /// How large it is.
    pub size: SessionSize,
}

/// What the cost of a rule depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSize {
    /// Elements of the longest list or object, operations and what is attached to them.
    pub longest_list: u64,
    /// Bytes of the longest text, or of the JSON text that is attached to an operation.
    pub longest_text: u64,
}

impl SessionFacts {
    /// The session of this source; nothing when it must not be evaluated: no operation, an operation without a known
    /// amount (without one, or without its currency) or with one of zero or less, amounts beside those of the operations, or
    /// attached JSON that cannot be read (nested too deeply, a number out of range).
    pub fn of(source: &str, session: &Session) -> Option<Self> {
        let has_currency = |amount: &Money| amount.currency.as_ref().is_some_and(|currency| !currency.is_empty());
        // A rule with an upper bound alone would take minus a million for little.
        let known = |amount: &Money| has_currency(amount) && amount.minor_units > 0;
        let all_known = session.operations.iter().all(|operation| operation.amount.as_ref().is_some_and(known));
        if session.operations.is_empty() || !all_known || !session.unknown_amount_lists.is_empty() {
            return None;
        }
        let mut reader = FactsReader::default();
        let session = reader.session(source, session)?;
        Some(Self { session, size: reader.size })
    }
}

/// An object that is being filled.
#[derive(Default)]
struct CelFields(HashMap<String, Value>);

impl CelFields {
    fn with(mut self, name: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    fn value(self) -> Value {
        Value::from(self.0)
    }
}

/// Makes values, and notes how large they are.
#[derive(Default)]
struct FactsReader {
    size: SessionSize,
}

impl FactsReader {
    fn session(&mut self, source: &str, session: &Session) -> Option<Value> {
        let operations = session.operations.iter().map(|operation| self.operation(operation));
        let operations = operations.collect::<Option<Vec<Value>>>()?;
        self.note_list(operations.len());
        let fields = CelFields::default()
            .with("id", Some(self.text(&session.id)))
            .with("source", Some(self.text(source)))
            .with("status", self.optional(session.status_text.as_ref()))
            .with("next_action", self.optional(session.next_action_text.as_ref()))
            .with("created_at", instant(session.created_at.as_ref())?)
            .with("updated_at", instant(session.updated_at.as_ref())?)
            .with("operations", Some(operations));
        Some(fields.value())
    }

    fn operation(&mut self, operation: &Operation) -> Option<Value> {
        let kind = match operation.kind() {
            OperationKind::Payout => Some("payout"),
            OperationKind::Payment => Some("payment"),
            OperationKind::Unspecified => None,
        };
        let metadata = match operation.metadata.as_ref().and_then(|metadata| metadata.value.as_ref()) {
            None => None,
            Some(value) => Some(self.metadata(value)?),
        };
        let fields = CelFields::default()
            .with("id", Some(self.text(&operation.id)))
            .with("kind", kind)
            .with("status", self.optional(operation.status_text.as_ref()))
            .with("amount", operation.amount.as_ref().map(|amount| self.amount(amount)))
            .with("customer", operation.customer.as_ref().map(|customer| self.customer(customer)))
            .with("instrument", operation.instrument.as_ref().map(|instrument| self.instrument(instrument)))
            .with("metadata", metadata);
        Some(fields.value())
    }

    fn amount(&mut self, amount: &Money) -> Value {
        CelFields::default()
            .with("currency", self.optional(amount.currency.as_ref()))
            .with("minor_units", Some(amount.minor_units))
            .with("exponent", amount.exponent.map(i64::from))
            .value()
    }

    fn customer(&mut self, customer: &Customer) -> Value {
        CelFields::default().with("reference", self.optional(customer.reference.as_ref())).value()
    }

    fn instrument(&mut self, instrument: &Instrument) -> Value {
        CelFields::default()
            .with("type", self.optional(instrument.r#type.as_ref()))
            .with("card", instrument.card.as_ref().map(|card| self.card(card)))
            .value()
    }

    fn card(&mut self, card: &Card) -> Value {
        CelFields::default()
            .with("brand", self.optional(card.brand.as_ref()))
            .with("bin", self.optional(card.bin.as_ref()))
            .with("last4", self.optional(card.last4.as_ref()))
            .value()
    }

    fn metadata(&mut self, value: &operation_metadata::Value) -> Option<Value> {
        match value {
            operation_metadata::Value::Text(text) => Some(self.text(text)),
            operation_metadata::Value::Integer(integer) => Some(Value::Int(*integer)),
            operation_metadata::Value::Json(text) => {
                // The whole object is copied with its operation, so its size counts as that of one text.
                self.note_text(text.len());
                serde_json::from_str(text).ok().map(|json| self.json(json))
            }
        }
    }

    fn json(&mut self, value: serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(truth) => Value::Bool(truth),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => Value::Int(integer),
                (None, Some(integer)) => Value::UInt(integer),
                (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => self.text(&text),
            serde_json::Value::Array(elements) => {
                self.note_list(elements.len());
                let elements: Vec<Value> = elements.into_iter().map(|element| self.json(element)).collect();
                Value::from(elements)
            }
            serde_json::Value::Object(fields) => {
                self.note_list(fields.len());
                let fields: HashMap<String, Value> =
                    fields.into_iter().map(|(name, value)| (name, self.json(value))).collect();
                Value::from(fields)
            }
        }
    }

    fn optional(&mut self, text: Option<&String>) -> Option<Value> {
        text.map(|text| self.text(text))
    }

    fn text(&mut self, text: &str) -> Value {
        self.note_text(text.len());
        Value::from(text)
    }

    fn note_text(&mut self, bytes: usize) {
        self.size.longest_text = self.size.longest_text.max(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    fn note_list(&mut self, elements: usize) {
        self.size.longest_list = self.size.longest_list.max(u64::try_from(elements).unwrap_or(u64::MAX));
    }
}

/// A time: nothing in it when it is absent, nothing at all when it is beyond what can be compared.
#[expect(clippy::option_option, reason = "absent is one thing, beyond the calendar another")]
fn instant(timestamp: Option<&Timestamp>) -> Option<Option<Value>> {
    let Some(timestamp) = timestamp else { return Some(None) };
    let nanos = u32::try_from(timestamp.nanos).ok()?;
    let instant = DateTime::from_timestamp(timestamp.seconds, nanos)?;
    Some(Some(Value::Timestamp(instant.fixed_offset())))
}
