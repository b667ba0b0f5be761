//! Changes of how the signature's bytes are written, which are the right ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::sender::{Encoding, Sender};
use super::super::webhook::Webhook;
use super::{Kind, kind};

/// Digits of base64 in the order of what they are worth.
const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub static KINDS: [Kind; 11] = [
    kind("hex in upper case", |sender, webhook, _| hex(sender, webhook, str::to_uppercase)),
    kind("one hex digit in upper case", |sender, webhook, _| {
        hex(sender, webhook, |signature| {
            let place = signature.find(|digit: char| digit.is_ascii_lowercase()).unwrap();
            let mut changed = signature.to_owned();
            changed[place..=place].make_ascii_uppercase();
            changed
        })
    }),
    kind("0x before hex", |sender, webhook, _| hex(sender, webhook, |signature| format!("0x{signature}"))),
    kind("colons between the bytes in hex", |sender, webhook, _| {
        hex(sender, webhook, |signature| {
            let bytes: Vec<&str> = (0..32).map(|byte| &signature[2 * byte..2 * byte + 2]).collect();
            bytes.join(":")
        })
    }),
    kind("base64 instead of hex", |sender, webhook, _| {
        let bytes = sender.decode(&webhook.signature(sender));
        hex(sender, webhook, |_| STANDARD.encode(bytes))
    }),
    kind("hex instead of base64", |sender, webhook, _| {
        let bytes = sender.decode(&webhook.signature(sender));
        base64(sender, webhook, |_| Some(base16ct::lower::encode_string(&bytes)))
    }),
    kind("base64 without padding", |sender, webhook, _| {
        base64(sender, webhook, |signature| Some(signature.trim_end_matches('=').to_owned()))
    }),
    kind("base64 with padding for one byte more", |sender, webhook, _| {
        base64(sender, webhook, |signature| Some(format!("{signature}=")))
    }),
    kind("base64 with other bits behind its last byte", |sender, webhook, random| {
        base64(sender, webhook, |signature| {
            let (digits, last) = signature.trim_end_matches('=').split_at(42);
            // Of the last digit's six bits two belong to no byte, and are zero.
            let worth = DIGITS.find(last).unwrap() + 1 + random.below(3);
            Some(format!("{digits}{}=", &DIGITS[worth..=worth]))
        })
    }),
    kind("base64 in the alphabet of URLs", |sender, webhook, _| {
        base64(sender, webhook, |signature| {
            let other = signature.replace('+', "-").replace('/', "_");
            (other != signature).then_some(other)
        })
    }),
    kind("a letter within base64 that is no digit", |sender, webhook, random| {
        base64(sender, webhook, |signature| {
            let mut changed = signature.to_owned();
            changed.insert(random.below(43), ['*', '?', '.', '-'][random.below(4)]);
            Some(changed)
        })
    }),
];

fn hex(sender: &Sender, webhook: &mut Webhook, change: impl FnOnce(&str) -> String) -> Option<()> {
    if sender.encoding == Encoding::Base64 {
        return None;
    }
    let signature = change(&webhook.signature(sender));
    webhook.put_signature(sender, &signature);
    Some(())
}

fn base64(sender: &Sender, webhook: &mut Webhook, change: impl FnOnce(&str) -> Option<String>) -> Option<()> {
    if sender.encoding == Encoding::Hex {
        return None;
    }
    let signature = change(&webhook.signature(sender))?;
    webhook.put_signature(sender, &signature);
    Some(())
}
