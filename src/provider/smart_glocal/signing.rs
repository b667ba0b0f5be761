//! `X-PARTNER-SIGN`, the signature that both sides put on what they send.
//! Must not know what is signed, nor how it is verified.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The header that carries the signature, in both directions.
pub const SIGNATURE_HEADER: &str = "x-partner-sign";

/// The header's value: RSASSA-PKCS1-v1_5 with SHA-256 over exactly these bytes, in standard base64 with padding.
pub fn signature(key: &RsaKeyPair, body: &[u8]) -> String {
    let mut signature = vec![0; key.public_modulus_len()];
    // Signing fails only when the system has no randomness; the empty signature then fails verification.
    if key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), body, &mut signature).is_err() {
        signature.clear();
    }
    STANDARD.encode(signature)
}
