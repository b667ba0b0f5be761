//! How ciphertext travels: its encoding, and where in the body it stands.
//! Must not know keys. Nothing is parsed here but the object around the ciphertext, where there is one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::provider::json;

/// How ciphertext is written.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Base64 with padding, strict: one text for one ciphertext, but for line breaks.
    #[default]
    Base64,
    /// Two hex digits a byte, upper or lower case.
    Hex,
    /// The bytes themselves.
    Raw,
}

/// Where ciphertext stands in a body, and how it is written.
pub struct Wire {
    /// How it is written.
    pub encoding: Encoding,
    /// The field of a JSON object that holds it; without one the whole body is it.
    pub field: Option<String>,
}

impl Wire {
    /// The ciphertext in a body; `None` when it does not stand where and as it should.
    pub fn ciphertext(&self, body: &[u8]) -> Option<Vec<u8>> {
        match (&self.field, self.encoding) {
            (Some(field), encoding) => encoding.decode(json::lone_text(body, field).ok()??.as_bytes()),
            (None, Encoding::Raw) => Some(body.to_vec()),
            (None, encoding) => match body.trim_ascii() {
                // some senders write the text as a JSON document of its own
                quoted @ [b'"', ..] => encoding.decode(serde_json::from_slice::<String>(quoted).ok()?.as_bytes()),
                text => encoding.decode(text),
            },
        }
    }

    /// A body that holds the ciphertext, with its content type.
    pub fn body(&self, ciphertext: Vec<u8>) -> (&'static str, Bytes) {
        let text = match self.encoding {
            Encoding::Base64 => STANDARD.encode(ciphertext),
            Encoding::Hex => to_hex(&ciphertext),
            Encoding::Raw => return ("application/octet-stream", Bytes::from(ciphertext)),
        };
        match &self.field {
            Some(field) => ("application/json", Bytes::from(json!({field: text}).to_string())),
            None => ("text/plain", Bytes::from(text)),
        }
    }
}

impl Encoding {
    fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        let without_breaks =
            || -> Vec<u8> { text.trim_ascii().iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect() };
        match self {
            Self::Base64 => STANDARD.decode(without_breaks()).ok(),
            Self::Hex => from_hex(&without_breaks()),
            Self::Raw => Some(text.to_vec()),
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}

/// The bytes that these hex digits are; `None` when something else stands among them, or one is left over.
pub fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let bytes = pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(encoding: Encoding, field: Option<&str>) -> Wire {
        Wire { encoding, field: field.map(str::to_owned) }
    }

    fn check(encoding: Encoding, field: Option<&str>, body: &[u8], expect: Option<&[u8]>) {
        let ciphertext = wire(encoding, field).ciphertext(body);
        assert_eq!(ciphertext.as_deref(), expect, "{encoding:?} {field:?} {}", body.escape_ascii());
    }

    #[test]
    fn takes_base64_with_white_space_around_and_line_breaks_inside() {
        for body in
            ["/+8BAg==", " /+8BAg==\r\n", "/+8B\r\nAg==", r#""/+8BAg==""#, r#" "\/+8BAg==" "#, r#""/+8B\nAg==""#]
        {
            check(Encoding::Base64, None, body.as_bytes(), Some(&[0xff, 0xef, 1, 2]));
        }
    }

    #[test]
    fn refuses_base64_that_has_a_second_spelling() {
        for body in ["/+8BAh==", "/+8BAg", "/+8BAg=", "_-8BAg==", "/+8B Ag==", "\"/+8BAg==", "/+8BAg==\"", "\"\" x"] {
            check(Encoding::Base64, None, body.as_bytes(), None);
        }
    }

    #[test]
    fn takes_hex_and_raw_bytes() {
        check(Encoding::Hex, None, b"FFef01\n02 ", Some(&[0xff, 0xef, 1, 2]));
        check(Encoding::Hex, None, b"\"ffef0102\"", Some(&[0xff, 0xef, 1, 2]));
        check(Encoding::Hex, None, b"ffef010", None);
        check(Encoding::Hex, None, b"ffef01zz", None);
        check(Encoding::Raw, None, b" \"\xff\n", Some(b" \"\xff\n"));
    }

    #[test]
    fn takes_the_named_field_of_an_object() {
        let field = Some("payload");
        check(Encoding::Base64, field, br#"{"v":1,"payload":"\/+8BAg=="}"#, Some(&[0xff, 0xef, 1, 2]));
        check(Encoding::Hex, field, br#" {"payload":"ffef0102"} "#, Some(&[0xff, 0xef, 1, 2]));
        for body in [r#"{"data":"/+8BAg=="}"#, r#"{"payload":null}"#, r#"{"payload":7}"#, "/+8BAg==", "", "{", "[]"] {
            check(Encoding::Base64, field, body.as_bytes(), None);
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for (encoding, field) in [
            (Encoding::Base64, None),
            (Encoding::Hex, None),
            (Encoding::Raw, None),
            (Encoding::Base64, Some("payload")),
            (Encoding::Hex, Some("payload")),
        ] {
            let (_, body) = wire(encoding, field).body(vec![0xff, 0xef, 1, 2]);
            check(encoding, field, &body, Some(&[0xff, 0xef, 1, 2]));
        }
    }
}
