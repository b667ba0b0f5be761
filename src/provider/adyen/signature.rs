//! `additionalData.hmacSignature`: HMAC-SHA256 over eight values of each item, in base64; the key is written in hex.
//! Must not know what the values mean.
//! <https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures>

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::items::{self, SIGNED_NAMES, SignedValues};
use crate::message::event::v1::Scheme;
use crate::provider::json::{self, Kind, Object, Value};
use crate::provider::keys::{self, KeyFileError, KeyFiles, Secret};
use crate::provider::webhook::SignedParts;
use crate::provider::{KeyId, Proof, Unverified};

/// Adyen's keys have so many bytes: fewer are a key that was not copied whole.
const KEY_BYTES_MIN: usize = 32;
/// Items that are explained one by one.
const EXPLAINED_MAX: usize = 10;

/// What every signature covers. The type is the event code, which is one of the eight values.
static SIGNED_PARTS: LazyLock<Arc<SignedParts>> = LazyLock::new(|| {
    let template = SIGNED_NAMES.map(|name| format!("{{{name}}}")).join(":");
    Arc::new(SignedParts { template, body_signed: false, type_signed: true })
});

/// The template of the signed text.
pub fn template() -> &'static str {
    &SIGNED_PARTS.template
}

/// A key made ready to compute MACs; it is not shown.
pub struct HmacKey {
    /// The key's id.
    pub id: KeyId,
    keyed: Hmac<Sha256>,
}

impl HmacKey {
    /// The key in a file: hex digits, as Adyen's Customer Area shows them; in either case.
    ///
    /// # Errors
    /// The file is unreadable, or holds something else, or less than a whole key.
    pub fn from_file(files: &dyn KeyFiles, path: &Path) -> Result<Self, KeyFileError> {
        let text = keys::text(files, path)?;
        let bytes = base16ct::mixed::decode_vec(text.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| keys::holds(path, text.as_bytes(), "the webhook's HMAC key in hex digits"))?;
        if bytes.len() < KEY_BYTES_MIN {
            return Err(keys::wrong(path, "must have a whole HMAC key: 64 hex digits"));
        }
        let keyed =
            Hmac::new_from_slice(&bytes).map_err(|_| keys::wrong(path, "holds a key that cannot key an HMAC"))?;
        Ok(Self { id: Secret::new(bytes).id, keyed })
    }

    /// The signature of these values.
    pub fn sign(&self, signed: &SignedValues<'_>) -> String {
        STANDARD.encode(self.over(signed).finalize().into_bytes())
    }

    fn over(&self, signed: &SignedValues<'_>) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        for (place, value) in signed.values().enumerate() {
            if place > 0 {
                mac.update(b":");
            }
            mac.update(value.as_bytes());
        }
        mac
    }
}

/// Proves with `keys` that Adyen signed each item of `body`.
///
/// The body has to be parsed before anything of it is proven, for the signature stands in it: that is Adyen's design. What that
/// costs is bounded by `ingress.body_bytes_max`; the parser does not recurse, and the first item that is not proven ends it.
///
/// # Errors
/// The body has another shape, or an item's signature is absent, malformed, or no key's. Then nothing of the body is believed.
pub fn authenticate(keys: &[HmacKey], body: &[u8]) -> Result<Proof, Unverified> {
    let document = json::parse(body).map_err(|_| Unverified::SignatureMalformed)?;
    let items = items::all(document.object()).ok_or(Unverified::SignatureMalformed)?;
    let proven: Vec<(&HmacKey, Cow<'_, str>)> =
        items.into_iter().map(|item| proven(keys, item)).collect::<Result<_, _>>()?;
    let (key, signature) = proven.into_iter().next().ok_or(Unverified::SignatureMalformed)?;
    Ok(Proof {
        scheme: Scheme::AdyenHmacSha256,
        key_id: key.id.clone(),
        // The others are in the body.
        signature: signature.into_owned(),
        plaintext: None,
        signed_parts: Some(Arc::clone(&SIGNED_PARTS)),
    })
}

/// The key that signed an item, and the signature as it stands there.
fn proven<'k, 't>(keys: &'k [HmacKey], item: Object<'t>) -> Result<(&'k HmacKey, Cow<'t, str>), Unverified> {
    let text = signature_of(item).ok_or(Unverified::SignatureMalformed)?;
    let claimed = STANDARD.decode(text.as_bytes()).map_err(|_| Unverified::SignatureMalformed)?;
    let signed = SignedValues::of(item).ok_or(Unverified::SignatureMalformed)?;
    // `verify_slice` compares in constant time, and refuses another length.
    let made_it = |key: &&HmacKey| key.over(&signed).verify_slice(&claimed).is_ok();
    let key = keys.iter().find(made_it).ok_or(Unverified::SignatureMismatch)?;
    Ok((key, text))
}

/// The signature that stands in an item.
fn signature_of(item: Object<'_>) -> Option<Cow<'_, str>> {
    let Kind::Object(additional) = item.value("additionalData")?.kind() else { return None };
    match additional.value("hmacSignature").map(Value::kind) {
        Some(Kind::Text(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// What is likely wrong with a body that [`authenticate`] refuses.
pub fn likely_cause(keys: &[HmacKey], body: &[u8]) -> Option<&'static str> {
    let Ok(document) = json::parse(body) else { return Some("the body is not a JSON object") };
    let items = items::all(document.object()).filter(|items| items.iter().any(|item| item.has("eventCode")));
    let Some(items) = items else {
        return Some("it is no standard webhook: Adyen's other webhooks belong to another source");
    };
    let item = items.into_iter().find(|item| proven(keys, *item).is_err())?;
    Some(match (signature_of(item), SignedValues::of(item)) {
        (None, signed) => unsigned(signed.as_ref().map_or("", SignedValues::event_code)),
        (Some(_), None) => "a signed field is not of Adyen's form, or has a colon where none may be",
        (Some(_), Some(_)) => {
            "no configured key made the signature of an item, or its fields are not those that were signed"
        }
    })
}

/// Of the codes that are named no public source says whether Adyen signs them. The log line says which one it was; other texts are
/// anybody's, and are not logged.
fn unsigned(event_code: &str) -> &'static str {
    match event_code {
        "PENDING" => "an item of the event code PENDING has no hmacSignature",
        "EXPIRE" => "an item of the event code EXPIRE has no hmacSignature",
        "ORDER_CLOSED" => "an item of the event code ORDER_CLOSED has no hmacSignature",
        "DONATION" => "an item of the event code DONATION has no hmacSignature",
        _ => "an item has no hmacSignature: make an HMAC key for this webhook in the Customer Area",
    }
}

/// What authentication sees of a body, a line for each step, without a secret or a right signature.
pub fn explain(keys: &[HmacKey], body: &[u8]) -> Vec<String> {
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    let mut lines = vec![format!("keys that are tried: {}", ids.join(", "))];
    let Ok(document) = json::parse(body) else {
        lines.push("body: not a JSON object".to_owned());
        return lines;
    };
    match items::all(document.object()) {
        Some(items) => {
            lines.push(format!("items: {}", items.len()));
            let explained = items.into_iter().take(EXPLAINED_MAX).enumerate();
            lines.extend(explained.map(|(place, item)| format!("item {place}: {}", explained_item(keys, item))));
        }
        None => lines.push("items: `notificationItems` is empty, or no list of objects".to_owned()),
    }
    lines
}

fn explained_item(keys: &[HmacKey], item: Object<'_>) -> String {
    let Some(signed) = SignedValues::of(item) else {
        return "a signed field is no text, number or boolean, or has a colon where none may be".to_owned();
    };
    let code = signed.event_code();
    let Some(signature) = signature_of(item) else {
        return format!("event code {code:?}: `additionalData.hmacSignature` is absent or empty");
    };
    let text = signed.text();
    let digest = base16ct::lower::encode_string(&Sha256::digest(text.as_bytes()));
    let verdict = match proven(keys, item) {
        Ok((key, _)) => format!("right by key {}", key.id.as_str()),
        Err(Unverified::SignatureMismatch) => "no key gives this signature".to_owned(),
        Err(_) => "the signature is no base64".to_owned(),
    };
    let (length, characters) = (text.len(), signature.len());
    format!(
        "event code {code:?}: signed text of {length} bytes, SHA-256 {digest}; signature of {characters} characters: {verdict}"
    )
}

#[cfg(test)]
mod tests;
