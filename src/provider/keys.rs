//! Key files' contents, told apart by kind: PEM public and private keys, and shared secrets.
//! Must not read files itself: `config` does, through [`KeyFiles`]. No error here holds a byte of a key.

mod content;

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{PemObject, SectionKind};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::rsa_trace::RsaNumbers;
use super::webhook::{KeyId, KeyKind};

/// What has to stand in a key file.
const PUBLIC_KEY: &str = "a public key in PEM (-----BEGIN PUBLIC KEY-----)";
const PRIVATE_KEY: &str = "an RSA private key in PEM (-----BEGIN PRIVATE KEY-----) without a password";
const ANY_PRIVATE_KEY: &str = "a private key in PEM (-----BEGIN PRIVATE KEY-----) without a password";
const SHARED_SECRET: &str = "a shared secret as text";

/// A shorter secret is told by `check`: it might be found by trying.
const SECRET_BYTES_MIN: usize = 16;

/// What some editors put before a text, in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads key files for providers.
pub trait KeyFiles {
    /// The bytes of one file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>>;
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else than the key that belongs there.
    #[error("{} {problem}", path.display())]
    WrongContent {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// An RSA public key, ready to verify.
pub struct PublicKey {
    /// Its id.
    pub id: KeyId,
    key: ParsedPublicKey,
    numbers: Option<RsaNumbers>,
}

impl PublicKey {
    /// Whether `signature` is this key's RSASSA-PKCS1-v1_5 signature with SHA-256 over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }

    /// Whether `signature` is this key's over whatever bytes. It proves nothing of a message.
    pub fn made(&self, signature: &[u8]) -> bool {
        self.numbers.as_ref().is_some_and(|numbers| numbers.made(signature))
    }
}

/// A secret that both sides share.
pub struct Secret {
    /// Its id.
    pub id: KeyId,
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        let kind = if bytes.len() < SECRET_BYTES_MIN { KeyKind::ShortSecret } else { KeyKind::Secret };
        Self { id: key_id(&bytes, kind), bytes }
    }
}

/// The id of a key with these bytes.
fn key_id(bytes: &[u8], kind: KeyKind) -> KeyId {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let [first, second, third, fourth, fifth, sixth, seventh, eighth, ..] = digest;
    let half = u64::from_be_bytes([first, second, third, fourth, fifth, sixth, seventh, eighth]);
    KeyId::new(format!("{half:016x}"), kind)
}

/// Every RSA public key in the PEM files, at least one a file.
///
/// # Errors
/// A file that is unreadable, holds no PEM public key, or holds a private one.
pub fn public_keys(files: &dyn KeyFiles, paths: &[PathBuf]) -> Result<Vec<PublicKey>, KeyFileError> {
    let mut keys = Vec::new();
    for path in paths {
        let pem = read(files, path)?;
        let before = keys.len();
        for section in <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(&pem) {
            let (kind, der) = section.map_err(|_| holds(path, &pem, PUBLIC_KEY))?;
            keys.push(public_key(kind, &der).map_err(|wanted| holds(path, &pem, wanted))?);
        }
        if keys.len() == before {
            return Err(holds(path, &pem, PUBLIC_KEY));
        }
    }
    Ok(keys)
}

/// The key in one section of PEM; else what is needed instead of it, and how to get that.
fn public_key(kind: SectionKind, der: &[u8]) -> Result<PublicKey, &'static str> {
    match kind {
        SectionKind::PublicKey => {
            let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
                .map_err(|_| "an RSA public key of 2048 to 8192 bits")?;
            Ok(PublicKey { id: key_id(der, KeyKind::Public), key, numbers: RsaNumbers::of_der(der) })
        }
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
            Err("the provider's public key; `openssl pkey -in FILE -pubout` extracts one")
        }
        SectionKind::Certificate => {
            Err("the provider's public key; `openssl x509 -in FILE -pubkey -noout` extracts it")
        }
        _ => Err(PUBLIC_KEY),
    }
}

/// The DER of every public key in a PEM file, of whatever kind; at least one.
///
/// # Errors
/// The file is unreadable, or holds no PEM public key.
pub fn public_key_ders(files: &dyn KeyFiles, path: &Path) -> Result<Vec<Vec<u8>>, KeyFileError> {
    let pem = read(files, path)?;
    let sections: Result<Vec<_>, _> = <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(&pem).collect();
    match sections {
        Ok(sections) if !sections.is_empty() && sections.iter().all(|(kind, _)| *kind == SectionKind::PublicKey) => {
            Ok(sections.into_iter().map(|(_, der)| der).collect())
        }
        Ok(_) | Err(_) => Err(holds(path, &pem, PUBLIC_KEY)),
    }
}

/// The id of the public key with this DER.
pub fn public_key_id(der: &[u8]) -> KeyId {
    key_id(der, KeyKind::Public)
}

/// The DER of the private key in a PEM file, of whatever kind.
///
/// # Errors
/// The file is unreadable, or holds no PEM private key.
pub fn private_key_der(files: &dyn KeyFiles, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let pem = read(files, path)?;
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| holds(path, &pem, ANY_PRIVATE_KEY))?;
    Ok(Zeroizing::new(der.secret_der().to_vec()))
}

/// The RSA private key in a PEM file (PKCS#8 or PKCS#1).
///
/// # Errors
/// The file is unreadable, or holds no RSA private key.
pub fn private_key(files: &dyn KeyFiles, path: &Path) -> Result<RsaKeyPair, KeyFileError> {
    let pem = read(files, path)?;
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| holds(path, &pem, PRIVATE_KEY))?;
    let pair = match &der {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        other => RsaKeyPair::from_pkcs8(other.secret_der()),
    };
    pair.map_err(|_| holds(path, &pem, "an RSA private key of 2048 to 8192 bits"))
}

/// The id of the public key that belongs to a private one; none where the library does not give it.
pub fn public_half_id(pair: &RsaKeyPair) -> Option<KeyId> {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::KeyPair;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
    Some(key_id(public.as_ref(), KeyKind::Public))
}

/// A new RSA key pair of 2048 bits as PEM: private (PKCS#8), then public (SPKI). For demonstrations.
///
/// # Errors
/// The cryptographic library refuses.
pub fn generate_pem_pair() -> Result<(Zeroizing<String>, String), aws_lc_rs::error::Unspecified> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::signature::KeyPair;
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048)?;
    let private: Pkcs8V1Der<'_> = pair.as_der()?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    Ok((Zeroizing::new(pem("PRIVATE KEY", private.as_ref())), pem("PUBLIC KEY", public.as_ref())))
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The text of each key file without white space at its ends.
///
/// # Errors
/// A file that is unreadable, not text, or empty.
pub fn texts(files: &dyn KeyFiles, paths: &[PathBuf]) -> Result<Vec<Zeroizing<String>>, KeyFileError> {
    paths.iter().map(|path| text(files, path)).collect()
}

/// The text of one key file without white space at its ends.
///
/// # Errors
/// The file is unreadable, not text, or empty.
pub fn text(files: &dyn KeyFiles, path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let bytes = read(files, path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| holds(path, &bytes, SHARED_SECRET))?.trim();
    match text {
        _ if text.is_empty() || text.starts_with("-----BEGIN") => Err(holds(path, &bytes, SHARED_SECRET)),
        _ => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// A complaint about a key file's content: what is wrong, as half a sentence after the file's name.
pub fn wrong(path: &Path, problem: &str) -> KeyFileError {
    KeyFileError::WrongContent { path: path.to_owned(), problem: problem.to_owned() }
}

/// The complaint that a file holds something else than what is needed.
pub fn holds(path: &Path, content: &[u8], needed: &str) -> KeyFileError {
    wrong(path, &format!("holds {}, but needs {needed}", content::describe(content)))
}

/// The bytes of a key file, without the byte order mark that some editors put before a text: it is no part of a key.
fn read(files: &dyn KeyFiles, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let bytes = files.read(path).map_err(|source| KeyFileError::Unreadable { path: path.to_owned(), source })?;
    Ok(match bytes.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => Zeroizing::new(rest.to_vec()),
        None => bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::tests::fixtures::{Files, FixtureKeys};

    /// The fixtures' key files as an editor on Windows writes them.
    struct Marked;

    impl KeyFiles for Marked {
        fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
            Ok(Zeroizing::new([BYTE_ORDER_MARK, &FixtureKeys.read(path)?].concat()))
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_any_key() {
        let public = [PathBuf::from("smart-glocal-public.pem")];
        assert_eq!(public_keys(&Marked, &public).unwrap()[0].id, public_keys(&FixtureKeys, &public).unwrap()[0].id);
        assert!(private_key(&Marked, Path::new("smart-glocal-private.pem")).is_ok());
        let secret = Path::new("unipaas.key");
        assert_eq!(text(&Marked, secret).unwrap(), text(&FixtureKeys, secret).unwrap());
        let only_mark = Files(&[("marked.key", "\u{feff} \n")]);
        assert!(
            text(&only_mark, Path::new("marked.key")).unwrap_err().to_string().contains("holds nothing, but needs")
        );
    }
}
