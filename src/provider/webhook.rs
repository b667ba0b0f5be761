//! A webhook on its way from "somebody sent it" to "this provider sent it": `RawWebhook`, `Proof`, `AuthenticWebhook`.
//! Must not know any provider, and does no input or output.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderMap;
use http::header::AsHeaderName;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{EventId, Source};
use crate::message::event::v1::Scheme;

/// One webhook as it arrived: nothing about it is proven.
#[derive(Clone)]
pub struct RawWebhook {
    /// What followed the source's path, without the slashes at its ends; empty for most providers.
    pub path_suffix: String,
    /// The query of the request's target, as received, without its question mark; empty for most providers.
    pub query: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The body, exactly the bytes on the wire.
    pub body: Bytes,
    /// Who sent it: the peer's address, or what a trusted proxy said of it.
    pub remote_address: IpAddr,
    /// When the end of its head was read.
    pub received_at: Timestamp,
}

impl RawWebhook {
    /// The values of a header that may stand several times, or be split by those that pass it on: joined by commas, as RFC 9110,
    /// section 5.3 has it.
    ///
    /// # Errors
    /// [`Unverified::HeaderMissing`] when it is absent or not visible ASCII.
    pub fn joined_header(&self, name: &'static str) -> Result<String, Unverified> {
        self.lines(name).map(|lines| lines.join(", "))
    }

    /// The values of a header that may stand several times, each by itself; never none.
    ///
    /// # Errors
    /// [`Unverified::HeaderMissing`] when it is absent or not visible ASCII.
    pub fn lines(&self, name: impl AsHeaderName) -> Result<Vec<&str>, Unverified> {
        let lines: Result<Vec<&str>, _> = self.headers.get_all(name).iter().map(|value| value.to_str()).collect();
        lines.ok().filter(|lines| !lines.is_empty()).ok_or(Unverified::HeaderMissing)
    }

    /// The value of a header that must stand once and be visible ASCII.
    ///
    /// # Errors
    /// [`Unverified::HeaderMissing`] when it is absent, stands twice, or is not text.
    pub fn header(&self, name: impl AsHeaderName) -> Result<&str, Unverified> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().map_err(|_| Unverified::HeaderMissing),
            _ => Err(Unverified::HeaderMissing),
        }
    }
}

/// Why a webhook is not believed. The sender is told none of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A header that authentication needs is absent, stands twice, or is not text.
    #[error("a header that authentication needs is missing, repeated, or not text")]
    HeaderMissing,
    /// The signature, or the ciphertext, is not of the form that the provider uses.
    #[error("the signature or ciphertext is not of the provider's form")]
    SignatureMalformed,
    /// No configured key gives this signature over these bytes.
    #[error("no configured key verifies the signature")]
    SignatureMismatch,
    /// The signed time is too far from now.
    #[error("the signed time is outside the tolerance")]
    TimestampOutsideTolerance,
    /// The body does not decrypt to what the provider sends.
    #[error("the body does not decrypt with any configured key")]
    NotDecryptable,
    /// It decrypts, but is for an account that this source does not list.
    #[error("the account is not one of the source's")]
    ForeignAccount,
}

/// How a webhook was verified. Made only inside `provider`, by authentication.
#[derive(Clone, Debug)]
pub struct Proof {
    pub(super) scheme: Scheme,
    pub(super) key_id: KeyId,
    pub(super) signature: String,
    pub(super) plaintext: Option<Bytes>,
    pub(super) signed_parts: Option<Arc<SignedParts>>,
}

/// What a signature covers, where its scheme alone does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedParts {
    /// The template of the signed text; empty where nothing is signed.
    pub template: String,
    /// Whether the whole body is signed.
    pub body_signed: bool,
    /// Whether the event's type is.
    pub type_signed: bool,
}

/// Names a key without telling it: the first 16 hex digits of the SHA-256 of the DER public key, or of the secret's bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    text: Arc<str>,
    kind: KeyKind,
}

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum KeyKind {
    /// A public key: everybody may know it.
    Public,
    /// A secret, which somebody could guess by its id, if it is a weak one.
    Secret,
    /// A secret of so few bytes that somebody could find it by trying.
    ShortSecret,
}

/// Digits of a secret's label.
const SECRET_LABEL_DIGITS: usize = 8;

impl KeyId {
    pub(super) fn new(text: impl Into<Arc<str>>, kind: KeyKind) -> Self {
        Self { text: text.into(), kind }
    }

    /// How metrics show it for a source: a secret's salted with the source's name and cut, for anybody may read metrics.
    pub fn label(&self, source: &str) -> String {
        match self.kind {
            KeyKind::Public => self.text.as_ref().to_owned(),
            KeyKind::Secret | KeyKind::ShortSecret => {
                let salted = EventId::over(&[source.as_bytes(), self.text.as_bytes()]).to_string();
                salted.chars().take(SECRET_LABEL_DIGITS).collect()
            }
        }
    }

    /// Whether it names a secret of fewer than 16 bytes.
    pub fn is_of_short_secret(&self) -> bool {
        match self.kind {
            KeyKind::ShortSecret => true,
            KeyKind::Public | KeyKind::Secret => false,
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A webhook that passed its source's authentication. Nothing else can be normalized.
#[derive(Clone)]
pub struct AuthenticWebhook {
    raw: RawWebhook,
    proof: Proof,
    /// The SHA-256 of the body, once it was asked for: a batch asks for each of its events.
    body_sha256: OnceLock<[u8; 32]>,
}

impl AuthenticWebhook {
    /// Authenticates a webhook that has just been received: by what it shows only now, and then as [`Self::authenticate`] does.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn receive(source: &dyn Source, raw: RawWebhook) -> Result<Self, Box<Rejected>> {
        match source.admits(&raw) {
            Ok(()) => Self::authenticate(source, raw),
            Err(reason) => Err(Box::new(Rejected { raw, reason })),
        }
    }

    /// Authenticates `raw` by `source`, from what is kept as evidence. There is no other way to make an `AuthenticWebhook`.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn authenticate(source: &dyn Source, raw: RawWebhook) -> Result<Self, Box<Rejected>> {
        match source.authenticate(&raw) {
            Ok(proof) => Ok(Self { raw, proof, body_sha256: OnceLock::new() }),
            Err(reason) => Err(Box::new(Rejected { raw, reason })),
        }
    }

    /// The same webhook as received at another moment than the one that its signed time was held against: a sample is judged by
    /// the broker's time of its record, and keeps its own.
    #[must_use]
    pub fn received_at(mut self, received_at: Timestamp) -> Self {
        self.raw.received_at = received_at;
        self
    }

    /// Takes a webhook as authentic, for tests of what comes after authentication.
    #[cfg(test)]
    pub fn assumed(raw: RawWebhook) -> Self {
        let key_id = KeyId::new("0123456789abcdef", KeyKind::Public);
        let proof = Proof {
            scheme: Scheme::Unspecified,
            key_id,
            signature: String::new(),
            plaintext: None,
            signed_parts: None,
        };
        Self { raw, proof, body_sha256: OnceLock::new() }
    }

    /// The webhook as it arrived.
    pub fn raw(&self) -> &RawWebhook {
        &self.raw
    }

    /// The SHA-256 of the body as received.
    pub fn body_sha256(&self) -> &[u8; 32] {
        self.body_sha256.get_or_init(|| Sha256::digest(&self.raw.body).into())
    }

    /// The key that verified it.
    pub fn key_id(&self) -> &KeyId {
        &self.proof.key_id
    }

    /// The scheme that verified it.
    pub fn scheme(&self) -> Scheme {
        self.proof.scheme
    }

    /// The signature as received; empty where the provider sends none.
    pub fn signature(&self) -> &str {
        &self.proof.signature
    }

    /// What the signature covers, where the scheme does not say it.
    pub fn signed_parts(&self) -> Option<&SignedParts> {
        self.proof.signed_parts.as_deref()
    }

    /// The decrypted body, where the body was encrypted.
    pub fn plaintext(&self) -> Option<&Bytes> {
        self.proof.plaintext.as_ref()
    }

    /// What the provider meant to say: the plaintext where the body was encrypted, else the body.
    pub fn content(&self) -> &Bytes {
        self.proof.plaintext.as_ref().unwrap_or(&self.raw.body)
    }
}

/// A webhook that is not believed, given back for a sample of it to be kept.
pub struct Rejected {
    /// The webhook.
    pub raw: RawWebhook,
    /// Why it is not believed.
    pub reason: Unverified,
}
