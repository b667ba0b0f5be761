//! The keys of `[sources.NAME]` that describe a sender, as TOML has them, and the presets that fill them in.
//! Must not know what they come to: [`super::plan`] compiles them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::settings::list::list;

/// Everything that describes a sender.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredSettings {
    /// Files with the shared secrets; several while a secret is being changed.
    #[serde(default, deserialize_with = "list")]
    pub secret_files: Vec<PathBuf>,
    /// Files with the sender's public keys in PEM.
    #[serde(default, deserialize_with = "list")]
    pub public_key_files: Vec<PathBuf>,
    /// The middle part of the names of the topics, instead of the preset's or the source's name: several sources share topics so.
    pub topic_part: Option<String>,
    /// How it signs.
    pub signature: SignatureSettings,
    /// When it signed.
    pub timestamp: Option<TimestampSettings>,
    /// What its bodies say.
    #[serde(default)]
    pub event: EventSettings,
    /// Event type → topic part; `*` in a type stands for any characters.
    #[serde(default)]
    pub topics: BTreeMap<String, String>,
    /// What it wants to be answered.
    #[serde(default)]
    pub answer: AnswerSettings,
}

/// `[sources.NAME.signature]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureSettings {
    /// How the signature is made.
    pub algorithm: Algorithm,
    /// How a secret's bytes stand in its file.
    #[serde(default)]
    pub key: KeyEncoding,
    /// Where it stands: `header:NAME` or `query:NAME`.
    pub from: String,
    /// The header is a list of named entries.
    pub list: Option<ListSettings>,
    /// What stands before the signature.
    #[serde(default)]
    pub prefix: String,
    /// The signature is one piece of what stands there.
    pub split: Option<SplitSettings>,
    /// How its bytes are written.
    #[serde(default)]
    pub encoding: SignatureEncoding,
    /// Where the sender names its key: kept as evidence.
    #[serde(default)]
    pub key_id_from: String,
    /// What is signed; any of several templates may match.
    #[serde(default, deserialize_with = "one_or_many")]
    pub signed: Vec<String>,
    /// The address that the sender has of this source.
    #[serde(default)]
    pub url: String,
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-512.
    HmacSha512,
    /// RSA, PKCS#1 v1.5, SHA-256.
    RsaPkcs1Sha256,
    /// RSA, PSS, SHA-256.
    RsaPssSha256,
    /// ECDSA on P-256 with SHA-256; ASN.1 or the two numbers side by side.
    EcdsaP256Sha256,
    /// Ed25519.
    Ed25519,
    /// Nothing is signed: the secret itself is sent.
    Token,
}

/// How a secret's bytes stand in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyEncoding {
    /// The text's own bytes.
    #[default]
    Utf8,
    /// Hex digits.
    Hex,
    /// Base64.
    Base64,
    /// `whsec_` and base64.
    Whsec,
}

/// How a signature's bytes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureEncoding {
    /// Hex digits in lower case.
    #[default]
    Hex,
    /// Hex digits in upper case.
    #[serde(rename = "hex-upper")]
    HexUpper,
    /// Base64 with its padding.
    Base64,
    /// Base64 for URLs, with or without padding.
    Base64url,
}

/// A list of named entries: `t=1,v1=ab`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListSettings {
    /// Between two entries.
    pub separator: String,
    /// Between an entry's name and its value.
    pub assign: String,
    /// The entries that hold signatures: any may match.
    #[serde(deserialize_with = "one_or_many")]
    pub pick: Vec<String>,
}

/// One piece of a text: `keyId/algorithm/signature`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSettings {
    /// Between two pieces.
    pub separator: String,
    /// Which piece, from 0; -1 is the last.
    pub take: i32,
}

/// `[sources.NAME.timestamp]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampSettings {
    /// Where the signed time stands: `list:NAME`, `header:NAME` or `pointer:/PATH`.
    pub from: String,
    /// How it is written.
    pub format: TimeFormat,
    /// How far it may be from now, either way, in seconds: 1 to 604800.
    #[serde(default = "default_tolerance_s")]
    pub tolerance_s: u64,
}

fn default_tolerance_s() -> u64 {
    300
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeFormat {
    /// Seconds since 1970.
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
    /// Either: twelve digits or more are milliseconds.
    Unix,
    /// `2024-05-27T10:00:00Z`.
    Rfc3339,
}

/// `[sources.NAME.event]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSettings {
    /// Where the sender's id of the event stands: the first place that is present.
    #[serde(default, deserialize_with = "one_or_many")]
    pub id: Vec<String>,
    /// Where its type stands.
    #[serde(default, deserialize_with = "one_or_many", rename = "type")]
    pub kind: Vec<String>,
    /// Where the payment's id stands: the record's key.
    #[serde(default, deserialize_with = "one_or_many")]
    pub key: Vec<String>,
    /// When it happened: the first of these that can be read.
    #[serde(default, deserialize_with = "one_or_many_times")]
    pub occurred_at: Vec<OccurredAtSettings>,
    /// Values without which the webhook is no event of the configured types.
    #[serde(default)]
    pub require: BTreeMap<String, RequiredValue>,
    /// Where the list of events stands, if a webhook carries several.
    pub each: Option<String>,
    /// What makes two webhooks one event.
    #[serde(default)]
    pub identity: IdentityRule,
}

/// When an event happened.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OccurredAtSettings {
    /// Where it stands: the first place that is present.
    #[serde(deserialize_with = "one_or_many")]
    pub from: Vec<String>,
    /// How it is written.
    pub format: TimeFormat,
}

/// A value that a body must have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RequiredValue {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

/// What makes two webhooks one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityRule {
    /// The same bytes.
    #[default]
    Body,
    /// The same id, whatever else differs.
    Id,
    /// The same bytes, while nothing else came of the same thing: a body without a time of its own.
    Latest,
}

/// `[sources.NAME.answer]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerSettings {
    /// The status when all is well: 200 to 299.
    pub status: Option<u16>,
    /// The body when all is well.
    #[serde(default)]
    pub body: String,
    /// How it is asked whether this is the right address.
    pub handshake: Option<HandshakeSettings>,
}

/// A webhook that only asks for an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandshakeSettings {
    /// How it is known: `pointer:/type=url_verification`.
    pub when: String,
    /// What is sent back: `pointer:/challenge`.
    pub echo: String,
    /// The name under which the echoed value's HMAC, in hex digits, is put beside it; empty: none is wanted.
    #[serde(default)]
    pub hmac_as: String,
}

impl RequiredValue {
    /// As a body has it.
    pub fn word(&self) -> String {
        match self {
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// One table, or a list of them.
fn one_or_many_times<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OccurredAtSettings>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(OccurredAtSettings),
        Many(Vec<OccurredAtSettings>),
    }
    match OneOrMany::deserialize(deserializer) {
        Ok(OneOrMany::One(time)) => Ok(vec![time]),
        Ok(OneOrMany::Many(times)) => Ok(times),
        Err(_) => Err(D::Error::custom(
            "must be { from = \"pointer:/PATH\", format = \"unix-s\" }, or a list of such tables: formats are unix-s, unix-ms, unix and rfc3339",
        )),
    }
}

/// One text, or a list of them: templates and places may have commas in them, so a text is no list here.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    match OneOrMany::deserialize(deserializer) {
        Ok(OneOrMany::One(text)) => Ok(vec![text]),
        Ok(OneOrMany::Many(texts)) => Ok(texts),
        Err(_) => Err(D::Error::custom("must be a text in quotes, or a list of them: write \"…\" or [\"…\", \"…\"]")),
    }
}
