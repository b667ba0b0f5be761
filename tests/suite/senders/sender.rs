//! The senders with official libraries: which libraries, how each writes its signature, and our source of it.
//! Must not know webhooks.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use figment::Figment;
use figment::providers::{Format as _, Toml};
use hmac::{Hmac, KeyInit as _, Mac as _};
use paybridge::provider::{self, KeyFiles, Source};
use paybridge::settings::Section;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::programs::Program;

/// A sender, and how it signs.
#[derive(Debug)]
pub struct Sender {
    /// The name of our preset or provider.
    pub preset: &'static str,
    /// Its libraries: where they are, and their name there.
    pub libraries: &'static [(Program, &'static str)],
    /// The header with the signature.
    pub header: &'static str,
    /// What stands before the signature in that header.
    pub label: &'static str,
    /// What separates the entries of that header; none where it has just one.
    pub separator: Option<&'static str>,
    /// How the signature's bytes are written.
    pub encoding: Encoding,
    /// Where the time of the attempt is.
    pub stamp: Stamp,
    /// What is signed: `{id}`, `{t}`, `{url}` and `{body}` stand for themselves.
    pub signed: &'static str,
    /// How a secret looks.
    pub secret: Form,
    /// Whether a library signs an empty body, and one verifies it.
    pub empty_body: bool,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Two digits a byte, in lower case.
    Hex,
    /// With padding.
    Base64,
}

/// Where the time of an attempt is, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Nowhere.
    None,
    /// At the beginning of the signature's header, after `t=`.
    InList,
    /// In a header of its own.
    Header(&'static str),
}

/// How a secret looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text: its bytes are the key.
    Text,
    /// Base64 of 24 to 64 bytes, after `whsec_` or alone.
    Whsec,
}

/// Every sender with an official library here.
pub static SENDERS: [Sender; 7] = [
    Sender {
        preset: "stripe",
        libraries: &[(Program::Python, "stripe"), (Program::Node, "stripe")],
        header: "stripe-signature",
        label: "v1=",
        separator: Some(","),
        encoding: Encoding::Hex,
        stamp: Stamp::InList,
        signed: "{t}.{body}",
        secret: Form::Text,
        empty_body: true, // for Python; the one for Node.js takes it for a body that is missing
    },
    Sender {
        preset: "standard-webhooks",
        libraries: &[(Program::Python, "standardwebhooks"), (Program::Node, "standardwebhooks")],
        header: "webhook-signature",
        label: "v1,",
        separator: Some(" "),
        encoding: Encoding::Base64,
        stamp: Stamp::Header("webhook-timestamp"),
        signed: "{id}.{t}.{body}",
        secret: Form::Whsec,
        empty_body: true,
    },
    Sender {
        preset: "github",
        libraries: &[(Program::Node, "github")],
        label: "sha256=",
        empty_body: false, // taken for a body that is missing
        ..BODY_ALONE.of("x-hub-signature-256")
    },
    Sender {
        preset: "square",
        libraries: &[(Program::Python, "square")],
        encoding: Encoding::Base64,
        signed: "{url}{body}",
        empty_body: false, // never valid
        ..BODY_ALONE.of("x-square-hmacsha256-signature")
    },
    Sender { preset: "razorpay", libraries: &[(Program::Python, "razorpay")], ..BODY_ALONE.of("x-razorpay-signature") },
    Sender {
        preset: "slack",
        libraries: &[(Program::Python, "slack")],
        label: "v0=",
        stamp: Stamp::Header("x-slack-request-timestamp"),
        signed: "v0:{t}:{body}",
        ..BODY_ALONE.of("x-slack-signature")
    },
    Sender {
        preset: "gocardless",
        libraries: &[(Program::Python, "gocardless")],
        ..BODY_ALONE.of("webhook-signature")
    },
];

/// The usual: HMAC of the body alone, in hex.
const BODY_ALONE: Sender = Sender {
    preset: "",
    libraries: &[],
    header: "",
    label: "",
    separator: None,
    encoding: Encoding::Hex,
    stamp: Stamp::None,
    signed: "{body}",
    secret: Form::Text,
    empty_body: true,
};

impl Sender {
    const fn of(self, header: &'static str) -> Self {
        Self { header, ..self }
    }

    /// A signature of these bytes as this sender writes it.
    fn encode(&self, bytes: &[u8]) -> String {
        match self.encoding {
            Encoding::Hex => base16ct::lower::encode_string(bytes),
            Encoding::Base64 => STANDARD.encode(bytes),
        }
    }

    /// The bytes of a signature.
    pub fn decode(&self, signature: &str) -> Vec<u8> {
        match self.encoding {
            Encoding::Hex => base16ct::lower::decode_vec(signature).unwrap(),
            Encoding::Base64 => STANDARD.decode(signature).unwrap(),
        }
    }

    /// The signature of a text with this secret: for what no library signs.
    pub fn sign(&self, secret: &str, text: &str) -> String {
        let key = match self.secret {
            Form::Text => secret.as_bytes().to_vec(),
            Form::Whsec => {
                let base64 = secret.trim_start_matches("whsec_").trim_end_matches('=');
                STANDARD_NO_PAD.decode(base64).unwrap()
            }
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(text.as_bytes());
        self.encode(&mac.finalize().into_bytes())
    }

    /// Our source of this sender, with these secrets.
    pub fn source(&self, secrets: &[&str], url: &str) -> Box<dyn Source> {
        let names: Vec<String> = (0..secrets.len()).map(|number| format!("{number}.key")).collect();
        let mut figment = Figment::from(Toml::string(&format!("secret_files = {names:?}")));
        if self.signed.contains("{url}") {
            figment = figment.merge(("signature.url", url));
        }
        let section = Section::new("sources.shop", figment.extract().unwrap());
        let files = Files(secrets.iter().map(|secret| (*secret).to_owned()).collect());
        let provider = provider::find(self.preset).unwrap_or_else(|| panic!("there is no {}", self.preset));
        let source = provider.configure(&section, &files);
        source.unwrap_or_else(|error| panic!("{} with the secrets {secrets:?}: {error}", self.preset))
    }
}

/// Key files `0.key`, `1.key` and so on.
struct Files(Vec<String>);

impl KeyFiles for Files {
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<usize>().ok());
        let secret = number.and_then(|number| self.0.get(number)).ok_or(io::ErrorKind::NotFound)?;
        Ok(Zeroizing::new(secret.clone().into_bytes()))
    }
}
