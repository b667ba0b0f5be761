//! Whose RSA signature this is, if not over these bytes: it tells a body that was changed on its way from a wrong key.
//! For a log line, after authentication has failed: it proves nothing. Works with public values alone, in variable time.
//! Must not know whose keys they are.

use num_bigint::BigUint;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as AnyPublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// What PKCS #1 v1.5 puts before a SHA-256 digest of 32 bytes (RFC 8017, 9.2, note 1), behind the zero that ends the padding.
const BEFORE_DIGEST: [u8; 20] = [
    0x00, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04,
    0x20,
];

/// The numbers of an RSA public key.
pub struct RsaNumbers {
    modulus: BigUint,
    exponent: BigUint,
}

impl RsaNumbers {
    /// Those of a key in DER (`SubjectPublicKeyInfo`); none where it is no RSA key.
    pub fn of_der(der: &[u8]) -> Option<Self> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
        match info.parsed().ok()? {
            AnyPublicKey::RSA(key) => Some(Self {
                modulus: BigUint::from_bytes_be(key.modulus),
                exponent: BigUint::from_bytes_be(key.exponent),
            }),
            _ => None,
        }
    }

    /// Whether this key's private half made the signature, over whatever bytes.
    pub fn made(&self, signature: &[u8]) -> bool {
        let signature = BigUint::from_bytes_be(signature);
        if signature >= self.modulus {
            return false;
        }
        let message = signature.modpow(&self.exponent, &self.modulus).to_bytes_be();
        // 00 01 FF … FF 00, what stands before a digest, and the digest; the leading zero is no digit.
        let Some(padded) = message.strip_prefix(&[1]) else { return false };
        let padding = padded.iter().take_while(|byte| **byte == 0xff).count();
        let digest_info = padded.get(padding..).unwrap_or_default();
        padding >= 8 && digest_info.len() == BEFORE_DIGEST.len() + 32 && digest_info.starts_with(&BEFORE_DIGEST)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    };

    use super::*;

    fn pair() -> (RsaKeyPair, RsaNumbers) {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = pair.public_key().as_der().unwrap();
        let numbers = RsaNumbers::of_der(der.as_ref()).unwrap();
        (pair, numbers)
    }

    fn sign(pair: &RsaKeyPair, encoding: &'static dyn RsaEncoding) -> Vec<u8> {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), b"any bytes", &mut signature).unwrap();
        signature
    }

    #[test]
    fn knows_the_signatures_of_its_key_and_no_others() {
        let ((pair, numbers), (_, others)) = (pair(), pair());
        let signature = sign(&pair, &RSA_PKCS1_SHA256);
        assert_eq!((numbers.made(&signature), others.made(&signature)), (true, false));
        assert!(!numbers.made(&sign(&pair, &RSA_PKCS1_SHA512)) && !numbers.made(&sign(&pair, &RSA_PSS_SHA256)));
        let mut changed = signature.clone();
        changed[100] ^= 1;
        for junk in [&changed[..], &[], &[0xff; 256], &signature[1..]] {
            assert!(!numbers.made(junk));
        }
        assert!(RsaNumbers::of_der(b"no key").is_none());
    }
}
