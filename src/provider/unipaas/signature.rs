//! `X-Hmac-SHA256`: HMAC-SHA256 over the exact body, in base64, of the MAC's bytes or of its hex text: both are seen.
//! Must not know what the body says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::message::event::v1::Scheme;
use crate::provider::keys::Secret;
use crate::provider::{KeyId, Proof, Unverified};

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-hmac-sha256";

/// A secret made ready to compute MACs; it is not shown.
pub struct SigningKey {
    /// The secret's id.
    pub id: KeyId,
    keyed: Hmac<Sha256>,
}

impl SigningKey {
    /// The key of this secret; `None` when the hash takes no key of its length, which HMAC always does.
    pub fn new(secret: &Secret) -> Option<Self> {
        let keyed = Hmac::new_from_slice(&secret.bytes).ok()?;
        Some(Self { id: secret.id.clone(), keyed })
    }

    /// The header's value for `body` in the documented form: base64 of the hex text.
    pub fn sign(&self, body: &[u8]) -> String {
        STANDARD.encode(hex(&self.mac(body)))
    }

    fn mac(&self, body: &[u8]) -> [u8; 32] {
        self.keyed.clone().chain_update(body).finalize().into_bytes().into()
    }
}

/// Proves with one of `keys` that `header` signs `body`.
///
/// # Errors
/// The header is of neither form, or no key gives it.
pub fn authenticate(keys: &[SigningKey], header: &str, body: &[u8]) -> Result<Proof, Unverified> {
    let claimed = STANDARD.decode(header).map_err(|_| Unverified::SignatureMalformed)?;
    let scheme = match claimed.len() {
        32 => Scheme::HmacSha256Raw,
        64 => Scheme::HmacSha256Hex,
        _ => return Err(Unverified::SignatureMalformed),
    };
    let gives = |key: &&SigningKey| {
        let mac = key.mac(body);
        // Slices of different lengths are different, and only one form has the length of the claimed one.
        bool::from(claimed.as_slice().ct_eq(&mac) | claimed.as_slice().ct_eq(&hex(&mac)))
    };
    let key = keys.iter().find(gives).ok_or(Unverified::SignatureMismatch)?;
    Ok(Proof { scheme, key_id: key.id.clone(), signature: header.to_owned(), plaintext: None, signed_parts: None })
}

/// The lower-case hex text of a MAC, computed without a table so that its time tells nothing.
fn hex(mac: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    // There is room for two digits a byte, which is all that could fail; zeroes would be equal to no signature's text.
    let _written = base16ct::lower::encode(mac, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"payoutId":"90112"}"#;
    // printf '{"payoutId":"90112"}' | openssl dgst -sha256 -hmac secret-one -binary | base64 -w0
    const RAW_ONE: &str = "ob4NDnaexEkOQ8zeefvSdHHE0B7rH3o+WjCSn7Y+FQw=";
    // The same with -hex in place of -binary, through: sed 's/.*= //' | tr -d '\n' | base64 -w0
    const HEX_ONE: &str = "YTFiZTBkMGU3NjllYzQ0OTBlNDNjY2RlNzlmYmQyNzQ3MWM0ZDAxZWViMWY3YTNlNWEzMDkyOWZiNjNlMTUwYw==";
    // The same with secret-two.
    const HEX_TWO: &str = "MTllN2ZiZTAxYWY4NDBhNzllOTFiZGU3NDNlNmM3ZjUzNmJhN2FlZGU3NDI3MWQ0MDgyYmYwMzJhMzk1Y2M0Mw==";
    // The same as HEX_ONE through tr a-f A-F before base64.
    const CAPITALS_ONE: &str =
        "QTFCRTBEMEU3NjlFQzQ0OTBFNDNDQ0RFNzlGQkQyNzQ3MUM0RDAxRUVCMUY3QTNFNUEzMDkyOUZCNjNFMTUwQw==";
    // printf secret-one | sha256sum, and secret-two
    const IDS: [&str; 2] = ["ea77193cc4e6f186", "cebdf378f2d2bd60"];

    fn keys(secrets: &[&str]) -> Vec<SigningKey> {
        let key = |text: &&str| SigningKey::new(&Secret::new(text.as_bytes().to_vec().into())).unwrap();
        secrets.iter().map(key).collect()
    }

    fn check(secrets: &[&str], header: &str, body: &[u8], expect: Result<(Scheme, &str), Unverified>) {
        let proof = authenticate(&keys(secrets), header, body);
        assert!(proof.as_ref().map_or(true, |proof| proof.signature == header && proof.plaintext.is_none()));
        let outcome = proof.as_ref().map(|proof| (proof.scheme, proof.key_id.as_str()));
        assert_eq!(outcome, expect.as_ref().copied(), "{header}");
    }

    #[test]
    fn rejects_a_signature_of_neither_form() {
        let long = STANDARD.encode([b'a'; 65]);
        let short = STANDARD.encode([0; 31]);
        let unpadded = RAW_ONE.trim_end_matches('=');
        let bare_hex = "a1be0d0e769ec4490e43ccde79fbd27471c4d01eeb1f7a3e5a30929fb63e150c";
        for header in ["", "=", "not base64", &long, &short, unpadded, bare_hex, &format!("{RAW_ONE} ")] {
            check(&["secret-one"], header, BODY, Err(Unverified::SignatureMalformed));
        }
    }

    #[test]
    fn rejects_a_signature_that_no_secret_gives() {
        check(&[], HEX_ONE, BODY, Err(Unverified::SignatureMismatch));
        for header in [RAW_ONE, HEX_ONE] {
            check(&["secret-two"], header, BODY, Err(Unverified::SignatureMismatch));
            check(&["secret-one"], header, br#"{"payoutId":"90113"}"#, Err(Unverified::SignatureMismatch));
        }
        check(&["secret-one"], CAPITALS_ONE, BODY, Err(Unverified::SignatureMismatch));
    }

    #[test]
    fn believes_both_forms_and_records_which() {
        check(&["secret-one"], RAW_ONE, BODY, Ok((Scheme::HmacSha256Raw, IDS[0])));
        check(&["secret-one"], HEX_ONE, BODY, Ok((Scheme::HmacSha256Hex, IDS[0])));
    }

    #[test]
    fn tries_every_secret_and_records_which() {
        check(&["secret-one", "secret-two"], HEX_TWO, BODY, Ok((Scheme::HmacSha256Hex, IDS[1])));
        check(&["secret-two", "secret-one"], RAW_ONE, BODY, Ok((Scheme::HmacSha256Raw, IDS[0])));
    }

    #[test]
    fn signs_in_the_documented_form() {
        assert_eq!(keys(&["secret-one"])[0].sign(BODY), HEX_ONE);
    }
}
