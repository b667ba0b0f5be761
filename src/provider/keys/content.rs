//! What kind of thing stands in a file that should hold a key: for whoever has to put the right one there.
//! Pure: tells kinds alone, never a byte of the content.

use rustls::pki_types::pem::{PemObject, SectionKind};

/// The object identifiers of key types, as they stand in the DER of a public or private key.
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const ELLIPTIC_CURVE: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const ED25519: &[u8] = b"\x2b\x65\x70";

/// PEM labels that rustls has no kind for.
const OTHER_LABELS: [(&str, &str); 5] = [
    ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "an encrypted private key"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key in OpenSSH's format"),
    ("-----BEGIN RSA PUBLIC KEY-----", "an RSA public key in PKCS#1 format"),
    ("-----BEGIN DSA PRIVATE KEY-----", "a DSA private key"),
    ("-----BEGIN PGP", "a PGP key"),
];

/// How the text of a key that is not PEM begins.
const BEGINNINGS: [(&str, &str); 9] = [
    ("ssh-", "a public key in OpenSSH's format"),
    ("ecdsa-", "a public key in OpenSSH's format"),
    ("whsec_", "a shared secret of Standard Webhooks"),
    ("whpk_", "a public key of Standard Webhooks"),
    ("whsk_", "a private key of Standard Webhooks"),
    ("ascii:", "an AES key"),
    ("hex:", "an AES key"),
    ("base64:", "an AES key"),
    ("{", "JSON"),
];

/// What a file holds, as the object of "the file holds …".
pub fn describe(bytes: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(bytes) else {
        // Every key and certificate in DER is one SEQUENCE.
        return if bytes.starts_with(&[0x30]) { "a key or certificate in binary form (DER)" } else { "binary data" };
    };
    let text = text.trim();
    let begins = |(beginning, kind): &(&str, &'static str)| text.starts_with(beginning).then_some(*kind);
    match text {
        "" => "nothing",
        _ if text.contains("-----BEGIN ") => describe_pem(text),
        _ => BEGINNINGS.iter().find_map(begins).unwrap_or("other text"),
    }
}

fn describe_pem(text: &str) -> &'static str {
    if let Some((_, kind)) = OTHER_LABELS.iter().find(|(label, _)| text.contains(label)) {
        return kind;
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return "an encrypted private key";
    }
    match <(SectionKind, Vec<u8>) as PemObject>::from_pem_slice(text.as_bytes()) {
        Ok((SectionKind::PublicKey, der)) => public_key(&der),
        Ok((SectionKind::PrivateKey, der)) => private_key(&der),
        Ok((SectionKind::RsaPrivateKey, _)) => "an RSA private key",
        Ok((SectionKind::EcPrivateKey, _)) => "an elliptic curve private key",
        Ok((SectionKind::Certificate, _)) => "a certificate",
        Ok((SectionKind::Csr, _)) => "a request for a certificate",
        Ok(_) => "PEM of another kind",
        Err(_) => "damaged PEM",
    }
}

fn public_key(der: &[u8]) -> &'static str {
    match () {
        () if has(der, RSA) => "an RSA public key",
        () if has(der, ELLIPTIC_CURVE) => "an elliptic curve public key",
        () if has(der, ED25519) => "an Ed25519 public key",
        () => "a public key",
    }
}

fn private_key(der: &[u8]) -> &'static str {
    match () {
        () if has(der, RSA) => "an RSA private key",
        () if has(der, ELLIPTIC_CURVE) => "an elliptic curve private key",
        () if has(der, ED25519) => "an Ed25519 private key",
        () => "a private key",
    }
}

/// Whether the identifier stands where a key's type does: among the first bytes.
fn has(der: &[u8], identifier: &[u8]) -> bool {
    let head = der.get(..32).unwrap_or(der);
    head.windows(identifier.len()).any(|window| window == identifier)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::provider::keys::generate_pem_pair;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    #[test]
    fn tells_the_kind_of_what_stands_in_a_file() {
        let (private, public) = generate_pem_pair().unwrap();
        let elliptic = [&[0x30, 0x59, 0x30, 0x13, 0x06, 0x07][..], ELLIPTIC_CURVE].concat();
        let edwards = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03][..], ED25519].concat();
        for (content, expected) in [
            (String::new(), "nothing"),
            (" \n".to_owned(), "nothing"),
            (public.clone(), "an RSA public key"),
            (private.to_string(), "an RSA private key"),
            (pem("PUBLIC KEY", &elliptic), "an elliptic curve public key"),
            (pem("PUBLIC KEY", &edwards), "an Ed25519 public key"),
            (pem("PRIVATE KEY", &edwards), "an Ed25519 private key"),
            (pem("EC PRIVATE KEY", b"x"), "an elliptic curve private key"),
            (pem("RSA PUBLIC KEY", b"x"), "an RSA public key in PKCS#1 format"),
            (pem("ENCRYPTED PRIVATE KEY", b"x"), "an encrypted private key"),
            (pem("CERTIFICATE", b"x"), "a certificate"),
            (pem("CERTIFICATE REQUEST", b"x"), "a request for a certificate"),
            (pem("DH PARAMETERS", b"x"), "damaged PEM"),
            (public.replace("-----END PUBLIC KEY-----", ""), "damaged PEM"),
            ("ssh-rsa AAAA someone".to_owned(), "a public key in OpenSSH's format"),
            ("whsec_c2VjcmV0".to_owned(), "a shared secret of Standard Webhooks"),
            ("hex:00".to_owned(), "an AES key"),
            ("{\"key\": 1}".to_owned(), "JSON"),
            ("hunter2".to_owned(), "other text"),
        ] {
            assert_eq!(describe(content.as_bytes()), expected, "{content}");
        }
        assert_eq!(describe(&[0x30, 0x82, 0xff, 0xfe]), "a key or certificate in binary form (DER)");
        assert_eq!(describe(&[0xff, 0xfe]), "binary data");
    }
}
