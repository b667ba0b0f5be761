//! Proves a webhook by a plan, or says step by step why it cannot.
//! Must not know what a body means.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::plan::{Plan, TimeRule};
use super::settings::TimeFormat;
use super::signed_time::instant;
use super::signing_key::VerifyingKey;
use super::template::{Given, Piece, Template, Variable};
use super::value_place::{ValuePlace, word};
use crate::message::event::v1::Scheme;
use crate::provider::webhook::SignedParts;
use crate::provider::{Proof, RawWebhook, Unverified, json};

/// Proves with one of `keys` that the sender made this webhook, and not long ago.
///
/// # Errors
/// Why it is not believed.
pub fn authenticate(plan: &Plan, keys: &[VerifyingKey], webhook: &RawWebhook) -> Result<Proof, Unverified> {
    let text = plan.signature.find(webhook)?;
    let signatures = plan.signature.signatures(&text)?;
    let told_time = || plan.time.as_ref().map(|rule| signed_time(plan, rule, webhook, &text)).transpose();
    // A time in the body that is not signed by itself is read only when the body is proven.
    let names_time = plan.templates.iter().any(|(template, _)| template.names(&Variable::Time));
    let time = if names_time { told_time()? } else { None };
    let given = Given { webhook, time: time.as_deref(), url: &plan.url };
    let (key, signed_parts) = match plan.templates.as_slice() {
        [] => (matching(keys, &[], &signatures).ok_or(Unverified::SignatureMismatch)?, Arc::default()),
        templates => proven(templates, keys, &given, &signatures)?,
    };
    // Only now it is the sender's word.
    let time = if names_time { time } else { told_time()? };
    if let (Some(rule), Some(time)) = (&plan.time, &time) {
        let distance = instant(time, rule.format).map(|time| webhook.received_at.duration_since(time).unsigned_abs());
        if distance.is_none_or(|distance| distance > rule.tolerance) {
            return Err(Unverified::TimestampOutsideTolerance);
        }
    }
    Ok(Proof {
        scheme: Scheme::Declared,
        key_id: key.id.clone(),
        // A token is the secret itself, which no record may have.
        signature: if plan.templates.is_empty() { String::new() } else { text.into_owned() },
        plaintext: None,
        signed_parts: Some(signed_parts),
    })
}

/// The key and the template by which one of the signatures is right.
fn proven<'k>(
    templates: &[(Template, Arc<SignedParts>)],
    keys: &'k [VerifyingKey],
    given: &Given<'_>,
    signatures: &[Vec<u8>],
) -> Result<(&'k VerifyingKey, Arc<SignedParts>), Unverified> {
    let mut failure = Unverified::SignatureMismatch;
    for (template, signed_parts) in templates {
        match template.fill(given) {
            Ok(pieces) => {
                if let Some(key) = matching(keys, &pieces, signatures) {
                    return Ok((key, Arc::clone(signed_parts)));
                }
            }
            Err(reason) => failure = reason,
        }
    }
    Err(failure)
}

fn matching<'k>(keys: &'k [VerifyingKey], pieces: &[Piece<'_>], signatures: &[Vec<u8>]) -> Option<&'k VerifyingKey> {
    keys.iter().find(|key| key.verifies(pieces, signatures))
}

/// The text of the signed time.
fn signed_time<'w>(
    plan: &Plan,
    rule: &TimeRule,
    webhook: &'w RawWebhook,
    signature: &'w str,
) -> Result<Cow<'w, str>, Unverified> {
    match &rule.place {
        ValuePlace::Header(name) => webhook.header(name).map(Cow::Borrowed),
        ValuePlace::Entry(name) => {
            let entries = plan.signature.entries(signature);
            let mut times = entries.into_iter().filter(|(entry, _)| entry == name);
            match (times.next(), times.next()) {
                (Some((_, time)), None) => Ok(Cow::Borrowed(time)),
                _ => Err(Unverified::SignatureMalformed),
            }
        }
        ValuePlace::Pointer(pointer) => {
            let document = json::any(&webhook.body).ok_or(Unverified::SignatureMalformed)?;
            let time = pointer.find(document.root()).and_then(word).ok_or(Unverified::SignatureMalformed)?;
            Ok(Cow::Owned(time.into_owned()))
        }
        ValuePlace::Query(_) | ValuePlace::Joined(_) => Err(Unverified::HeaderMissing),
    }
}

/// What authentication sees of a webhook, a line for each step, without a secret or a right signature.
pub fn explain(plan: &Plan, keys: &[VerifyingKey], webhook: &RawWebhook) -> Vec<String> {
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    let mut lines = vec![format!("keys that are tried: {}", ids.join(", "))];
    let text = match plan.signature.find(webhook) {
        Ok(text) => text,
        Err(reason) => {
            lines.push(format!("signature: looked for in {}: {reason}", plan.signature.place));
            return lines;
        }
    };
    let signatures = plan.signature.signatures(&text).unwrap_or_default();
    let names: Vec<&str> = plan.signature.entries(&text).into_iter().map(|(name, _)| name).collect();
    if !names.is_empty() {
        lines.push(format!("signature: the list has the entries {}", names.join(", ")));
    }
    let lengths: Vec<String> = signatures.iter().map(|signature| signature.len().to_string()).collect();
    lines.push(match lengths.as_slice() {
        [] => format!(
            "signature: {} is there, and holds none of the form {}",
            plan.signature.place,
            plan.signature.describe()
        ),
        _ => format!(
            "signature: {} found in {}, of {} bytes",
            lengths.len(),
            plan.signature.place,
            lengths.join(" and ")
        ),
    });
    let time = plan.time.as_ref().map(|rule| (rule, signed_time(plan, rule, webhook, &text)));
    if let Some((rule, time)) = &time {
        lines.push(explained_time(rule, time.as_deref(), webhook));
    }
    let time = time.and_then(|(_, time)| time.ok());
    let given = Given { webhook, time: time.as_deref(), url: &plan.url };
    for (template, _) in &plan.templates {
        lines.push(match template.fill(&given) {
            Err(reason) => format!("signed text `{template}`: cannot be put together: {reason}"),
            Ok(pieces) => {
                let (mut length, mut hash) = (0, Sha256::new());
                for piece in &pieces {
                    length += piece.bytes.len();
                    hash.update(&piece.bytes);
                }
                let digest = base16ct::lower::encode_string(&hash.finalize());
                let verdict = match matching(keys, &pieces, &signatures) {
                    Some(key) => format!("right by key {}", key.id.as_str()),
                    None => "no key gives this signature".to_owned(),
                };
                format!("signed text `{template}`: {length} bytes, SHA-256 {digest}: {verdict}")
            }
        });
    }
    lines
}

fn explained_time(rule: &TimeRule, time: Result<&str, &Unverified>, webhook: &RawWebhook) -> String {
    let Ok(text) = time else { return format!("signed time: there is none in {}", rule.place) };
    let Some(at) = instant(text, rule.format) else {
        let other = FORMATS.into_iter().find(|(_, format)| instant(text, *format).is_some_and(is_of_our_days));
        let hint = other.map_or_else(String::new, |(name, _)| format!("; as {name} it can"));
        return format!("signed time: the text in {} cannot be read in the configured format{hint}", rule.place);
    };
    let distance_s = webhook.received_at.duration_since(at).as_secs();
    let side = if distance_s < 0 { "after" } else { "before" };
    let verdict = if distance_s.unsigned_abs() > rule.tolerance.as_secs() { "too far" } else { "near enough" };
    let tolerance_s = rule.tolerance.as_secs();
    format!(
        "signed time: {at}, {} s {side} the time of receipt: {verdict} (tolerance {tolerance_s} s)",
        distance_s.unsigned_abs()
    )
}

/// The formats by their names in configuration.
const FORMATS: [(&str, TimeFormat); 3] =
    [("unix-s", TimeFormat::UnixS), ("unix-ms", TimeFormat::UnixMs), ("rfc3339", TimeFormat::Rfc3339)];

/// Not 1970, and not thousands of years ahead: what a number is in a format that is not its own.
fn is_of_our_days(at: Timestamp) -> bool {
    (946_684_800..32_503_680_000).contains(&at.as_second())
}
