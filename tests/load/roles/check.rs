//! One signature check of each provider, and nothing around it.
//! Must not know what a body says, nor what becomes of it.

use aws_lc_rs::cipher::{AES_128, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use paybridge::config::files::FileReader;
use paybridge::provider::keys::{self, PublicKey};
use sha2::Sha256;

use crate::webhooks::Kind;

/// How webhooks are found to be authentic.
pub enum Check {
    /// `X-PARTNER-SIGN`: RSA over the body.
    Rsa(PublicKey),
    /// `X-Hmac-SHA256`: base64 of the hex text of the body's MAC.
    Hmac(Box<Hmac<Sha256>>),
    /// The body is base64 of what decrypts.
    Aes(Box<PaddedBlockDecryptingKey>),
}

impl Check {
    /// The provider's, with the fixtures' key.
    pub fn of(provider: &str) -> Self {
        let kind = Kind::of(provider);
        let path = kind.verifying_key_file();
        let text = || keys::text(&FileReader::new(), &path).unwrap();
        match provider {
            "smart-glocal" => {
                let mut keys = keys::public_keys(&FileReader::new(), std::slice::from_ref(&path)).unwrap();
                Self::Rsa(keys.remove(0))
            }
            "unipaas" => Self::Hmac(Box::new(Hmac::new_from_slice(text().as_bytes()).unwrap())),
            "undostres" => {
                let key = UnboundCipherKey::new(&AES_128, text().strip_prefix("ascii:").unwrap().as_bytes()).unwrap();
                Self::Aes(Box::new(PaddedBlockDecryptingKey::ecb_pkcs7(key).unwrap()))
            }
            other => panic!("no check for {other}"),
        }
    }

    /// Whether a webhook is authentic.
    pub fn passes(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let decoded = |name: &str| STANDARD.decode(headers.get(name)?).ok();
        match self {
            Self::Rsa(key) => decoded("x-partner-sign").is_some_and(|signature| key.verifies(body, &signature)),
            Self::Hmac(key) => decoded("x-hmac-sha256").is_some_and(|claimed| {
                let mac = Hmac::clone(key).chain_update(body).finalize().into_bytes();
                claimed == hex(&mac)
            }),
            Self::Aes(key) => {
                STANDARD.decode(body).is_ok_and(|mut blocks| key.decrypt(&mut blocks, DecryptionContext::None).is_ok())
            }
        }
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}
