//! Finds signatures where a sender puts them: in a header or parameter, alone, behind a prefix, in a list of entries, or in one piece
//! of several. Must not know what is signed, nor any key.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use super::settings::{Algorithm, ListSettings, SignatureEncoding, SignatureSettings, SplitSettings};
use super::value_place::{ValuePlace, parameter};
use crate::provider::{RawWebhook, Unverified};

/// Signatures of one webhook that are tried at most: senders put two or three there while they change a key.
const SIGNATURES_MAX: usize = 8;

/// The furthest piece that can be the signature, from either end: senders have two or three.
const PIECE_MAX: u32 = 64;

/// Base64 for URLs, padded or not.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where signatures stand, and how they are written.
#[derive(Clone, Debug)]
pub struct SignaturePlace {
    /// The header or parameter.
    pub place: ValuePlace,
    list: Option<ListSettings>,
    prefix: String,
    split: Option<SplitSettings>,
    form: SignatureForm,
}

/// How a signature's bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignatureForm {
    /// As this encoding has it.
    Encoded(SignatureEncoding),
    /// As the text's own bytes.
    Token,
}

impl SignaturePlace {
    /// The place that these settings name.
    ///
    /// # Errors
    /// The key of the setting that cannot be used, and why.
    pub fn new(settings: &SignatureSettings) -> Result<Self, (&'static str, String)> {
        let place = ValuePlace::parse(&settings.from).map_err(|problem| ("signature.from", problem))?;
        if !matches!(place, ValuePlace::Header(_) | ValuePlace::Query(_)) {
            let problem = "names no header and no parameter: write it as \"header:NAME\" or \"query:NAME\"";
            return Err(("signature.from", problem.to_owned()));
        }
        if let Some(list) = &settings.list {
            if list.separator.is_empty() || list.assign.is_empty() {
                let problem = "needs texts between entries and between name and value: write separator = \",\" and assign = \"=\"";
                return Err(("signature.list", problem.to_owned()));
            }
            if list.pick.is_empty() || list.pick.iter().any(String::is_empty) {
                return Err(("signature.list.pick", "names no entry: write pick = \"v1\"".to_owned()));
            }
        }
        if let Some(split) = &settings.split {
            if split.separator.is_empty() {
                let problem = "is empty: write what stands between the pieces, such as \"/\"";
                return Err(("signature.split.separator", problem.to_owned()));
            }
            if split.take.unsigned_abs() > PIECE_MAX {
                let problem =
                    format!("names a piece that no signature has: use a number from -{PIECE_MAX} to {PIECE_MAX}");
                return Err(("signature.split.take", problem));
            }
        }
        let form = match settings.algorithm {
            Algorithm::Token => SignatureForm::Token,
            _ => SignatureForm::Encoded(settings.encoding),
        };
        let (list, prefix, split) = (settings.list.clone(), settings.prefix.clone(), settings.split.clone());
        Ok(Self { place, list, prefix, split, form })
    }

    /// Whether it is a list of entries.
    pub fn is_list(&self) -> bool {
        self.list.is_some()
    }

    /// What a webhook has at the place.
    ///
    /// # Errors
    /// It is absent, stands twice, or is no text.
    pub fn find<'w>(&self, webhook: &'w RawWebhook) -> Result<Cow<'w, str>, Unverified> {
        match &self.place {
            ValuePlace::Header(name) => match &self.list {
                None => webhook.header(name).map(Cow::Borrowed),
                // Several lines of a list are one list.
                Some(list) => webhook.lines(name).map(|lines| Cow::Owned(lines.join(&list.separator))),
            },
            ValuePlace::Query(name) => match parameter(webhook, name) {
                Ok(Some(value)) => Ok(Cow::Owned(value)),
                Ok(None) | Err(_) => Err(Unverified::HeaderMissing),
            },
            // The settings name no such place.
            ValuePlace::Pointer(_) | ValuePlace::Entry(_) | ValuePlace::Joined(_) => Err(Unverified::HeaderMissing),
        }
    }

    /// The entries of the list that a text is; none where it is to be no list.
    pub fn entries<'t>(&self, text: &'t str) -> Vec<(&'t str, &'t str)> {
        let Some(list) = &self.list else { return Vec::new() };
        let entries = text.split(list.separator.as_str()).map(str::trim);
        entries.filter_map(|entry| entry.split_once(list.assign.as_str())).collect()
    }

    /// The bytes of each signature in a text; never none.
    ///
    /// # Errors
    /// None is of the form that the settings say.
    pub fn signatures(&self, text: &str) -> Result<Vec<Vec<u8>>, Unverified> {
        let entries = self.entries(text);
        let values: Vec<&str> = match &self.list {
            None => vec![text],
            // A name without a value is no entry that any sender writes.
            Some(list)
                if text
                    .split(list.separator.as_str())
                    .any(|entry| list.pick.iter().any(|pick| pick == entry.trim())) =>
            {
                return Err(Unverified::SignatureMalformed);
            }
            Some(list) => {
                let picked = entries.iter().filter(|(name, _)| list.pick.iter().any(|pick| pick == name));
                picked.map(|(_, value)| *value).collect()
            }
        };
        let decoded: Vec<Vec<u8>> =
            values.into_iter().filter_map(|value| self.decoded(value)).take(SIGNATURES_MAX).collect();
        if decoded.is_empty() { Err(Unverified::SignatureMalformed) } else { Ok(decoded) }
    }

    fn decoded(&self, value: &str) -> Option<Vec<u8>> {
        let mut rest = value.strip_prefix(self.prefix.as_str())?;
        if let Some(split) = &self.split {
            let pieces: Vec<&str> = rest.split(split.separator.as_str()).collect();
            let place = match usize::try_from(split.take) {
                Ok(place) => place,
                Err(_) => pieces.len().checked_sub(usize::try_from(split.take.unsigned_abs()).ok()?)?,
            };
            rest = pieces.get(place)?;
        }
        let bytes = match self.form {
            SignatureForm::Token => Some(rest.as_bytes().to_vec()),
            SignatureForm::Encoded(SignatureEncoding::Hex) => base16ct::lower::decode_vec(rest).ok(),
            SignatureForm::Encoded(SignatureEncoding::HexUpper) => base16ct::upper::decode_vec(rest).ok(),
            SignatureForm::Encoded(SignatureEncoding::Base64) => STANDARD.decode(rest).ok(),
            SignatureForm::Encoded(SignatureEncoding::Base64url) => URL_SAFE.decode(rest).ok(),
        };
        bytes.filter(|bytes| !bytes.is_empty())
    }

    /// What a sender puts at the place: a signature, in a list beside the entries `others`.
    pub fn written(&self, signature: &[u8], others: &[(&str, &str)]) -> String {
        let encoded = match self.form {
            SignatureForm::Token => String::from_utf8_lossy(signature).into_owned(),
            SignatureForm::Encoded(SignatureEncoding::Hex) => base16ct::lower::encode_string(signature),
            SignatureForm::Encoded(SignatureEncoding::HexUpper) => base16ct::upper::encode_string(signature),
            SignatureForm::Encoded(SignatureEncoding::Base64) => STANDARD.encode(signature),
            SignatureForm::Encoded(SignatureEncoding::Base64url) => URL_SAFE.encode(signature),
        };
        let piece = match &self.split {
            None => encoded,
            Some(split) => {
                // Whatever stands in the other pieces is not read; before the last ones there are two.
                let (before, after) = match usize::try_from(split.take) {
                    Ok(before) => (before, 0),
                    Err(_) => (2, usize::try_from(split.take.unsigned_abs()).unwrap_or(1).saturating_sub(1)),
                };
                let SplitSettings { separator, .. } = split;
                format!("{}{encoded}{}", format!("x{separator}").repeat(before), format!("{separator}x").repeat(after))
            }
        };
        let value = format!("{}{piece}", self.prefix);
        match &self.list {
            None => value,
            Some(list) => {
                let name = list.pick.first().map_or("", String::as_str);
                let entries = others.iter().copied().chain([(name, value.as_str())]);
                let entries: Vec<String> =
                    entries.map(|(name, value)| format!("{name}{}{value}", list.assign)).collect();
                entries.join(&list.separator)
            }
        }
    }

    /// How the signature is written, for people.
    pub fn describe(&self) -> String {
        let picked = |list: &ListSettings| match list.pick.len() {
            0..=3 => format!(" entry {}", list.pick.join(" or ")),
            count => format!(" any of {count} entries"),
        };
        let entry = self.list.as_ref().map(picked).unwrap_or_default();
        let prefix = if self.prefix.is_empty() { String::new() } else { format!(" behind `{}`", self.prefix) };
        let form = match self.form {
            SignatureForm::Token => "as it is",
            SignatureForm::Encoded(SignatureEncoding::Hex) => "hex",
            SignatureForm::Encoded(SignatureEncoding::HexUpper) => "hex in upper case",
            SignatureForm::Encoded(SignatureEncoding::Base64) => "base64",
            SignatureForm::Encoded(SignatureEncoding::Base64url) => "base64url",
        };
        format!("{form}, from {}{entry}{prefix}", self.place)
    }
}
