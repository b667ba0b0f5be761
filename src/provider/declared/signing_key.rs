//! Keys of senders that are described by configuration: what verifies a signature, and what makes one for samples.
//! Must not know where a signature stands, nor what is signed.

use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::settings::{Algorithm, KeyEncoding};
use super::template::Piece;
use crate::provider::keys::{self, KeyFileError, KeyFiles, Secret};
use crate::provider::webhook::KeyId;

/// Bytes of the two numbers of a P-256 signature side by side; one in ASN.1 is longer, but for one in billions.
const ECDSA_FIXED_BYTES: usize = 64;

/// A key that verifies.
pub struct VerifyingKey {
    /// Its id.
    pub id: KeyId,
    material: Material,
}

enum Material {
    Mac(Box<hmac::Key>),
    Token(Zeroizing<Vec<u8>>),
    Public(ParsedPublicKey),
    /// The same curve, for either form of a signature.
    Ecdsa {
        asn1: ParsedPublicKey,
        fixed: ParsedPublicKey,
    },
}

/// A key that signs samples.
pub enum SampleKey {
    /// The same secret that verifies.
    Secret(VerifyingKey),
    /// An RSA private key, and how it signs.
    Rsa(RsaKeyPair, Algorithm),
    /// A private key on P-256.
    Ecdsa(EcdsaKeyPair),
    /// An Ed25519 private key.
    Ed25519(Ed25519KeyPair),
}

impl Algorithm {
    /// Whether both sides share a secret.
    pub fn is_symmetric(self) -> bool {
        self.mac().is_some() || self == Self::Token
    }

    /// Whether it is an HMAC.
    pub fn is_mac(self) -> bool {
        self.mac().is_some()
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HmacSha512 => "HMAC-SHA512",
            Self::RsaPkcs1Sha256 => "RSA signature (PKCS#1 v1.5, SHA-256)",
            Self::RsaPssSha256 => "RSA signature (PSS, SHA-256)",
            Self::EcdsaP256Sha256 => "ECDSA signature (P-256, SHA-256)",
            Self::Ed25519 => "Ed25519 signature",
            Self::Token => "token",
        }
    }

    fn mac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::HmacSha256 => Some(hmac::HMAC_SHA256),
            Self::HmacSha512 => Some(hmac::HMAC_SHA512),
            Self::RsaPkcs1Sha256 | Self::RsaPssSha256 | Self::EcdsaP256Sha256 | Self::Ed25519 | Self::Token => None,
        }
    }
}

impl VerifyingKey {
    /// Whether any of these signatures is over these pieces.
    pub fn verifies(&self, pieces: &[Piece<'_>], signatures: &[Vec<u8>]) -> bool {
        match &self.material {
            Material::Mac(key) => {
                let mac = mac(key, pieces);
                // Every one is compared, each in constant time.
                let equal = signatures.iter().map(|signature| signature.as_slice().ct_eq(mac.as_ref()));
                equal.fold(subtle::Choice::from(0), |any, one| any | one).into()
            }
            // By their hashes, so that not even a length is told by the time that it takes.
            Material::Token(token) => {
                let expected = Sha256::digest(token);
                signatures.iter().any(|sent| Sha256::digest(sent).as_slice().ct_eq(expected.as_slice()).into())
            }
            Material::Public(key) => {
                let message = joined(pieces);
                signatures.iter().any(|signature| key.verify_sig(&message, signature).is_ok())
            }
            Material::Ecdsa { asn1, fixed } => {
                let message = joined(pieces);
                signatures.iter().any(|signature| {
                    let key = if signature.len() == ECDSA_FIXED_BYTES { fixed } else { asn1 };
                    key.verify_sig(&message, signature).is_ok()
                })
            }
        }
    }

    /// The MAC of a text; none where this is no key of a MAC.
    pub fn mac_of(&self, text: &str) -> Option<Vec<u8>> {
        match &self.material {
            Material::Mac(key) => Some(hmac::sign(key, text.as_bytes()).as_ref().to_vec()),
            Material::Token(_) | Material::Public(_) | Material::Ecdsa { .. } => None,
        }
    }
}

impl SampleKey {
    /// The signature over these pieces; none where the library refuses.
    pub fn sign(&self, pieces: &[Piece<'_>]) -> Option<Vec<u8>> {
        match self {
            Self::Secret(key) => match &key.material {
                Material::Mac(key) => Some(mac(key, pieces).as_ref().to_vec()),
                Material::Token(token) => Some(token.to_vec()),
                Material::Public(_) | Material::Ecdsa { .. } => None,
            },
            Self::Rsa(pair, algorithm) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &dyn aws_lc_rs::signature::RsaEncoding =
                    if *algorithm == Algorithm::RsaPssSha256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &SystemRandom::new(), &joined(pieces), &mut signature).ok()?;
                Some(signature)
            }
            Self::Ecdsa(pair) => Some(pair.sign(&SystemRandom::new(), &joined(pieces)).ok()?.as_ref().to_vec()),
            Self::Ed25519(pair) => Some(pair.sign(&joined(pieces)).as_ref().to_vec()),
        }
    }
}

fn mac(key: &hmac::Key, pieces: &[Piece<'_>]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for piece in pieces {
        context.update(&piece.bytes);
    }
    context.sign()
}

fn joined(pieces: &[Piece<'_>]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
}

/// The secrets in these files.
///
/// # Errors
/// A file is unreadable, or holds no secret in this encoding.
pub fn secrets(
    files: &dyn KeyFiles,
    paths: &[PathBuf],
    algorithm: Algorithm,
    encoding: KeyEncoding,
) -> Result<Vec<VerifyingKey>, KeyFileError> {
    paths.iter().map(|path| secret(files, path, algorithm, encoding)).collect()
}

fn secret(
    files: &dyn KeyFiles,
    path: &Path,
    algorithm: Algorithm,
    encoding: KeyEncoding,
) -> Result<VerifyingKey, KeyFileError> {
    let text = keys::text(files, path)?;
    let secret =
        Secret::new(bytes(&text, encoding).ok_or_else(|| keys::holds(path, text.as_bytes(), needed(encoding)))?);
    if secret.bytes.is_empty() {
        return Err(keys::wrong(path, "holds an empty secret: everybody could sign with it"));
    }
    let material = match algorithm.mac() {
        Some(mac) => Material::Mac(Box::new(hmac::Key::new(mac, &secret.bytes))),
        None => Material::Token(secret.bytes),
    };
    Ok(VerifyingKey { id: secret.id, material })
}

fn bytes(text: &str, encoding: KeyEncoding) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = match encoding {
        KeyEncoding::Utf8 => Some(text.as_bytes().to_vec()),
        KeyEncoding::Hex => base16ct::mixed::decode_vec(text).ok(),
        KeyEncoding::Base64 => STANDARD.decode(text).ok(),
        KeyEncoding::Whsec => STANDARD.decode(text.strip_prefix("whsec_")?).ok(),
    };
    bytes.map(Zeroizing::new)
}

fn needed(encoding: KeyEncoding) -> &'static str {
    match encoding {
        KeyEncoding::Utf8 => "a shared secret as text",
        KeyEncoding::Hex => "a shared secret in hex digits (signature.key = \"hex\")",
        KeyEncoding::Base64 => "a shared secret in base64 (signature.key = \"base64\")",
        KeyEncoding::Whsec => "whsec_ and base64 (signature.key = \"whsec\")",
    }
}

/// The public keys in these files.
///
/// # Errors
/// A file is unreadable, or holds no public key for this algorithm.
pub fn public_keys(
    files: &dyn KeyFiles,
    paths: &[PathBuf],
    algorithm: Algorithm,
) -> Result<Vec<VerifyingKey>, KeyFileError> {
    let mut all = Vec::new();
    for path in paths {
        for der in keys::public_key_ders(files, path)? {
            let material = public_material(&der, algorithm)
                .ok_or_else(|| keys::wrong(path, &format!("holds no public key for {}", algorithm.name())))?;
            all.push(VerifyingKey { id: keys::public_key_id(&der), material });
        }
    }
    Ok(all)
}

fn public_material(der: &[u8], algorithm: Algorithm) -> Option<Material> {
    let parsed = |algorithm: &'static dyn VerificationAlgorithm| ParsedPublicKey::new(algorithm, der).ok();
    match algorithm {
        Algorithm::RsaPkcs1Sha256 => parsed(&RSA_PKCS1_2048_8192_SHA256).map(Material::Public),
        Algorithm::RsaPssSha256 => parsed(&RSA_PSS_2048_8192_SHA256).map(Material::Public),
        Algorithm::Ed25519 => parsed(&ED25519).map(Material::Public),
        Algorithm::EcdsaP256Sha256 => {
            Some(Material::Ecdsa { asn1: parsed(&ECDSA_P256_SHA256_ASN1)?, fixed: parsed(&ECDSA_P256_SHA256_FIXED)? })
        }
        Algorithm::HmacSha256 | Algorithm::HmacSha512 | Algorithm::Token => None,
    }
}

/// The private key in a PEM file, for samples.
///
/// # Errors
/// The file is unreadable, or holds no private key for this algorithm.
pub fn private_key(files: &dyn KeyFiles, path: &Path, algorithm: Algorithm) -> Result<SampleKey, KeyFileError> {
    let refused = || keys::wrong(path, &format!("holds no private key (PKCS#8) for {}", algorithm.name()));
    match algorithm {
        Algorithm::RsaPkcs1Sha256 | Algorithm::RsaPssSha256 => {
            Ok(SampleKey::Rsa(keys::private_key(files, path)?, algorithm))
        }
        Algorithm::EcdsaP256Sha256 => {
            let der = keys::private_key_der(files, path)?;
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der);
            pair.map(SampleKey::Ecdsa).map_err(|_| refused())
        }
        Algorithm::Ed25519 => {
            let der = keys::private_key_der(files, path)?;
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(SampleKey::Ed25519).map_err(|_| refused())
        }
        Algorithm::HmacSha256 | Algorithm::HmacSha512 | Algorithm::Token => Err(refused()),
    }
}
