//! Signatures of Standard Webhooks, version `v1`: HMAC-SHA256 over `id.timestamp.body`.
//! Must not know the clock: whether the signed time is near enough is decided elsewhere, after the signature.

use std::path::Path;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine, alphabet};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::provider::Unverified;
use crate::provider::keys::{self, KeyFileError, KeyFiles, Secret};
use crate::provider::webhook::KeyId;

/// The version that is understood; `v1a` is ed25519.
const VERSION: &str = "v1";

/// Base64 as secrets are written: padding may be missing, and bits that say nothing may be set. The official libraries' own test
/// secrets are so.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A shared secret, ready to sign and verify.
pub struct SigningSecret {
    id: KeyId,
    mac: Hmac<Sha256>,
}

impl SigningSecret {
    /// The secret in a file: `whsec_` followed by base64, or the base64 alone.
    ///
    /// # Errors
    /// The file is unreadable, holds an asymmetric key, no base64, or a secret of a length that the specification forbids.
    pub fn from_file(files: &dyn KeyFiles, path: &Path) -> Result<Self, KeyFileError> {
        let text = keys::text(files, path)?;
        if text.starts_with("whpk_") || text.starts_with("whsk_") {
            return Err(keys::holds(path, text.as_bytes(), "a shared secret (whsec_…)"));
        }
        let base64 = text.strip_prefix("whsec_").unwrap_or(&text);
        let bytes = LENIENT.decode(base64).map(Zeroizing::new);
        let bytes =
            bytes.map_err(|_| keys::holds(path, text.as_bytes(), "base64, with or without whsec_ before it"))?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(keys::wrong(path, "must have a secret of 24 to 64 bytes, written in base64"));
        }
        let mac =
            Hmac::new_from_slice(&bytes).map_err(|_| keys::wrong(path, "holds a secret that cannot key an HMAC"))?;
        Ok(Self { id: Secret::new(bytes).id, mac })
    }

    /// The secret's id.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The entry of the signature header.
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        format!("{VERSION},{}", STANDARD.encode(self.over(id, timestamp, body).finalize().into_bytes()))
    }

    fn over(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

/// The secret that made any of the `v1` entries in the header; other versions are passed over.
///
/// # Errors
/// No entry is of version `v1` and base64, or none of those is any secret's.
pub fn verify<'s>(
    secrets: &'s [SigningSecret],
    id: &str,
    timestamp: &str,
    body: &[u8],
    header: &str,
) -> Result<&'s SigningSecret, Unverified> {
    // Whoever puts two headers together puts a comma between them: what stands behind it in an entry is not read.
    let of_version = header.split([' ', '\t']).filter_map(|entry| {
        let mut pieces = entry.split(',');
        pieces.next().filter(|version| *version == VERSION)?;
        pieces.next()
    });
    let signatures: Vec<Vec<u8>> = of_version.filter_map(|base64| STANDARD.decode(base64).ok()).collect();
    if signatures.is_empty() {
        return Err(Unverified::SignatureMalformed);
    }
    let made_one = |secret: &&SigningSecret| {
        let mac = secret.over(id, timestamp, body);
        // `verify_slice` compares in constant time.
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    };
    secrets.iter().find(made_one).ok_or(Unverified::SignatureMismatch)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Key files whose path is their content.
    struct Spelled;

    impl KeyFiles for Spelled {
        fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
            Ok(Zeroizing::new(path.to_string_lossy().into_owned().into_bytes()))
        }
    }

    fn problem(secret: &str) -> Option<String> {
        let error = SigningSecret::from_file(&Spelled, Path::new(secret)).err()?;
        match error {
            KeyFileError::WrongContent { problem, .. } => Some(problem),
            KeyFileError::Unreadable { .. } => None,
        }
    }

    #[test]
    fn refuses_what_is_no_shared_secret() {
        let bytes = |count: usize| STANDARD.encode(vec![7; count]);
        for (secret, expect) in [
            (bytes(23), "24 to 64 bytes"),
            (bytes(65), "24 to 64 bytes"),
            (format!("whsec_{}", bytes(23)), "24 to 64 bytes"),
            ("whsec_".to_owned(), "24 to 64 bytes"),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS".to_owned(), "24 to 64 bytes"),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS_".to_owned(), "holds other text, but needs base64"),
            (format!("whpk_{}", bytes(32)), "holds a public key of Standard Webhooks, but needs a shared secret"),
            (format!("whsk_{}", bytes(64)), "holds a private key of Standard Webhooks, but needs a shared secret"),
            (" ".to_owned(), "holds nothing"),
        ] {
            assert!(problem(&secret).is_some_and(|problem| problem.contains(expect)), "{secret}");
        }
    }

    #[test]
    fn takes_24_to_64_bytes_with_and_without_prefix() {
        for count in [24, 25, 32, 64] {
            let base64 = STANDARD.encode(vec![7; count]);
            assert_eq!(problem(&base64), None);
            assert_eq!(problem(&format!("whsec_{base64}\n")), None);
            assert_eq!(problem(base64.trim_end_matches('=')), None);
        }
        // 25 bytes, and four bits behind them.
        assert_eq!(problem(&format!("{}B", "A".repeat(33))), None);
    }

    #[test]
    fn signs_the_example_of_the_specification() {
        let path = Path::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let secret = SigningSecret::from_file(&Spelled, path).unwrap();
        assert_eq!(
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn finds_its_entry_however_the_header_was_split() {
        let secret = SigningSecret::from_file(&Spelled, Path::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let secrets = [secret];
        let right = secrets[0].sign("id", "1", b"{}");
        let wrong = secrets[0].sign("id", "2", b"{}");
        let verified = |header: &str| verify(&secrets, "id", "1", b"{}", header).map(|_| ());
        for header in [
            right.clone(),
            format!("{wrong} {right}"),
            format!("{wrong}, {right}"),
            format!("{right},{wrong}"),
            format!("v1a,{} {right}", STANDARD.encode([1; 64])),
            format!("  {right}\t"),
        ] {
            assert_eq!(verified(&header), Ok(()), "{header}");
        }
        let bare = right.trim_start_matches("v1,");
        for header in [
            wrong.clone(),
            bare.to_owned(),
            format!("v1a,{bare}"),
            format!("v2,{bare} {wrong}"),
            "v1".to_owned(),
            format!("v1 {bare}"),
            format!("v1, {bare}"),
            format!("v1,v1,{bare}"),
        ] {
            assert!(verified(&header).is_err(), "{header}");
        }
    }
}
