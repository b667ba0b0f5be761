//! What an authentic webhook of Adyen says: one event for each item, known by what is signed of it.
//! Must not know keys or signatures.

use bytes::Bytes;

use super::event_codes;
use super::items::{self, SignedValues};
use crate::message::adyen::v1::Notification;
use crate::message::event::v1::Money;
use crate::provider::event::EVENTS_MAX;
use crate::provider::json::{self, Kind, Object, Reader, Unread, Value};
use crate::provider::{
    AuthenticWebhook, Content, Encoded, EventId, Identity, Normalized, Undecodable, Understood, money,
};

/// Currencies whose minor units Adyen counts otherwise than ISO 4217, and one that is not in it.
/// <https://docs.adyen.com/development-resources/currency-codes>
const DECIMALS: [(&str, u32); 5] = [("CLP", 2), ("CNH", 2), ("CVE", 0), ("IDR", 0), ("ISK", 2)];

/// What is understood of one webhook.
struct AdyenReading<'w> {
    source: &'w str,
    body: &'w Bytes,
    /// `live`, which stands beside the items.
    live: Option<bool>,
    /// What could not be read beside the items.
    unread: Vec<String>,
}

/// Understands a webhook of the source named `source`.
pub fn understand(source: &str, webhook: &AuthenticWebhook) -> Understood {
    let body = webhook.content();
    let document = match json::parse(body) {
        Ok(document) => document,
        Err(why) => {
            return Understood::Event(Normalized {
                content: Content::Undecodable(why),
                ..Normalized::whole(source, body, String::new())
            });
        }
    };
    let unread = Unread::default();
    let live = Reader::new(document.object(), &unread).boolean("live");
    AdyenReading { source, body, live, unread: unread.into_paths() }.events(document.object())
}

impl AdyenReading<'_> {
    fn events(&self, body: Object<'_>) -> Understood {
        let unread = Unread::default();
        let body = Reader::new(body, &unread);
        let count = items::each(&body, |_| ()).map_or(0, |items| items.len());
        if count > EVENTS_MAX {
            return Understood::Event(self.whole(format!("more than {EVENTS_MAX} items in one webhook")));
        }
        let events = items::each(&body, |item| self.event(item));
        let Some(events) = events else {
            return Understood::Event(
                self.whole("notificationItems: missing, empty, or no list of objects".to_owned()),
            );
        };
        match <[Normalized; 1]>::try_from(events) {
            Ok([event]) => Understood::Event(event),
            Err(events) => Understood::of_batch(self.source, self.body, events),
        }
    }

    /// One item. Its identity, its key and its subject are of what is signed, and so is its topic.
    fn event(&self, item: &Reader<'_, '_>) -> Normalized {
        let Some(signed) = SignedValues::of(item.tree()) else {
            return self.whole("a signed field is not of Adyen's form".to_owned());
        };
        let unread = Unread::default();
        let item = item.noting_in(&unread);
        let message = self.message(&item, &signed);
        let (code, subject) = (signed.event_code(), signed.psp_reference());
        let key = [signed.original_reference(), subject].into_iter().find(|reference| !reference.is_empty());
        let occurred_at = item.time("eventDate");
        let content = match (code, subject) {
            ("", _) => Content::Undecodable(Undecodable::without("eventCode")),
            (_, "") => Content::Undecodable(Undecodable::without("pspReference")),
            _ => Content::Event(Encoded::new(event_codes::event_type(code), &message)),
        };
        let parts: Vec<&[u8]> = [self.source].into_iter().chain(signed.values()).map(str::as_bytes).collect();
        Normalized {
            event_type: code.to_owned(),
            identity: Identity::Event(EventId::over(&parts)),
            subject: subject.to_owned(),
            key: key.map(str::to_owned),
            occurred_at,
            unread_fields: self.unread.iter().cloned().chain(unread.into_paths()).collect(),
            content,
        }
    }

    fn message(&self, item: &Reader<'_, '_>, signed: &SignedValues<'_>) -> Notification {
        Notification {
            metadata: None,
            event_code: signed.event_code().to_owned(),
            psp_reference: signed.psp_reference().to_owned(),
            original_reference: item.word("originalReference"),
            merchant_account_code: item.word("merchantAccountCode"),
            merchant_reference: item.word("merchantReference"),
            amount: item.object("amount", amount).flatten(),
            success: item.boolean("success"),
            payment_method: item.text("paymentMethod"),
            reason: item.text("reason"),
            operations: item.read("operations", texts).unwrap_or_default(),
            additional_data: item.text_map("additionalData"),
            live: self.live,
            original_psp: item.text("originalPsp"),
        }
    }

    fn whole(&self, detail: String) -> Normalized {
        Normalized::whole(self.source, self.body, detail)
    }
}

fn amount(amount: &Reader<'_, '_>) -> Option<Money> {
    let currency = amount.word("currency").filter(|currency| !currency.is_empty());
    let money = money::from_minor_units(amount.integer("value")?, currency.as_deref());
    let own = DECIMALS.iter().find(|(code, _)| money.currency.as_deref() == Some(code));
    Some(Money { exponent: own.map(|(_, decimals)| *decimals).or(money.exponent), ..money })
}

/// A list of texts; anything else in it as its JSON.
fn texts(list: Value<'_>) -> Option<Vec<String>> {
    let text = |element: Value<'_>| match element.kind() {
        Kind::Text(text) => text.into_owned(),
        _ => element.json().to_owned(),
    };
    Some(list.elements()?.map(text).collect())
}

#[cfg(test)]
mod tests;
