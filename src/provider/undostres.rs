//! UnDosTres: webhooks encrypted with AES-128-ECB under a shared key, seven families, each with its own codes.
//! ECB hides but proves little: what decrypts to one JSON object of a listed account is believed, and the evidence says so.
//! Must not know HTTP servers, Kafka, or other providers.

mod cipher;
mod family;
mod normalize;
mod sample;
mod wire;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use iso_currency::Currency;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::Deserialize;

use self::cipher::{Cipher, Padding};
use self::normalize::Notifications;
use self::wire::{Encoding, Wire};
use super::json;
use super::{
    AuthenticWebhook, ConfigureError, EventType, KeyFiles, KeyId, Proof, Provider, RawWebhook, Sender, Source,
    Understood, Unverified,
};
use crate::message::event::v1::Scheme;
use crate::settings::Section;
use crate::settings::list::list;

/// The provider.
pub static PROVIDER: UnDosTres = UnDosTres;

/// UnDosTres, as a provider.
pub struct UnDosTres;

/// The keys of `[sources.NAME]` that are UnDosTres' own. What the provider's reference leaves open is a setting.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UndostresSettings {
    /// Files with the shared AES keys, each written as `ascii:…`, `hex:…` or `base64:…`.
    #[serde(deserialize_with = "list")]
    key_files: Vec<PathBuf>,
    /// How the ciphertext is written.
    #[serde(default)]
    ciphertext: Encoding,
    /// The field of a JSON object that holds the ciphertext; without it the whole body is ciphertext.
    ciphertext_field: Option<String>,
    /// How the plaintext was filled up to whole blocks.
    #[serde(default)]
    padding: Padding,
    /// The zone of the provider's times, which have none.
    #[serde(default = "default_time_zone")]
    time_zone: String,
    /// The accounts whose webhooks are believed; empty: all.
    #[serde(default, deserialize_with = "list")]
    account_ids: Vec<i64>,
    /// ISO 4217 code of the amounts, which come without one.
    currency: Option<String>,
}

fn default_time_zone() -> String {
    "America/Mexico_City".to_owned()
}

impl UndostresSettings {
    fn wire(&self) -> Result<Wire, ConfigureError> {
        let problem = match (&self.ciphertext_field, self.ciphertext) {
            (Some(field), _) if field.is_empty() => "is empty: name the field, or leave the key out",
            (Some(_), Encoding::Raw) => "needs `ciphertext` to be base64 or hex: raw bytes cannot stand in JSON",
            (field, encoding) => return Ok(Wire { encoding, field: field.clone() }),
        };
        Err(value("ciphertext_field", problem))
    }

    fn ciphers(&self, files: &dyn KeyFiles) -> Result<Vec<Cipher>, ConfigureError> {
        if self.key_files.is_empty() {
            return Err(value("key_files", "is empty: name at least one file with the shared key"));
        }
        let ciphers = self.key_files.iter().map(|path| Cipher::from_file(files, path, self.padding));
        Ok(ciphers.collect::<Result<_, _>>()?)
    }

    /// The zone, from the database inside the binary: every replica computes the same instants, whatever its host has.
    fn zone(&self) -> Result<TimeZone, ConfigureError> {
        let zone = TimeZoneDatabase::bundled().get(&self.time_zone).ok().filter(|zone| !zone.is_unknown());
        zone.ok_or_else(|| value("time_zone", "must be a name of the IANA time zone database: America/Mexico_City"))
    }

    fn currency(&self) -> Result<Option<String>, ConfigureError> {
        let Some(code) = &self.currency else { return Ok(None) };
        match Currency::from_code(&code.to_ascii_uppercase()) {
            Some(currency) => Ok(Some(currency.code().to_owned())),
            None => Err(value("currency", "must be a code of ISO 4217: MXN")),
        }
    }
}

fn value(key: &'static str, problem: &str) -> ConfigureError {
    ConfigureError::Value { key: key.into(), problem: problem.to_owned() }
}

impl Provider for UnDosTres {
    fn name(&self) -> &'static str {
        "undostres"
    }

    fn event_types(&self) -> &'static [EventType] {
        &family::EVENT_TYPES
    }

    fn evidence_headers(&self) -> &'static [&'static str] {
        &[]
    }

    fn configure(&self, section: &Section, files: &dyn KeyFiles) -> Result<Box<dyn Source>, ConfigureError> {
        let settings: UndostresSettings = section.parse()?;
        Ok(Box::new(UnDosTresSource {
            wire: settings.wire()?,
            ciphers: settings.ciphers(files)?,
            notifications: Notifications { zone: settings.zone()?, currency: settings.currency()? },
            account_ids: settings.account_ids,
        }))
    }

    fn sender(
        &self,
        section: &Section,
        files: &dyn KeyFiles,
        signing_key: Option<&Path>,
    ) -> Result<Box<dyn Sender>, ConfigureError> {
        let mut settings: UndostresSettings = section.parse()?;
        settings.key_files = signing_key.map_or(settings.key_files, |path| vec![path.to_owned()]);
        let first = settings.ciphers(files)?.into_iter().next();
        Ok(Box::new(sample::UnDosTresSender {
            wire: settings.wire()?,
            cipher: first.ok_or_else(|| value("key_files", "is empty"))?,
            zone: settings.zone()?,
            account_id: settings.account_ids.first().copied().unwrap_or(sample::ACCOUNT_ID),
        }))
    }
}

struct UnDosTresSource {
    wire: Wire,
    ciphers: Vec<Cipher>,
    notifications: Notifications,
    account_ids: Vec<i64>,
}

impl UnDosTresSource {
    /// Whether this account is listed, or none is.
    fn lists(&self, account_id: Option<i64>) -> bool {
        self.account_ids.is_empty() || account_id.is_some_and(|id| self.account_ids.contains(&id))
    }
}

impl Source for UnDosTresSource {
    fn authenticate(&self, webhook: &RawWebhook) -> Result<Proof, Unverified> {
        let ciphertext = self.wire.ciphertext(&webhook.body).filter(|bytes| cipher::is_whole_blocks(bytes));
        let ciphertext = ciphertext.ok_or(Unverified::SignatureMalformed)?;
        for cipher in &self.ciphers {
            let Some(plaintext) = cipher.decrypt(&ciphertext) else { continue };
            let Ok(account_id) = json::lone_integer(&plaintext, "account_id") else { continue };
            if !self.lists(account_id) {
                return Err(Unverified::ForeignAccount);
            }
            return Ok(Proof {
                scheme: Scheme::Aes128Ecb,
                key_id: cipher.id().clone(),
                signature: String::new(),
                plaintext: Some(Bytes::from(plaintext)),
                signed_parts: None,
            });
        }
        Err(Unverified::NotDecryptable)
    }

    fn normalize(&self, source: &str, webhook: &AuthenticWebhook) -> Understood {
        Understood::Event(self.notifications.normalize(source, webhook.content()))
    }

    fn key_ids(&self) -> Vec<KeyId> {
        self.ciphers.iter().map(|cipher| cipher.id().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::provider::tests::fixtures::{Files, raw, section};

    const TWO_KEYS: Files =
        Files(&[("first.key", "ascii:0123456789abcdef"), ("second.key", "hex:2b7e151628aed2a6abf7158809cf4f3c")]);

    fn source(settings: &str) -> Box<dyn Source> {
        PROVIDER.configure(&section(settings), &TWO_KEYS).unwrap()
    }

    fn check(settings: &str, body: &str, expect: Result<&str, Unverified>) {
        let proof = source(settings).authenticate(&raw("", body.to_owned()));
        let key_id = proof.as_ref().map(|proof| proof.key_id.as_str()).map_err(|reason| *reason);
        assert_eq!(key_id, expect, "{settings}: {body}");
    }

    const FIRST: &str = "key_files = ['first.key']";
    const FIRST_ID: &str = "9f9f5111f7b27a78";
    const SECOND_ID: &str = "d4ffb8b77f7d6b26";

    // PLAINTEXT | openssl enc -aes-128-ecb -K KEY | base64; KEY is 30313233343536373839616263646566 but for the second key
    const JSON: &str = "aet2bNJMpVwT8z0pf4Xrt/GRZn8EolZSDgFP5pwJ60A=";
    const UNDER_SECOND_KEY: &str = "GQoIQ1k6QGutm6lgowJusSjmxUI2tpA+3u+bgtPGlnA=";
    const BROKEN_PADDING: &str = "aet2bNJMpVwT8z0pf4Xrt6S2/VUA4Lc/uwIW2nlBUiE=";
    const NOT_UTF8: &str = "aet2bNJMpVwT8z0pf4Xrt6Kq8PlvdjJn9+sdi5IuhxU=";
    const A_LIST: &str = "h1YWHoWuoGZUuaOVdtcTa9qpzk25CXK9csySVLwrL90=";
    const TWO_OBJECTS: &str = "aet2bNJMpVwT8z0pf4XrtzW/ZztDlT/IpVaB8a+BvwPwZAZ+SJX2ZHsSIPz4UPbS";
    const NOTHING: &str = "N3Ii4GGpJMWRzZwn6hY+1A==";
    const ACCOUNT_322: &str = "aet2bNJMpVwT8z0pf4Xrtxi9QzpXg+/uYdGoZ7rl8dY=";
    const ACCOUNT_321_AS_TEXT: &str = "V2MwB9+Z9r0WFVVu5jA+myMQ+FBZhN40yOdux1Rur0M=";
    const NO_ACCOUNT: &str = "gJuETAZJRTsYN6X8BZGPFjzH92D5zMPDmhqIUkMvuBs=";

    #[test]
    fn believes_nothing_that_is_not_one_json_object_under_the_key() {
        for body in [UNDER_SECOND_KEY, BROKEN_PADDING, NOT_UTF8, A_LIST, TWO_OBJECTS, NOTHING] {
            check(FIRST, body, Err(Unverified::NotDecryptable));
        }
        for body in ["", "AAAA", r#"{"account_id":321}"#] {
            check(FIRST, body, Err(Unverified::SignatureMalformed));
        }
    }

    #[test]
    fn believes_what_any_key_decrypts_and_tells_which() {
        check(FIRST, JSON, Ok(FIRST_ID));
        let both = "key_files = ['first.key', 'second.key']";
        check(both, JSON, Ok(FIRST_ID));
        check(both, UNDER_SECOND_KEY, Ok(SECOND_ID));
    }

    #[test]
    fn believes_only_listed_accounts() {
        let listed = "key_files = ['first.key']\naccount_ids = [7, 321]";
        check(listed, JSON, Ok(FIRST_ID));
        check(listed, ACCOUNT_321_AS_TEXT, Ok(FIRST_ID));
        check(listed, ACCOUNT_322, Err(Unverified::ForeignAccount));
        check(listed, NO_ACCOUNT, Err(Unverified::ForeignAccount));
        check(FIRST, ACCOUNT_322, Ok(FIRST_ID));
        check(FIRST, NO_ACCOUNT, Ok(FIRST_ID));
    }

    #[test]
    fn proves_by_the_plaintext_and_claims_no_signature() {
        let proof = source(FIRST).authenticate(&raw("", JSON)).unwrap();
        assert_eq!(proof.scheme, Scheme::Aes128Ecb);
        assert_eq!(proof.signature, "");
        assert_eq!(proof.plaintext.as_deref(), Some(br#"{"account_id":321}"#.as_slice()));
    }

    /// Why the evidence says `AES_128_ECB`, and why a source may list addresses or have a secret path.
    #[test]
    fn cannot_show_that_a_block_was_doubled() {
        let cipher = Cipher::from_file(&TWO_KEYS, Path::new("first.key"), Padding::Pkcs7).unwrap();
        let mut blocks = cipher.encrypt(br#"{"a":          "0123456789abcdef"}"#).unwrap();
        blocks.splice(16..16, blocks[16..32].to_vec());
        let wire = Wire { encoding: Encoding::Base64, field: None };
        let proof = source(FIRST).authenticate(&raw("", wire.body(blocks).1)).unwrap();
        assert_eq!(
            proof.plaintext.as_deref(),
            Some(br#"{"a":          "0123456789abcdef0123456789abcdef"}"#.as_slice())
        );
    }

    #[test]
    fn looks_where_and_how_the_settings_say() {
        let hex = "69eb766cd24ca55c13f33d297f85ebb7f191667f04a256520e014fe69c09eb40";
        let with = |more: &str| format!("{FIRST}\n{more}");
        check(&with("ciphertext = 'hex'"), hex, Ok(FIRST_ID));
        check(&with("ciphertext = 'hex'"), JSON, Err(Unverified::SignatureMalformed));
        check(&with("ciphertext_field = 'payload'"), &format!(r#"{{"payload":"{JSON}"}}"#), Ok(FIRST_ID));
        check(&with("padding = 'zero'"), "aet2bNJMpVwT8z0pf4Xrt4o1TDwVJ/LJseofSB2fEhE=", Ok(FIRST_ID));
        let bytes = wire::from_hex(hex.as_bytes()).unwrap();
        assert!(source(&with("ciphertext = 'raw'")).authenticate(&raw("", bytes)).is_ok());
    }

    #[test]
    fn names_the_setting_that_cannot_be_used() {
        for (settings, named) in [
            ("key_files = []", "key_files"),
            ("key_files = ['first.key']\nciphertext_field = ''", "ciphertext_field"),
            ("key_files = ['first.key']\nciphertext_field = 'a'\nciphertext = 'raw'", "ciphertext_field"),
            ("key_files = ['first.key']\nciphertext = 'base32'", "ciphertext"),
            ("key_files = ['first.key']\npadding = 'none'", "padding"),
            ("key_files = ['first.key']\ntime_zone = 'America/Nowhere'", "time_zone"),
            ("key_files = ['first.key']\ntime_zone = 'Etc/Unknown'", "time_zone"),
            ("key_files = ['first.key']\ncurrency = 'MXQ'", "currency"),
            ("key_files = ['first.key']\naccount_ids = ['a']", "account_ids"),
            ("key_file = 'first.key'", "key_file"),
        ] {
            let error = PROVIDER.configure(&section(settings), &TWO_KEYS).err().map(|error| error.to_string()).unwrap();
            assert!(error.contains(named), "{settings}: {error}");
        }
    }

    #[test]
    fn sends_what_it_believes_in_every_encoding() {
        let now: Timestamp = "2026-02-03T04:05:06Z".parse().unwrap();
        for more in ["ciphertext = 'hex'", "ciphertext = 'raw'", "ciphertext_field = 'a'", "padding = 'zero'"] {
            let settings = format!("key_files = ['second.key', 'first.key']\naccount_ids = [9]\n{more}");
            let sender = PROVIDER.sender(&section(&settings), &TWO_KEYS, None).unwrap();
            for event_type in PROVIDER.event_types() {
                let proof = source(&settings).authenticate(&raw("", sender.sample(event_type, now, 1).body));
                assert_eq!(proof.map(|proof| proof.key_id.as_str().to_owned()), Ok(SECOND_ID.to_owned()), "{more}");
            }
        }
    }
}
