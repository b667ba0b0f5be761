//! AES-128 in ECB mode with one shared key: key files, padding, both directions.
//! Must not know how ciphertext travels or what the plaintext says.

use std::path::Path;

use aws_lc_rs::cipher::{
    AES_128, DecryptingKey, DecryptionContext, EncryptingKey, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::wire;
use crate::provider::keys::{self, KeyFileError, KeyFiles, Secret};
use crate::provider::webhook::KeyId;

/// Bytes of an AES block, and of an AES-128 key.
const BLOCK_BYTES: usize = 16;

/// Whether bytes can be ciphertext at all.
pub fn is_whole_blocks(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len().is_multiple_of(BLOCK_BYTES)
}

/// How a plaintext is filled up to whole blocks.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// PKCS#7: 1 to 16 bytes, each of them their number.
    #[default]
    Pkcs7,
    /// 0 to 15 zero bytes. JSON never ends in one, so a plaintext of whole blocks without any padding is read as well.
    Zero,
}

/// One shared key, ready for both directions.
pub struct Cipher {
    secret: Secret,
    decrypting: Decrypting,
}

/// The two shapes that the library has: one checks and strips PKCS#7 itself, the other leaves padding alone.
enum Decrypting {
    Pkcs7(PaddedBlockDecryptingKey),
    Zero(DecryptingKey),
}

impl Cipher {
    /// The key in a file.
    ///
    /// # Errors
    /// The file is unreadable, has no prefix that tells how the key is written, or holds no 16 bytes.
    pub fn from_file(files: &dyn KeyFiles, path: &Path, padding: Padding) -> Result<Self, KeyFileError> {
        let secret = Secret::new(key_bytes(path, &keys::text(files, path)?)?);
        let decrypting = Decrypting::new(&secret.bytes, padding);
        let decrypting = decrypting.map_err(|Unspecified| keys::wrong(path, "holds no AES-128 key"))?;
        Ok(Self { secret, decrypting })
    }

    /// The key's id.
    pub fn id(&self) -> &KeyId {
        &self.secret.id
    }

    /// The plaintext without its padding; `None` when these are not whole blocks, or their padding is broken.
    pub fn decrypt(&self, ciphertext: &[u8]) -> Option<Vec<u8>> {
        let mut blocks = ciphertext.to_vec();
        let context = DecryptionContext::None;
        let length = match &self.decrypting {
            Decrypting::Pkcs7(key) => key.decrypt(&mut blocks, context).ok()?.len(),
            Decrypting::Zero(key) => length_without_zeros(key.decrypt(&mut blocks, context).ok()?),
        };
        blocks.truncate(length);
        Some(blocks)
    }

    /// The ciphertext of a plaintext.
    ///
    /// # Errors
    /// The cryptographic library refuses.
    pub fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let key = UnboundCipherKey::new(&AES_128, &self.secret.bytes)?;
        let mut blocks = plaintext.to_vec();
        match self.decrypting {
            Decrypting::Pkcs7(_) => PaddedBlockEncryptingKey::ecb_pkcs7(key)?.encrypt(&mut blocks)?,
            Decrypting::Zero(_) => {
                blocks.resize(plaintext.len().next_multiple_of(BLOCK_BYTES), 0);
                EncryptingKey::ecb(key)?.encrypt(&mut blocks)?
            }
        };
        Ok(blocks)
    }
}

impl Decrypting {
    fn new(key: &[u8], padding: Padding) -> Result<Self, Unspecified> {
        let key = UnboundCipherKey::new(&AES_128, key)?;
        Ok(match padding {
            Padding::Pkcs7 => Self::Pkcs7(PaddedBlockDecryptingKey::ecb_pkcs7(key)?),
            Padding::Zero => Self::Zero(DecryptingKey::ecb(key)?),
        })
    }
}

/// The length without at most 15 zero bytes at the end: a whole block of them is no padding.
fn length_without_zeros(plaintext: &[u8]) -> usize {
    let zeros = plaintext.iter().rev().take(BLOCK_BYTES - 1).take_while(|byte| **byte == 0).count();
    plaintext.len() - zeros
}

/// The 16 bytes of a key that is written as `ascii:`, `hex:` or `base64:` says.
fn key_bytes(path: &Path, text: &str) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let (bytes, problem) = match text.split_once(':') {
        Some(("ascii", key)) => {
            (Some(key.as_bytes().to_vec()).filter(|key| key.is_ascii()), "must have 16 ASCII characters after ascii:")
        }
        Some(("hex", key)) => (wire::from_hex(key.as_bytes()), "must have 32 hex digits after hex:"),
        Some(("base64", key)) => (STANDARD.decode(key).ok(), "must have the base64 of 16 bytes after base64:"),
        _ => {
            return Err(keys::holds(
                path,
                text.as_bytes(),
                "a key with ascii:, hex: or base64: before it, which says how it is written",
            ));
        }
    };
    let bytes = bytes.map(Zeroizing::new).filter(|bytes| bytes.len() == BLOCK_BYTES);
    bytes.ok_or_else(|| keys::wrong(path, problem))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Key files whose path is their content.
    struct Spelled;

    impl KeyFiles for Spelled {
        fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
            Ok(Zeroizing::new(path.to_string_lossy().into_owned().into_bytes()))
        }
    }

    fn cipher(key: &str, padding: Padding) -> Result<Cipher, KeyFileError> {
        Cipher::from_file(&Spelled, Path::new(key), padding)
    }

    /// What a base64 text decrypts to under `ascii:0123456789abcdef`.
    fn decrypted(ciphertext: &str, padding: Padding) -> Option<Vec<u8>> {
        cipher("ascii:0123456789abcdef", padding).unwrap().decrypt(&STANDARD.decode(ciphertext).unwrap())
    }

    // PLAINTEXT | openssl enc -aes-128-ecb -K 30313233343536373839616263646566 | base64; with -nopad where the padding is odd
    const JSON: &str = "aet2bNJMpVwT8z0pf4Xrt/GRZn8EolZSDgFP5pwJ60A=";
    const JSON_OF_16_BYTES: &str = "bjs93iX4TizJ6KQ7X3zJkzdyIuBhqSTFkc2cJ+oWPtQ=";
    const JSON_OF_16_BYTES_UNPADDED: &str = "bjs93iX4TizJ6KQ7X3zJkw==";
    const JSON_AND_14_ZEROS: &str = "aet2bNJMpVwT8z0pf4Xrt4o1TDwVJ/LJseofSB2fEhE=";
    const JSON_AND_3_3_2_3: &str = "aet2bNJMpVwT8z0pf4Xrt6S2/VUA4Lc/uwIW2nlBUiE=";
    const JSON_AND_14_OF_17: &str = "aet2bNJMpVwT8z0pf4Xrt1FVZ7SXpNQ/n0kMZ+iTofE=";
    const NOTHING: &str = "N3Ii4GGpJMWRzZwn6hY+1A==";

    #[test]
    fn decrypts_what_openssl_encrypted() {
        let expect = |ciphertext, padding, plaintext: &str| {
            assert_eq!(decrypted(ciphertext, padding).as_deref(), Some(plaintext.as_bytes()), "{ciphertext}");
        };
        expect(JSON, Padding::Pkcs7, r#"{"account_id":321}"#);
        expect(JSON_OF_16_BYTES, Padding::Pkcs7, r#"{"account_id":1}"#);
        expect(NOTHING, Padding::Pkcs7, "");
        expect(JSON_AND_14_ZEROS, Padding::Zero, r#"{"account_id":321}"#);
        expect(JSON_OF_16_BYTES_UNPADDED, Padding::Zero, r#"{"account_id":1}"#);
    }

    #[test]
    fn decrypts_the_vector_of_fips_197() {
        let block = wire::from_hex(b"69c4e0d86a7b0430d8cdb78070b4c55a").unwrap();
        let cipher = cipher("hex:000102030405060708090a0b0c0d0e0f", Padding::Zero).unwrap();
        assert_eq!(cipher.decrypt(&block), wire::from_hex(b"00112233445566778899aabbccddeeff"));
    }

    #[test]
    fn refuses_broken_padding_and_broken_blocks() {
        for ciphertext in
            [JSON_AND_14_ZEROS, JSON_AND_3_3_2_3, JSON_AND_14_OF_17, JSON_OF_16_BYTES_UNPADDED, "", "AAAA"]
        {
            assert_eq!(decrypted(ciphertext, Padding::Pkcs7), None, "{ciphertext}");
        }
        assert_eq!(decrypted("AAAA", Padding::Zero), None);
    }

    #[test]
    fn takes_no_more_than_15_zeros_away() {
        assert_eq!(length_without_zeros(&[0; 16]), 1);
        assert_eq!(length_without_zeros(&[0; 3]), 0);
        assert_eq!(length_without_zeros(b"a\0b"), 3);
    }

    #[test]
    fn encrypts_as_openssl_does() {
        for (plaintext, padding, ciphertext) in [
            (r#"{"account_id":321}"#, Padding::Pkcs7, JSON),
            (r#"{"account_id":1}"#, Padding::Pkcs7, JSON_OF_16_BYTES),
            (r#"{"account_id":321}"#, Padding::Zero, JSON_AND_14_ZEROS),
            (r#"{"account_id":1}"#, Padding::Zero, JSON_OF_16_BYTES_UNPADDED),
        ] {
            let cipher = cipher("ascii:0123456789abcdef", padding).unwrap();
            assert_eq!(STANDARD.encode(cipher.encrypt(plaintext.as_bytes()).unwrap()), ciphertext);
        }
    }

    #[test]
    fn reads_a_key_in_each_of_three_spellings() {
        // printf 0123456789abcdef | sha256sum
        for key in
            ["ascii:0123456789abcdef", "hex:30313233343536373839616263646566", "base64:MDEyMzQ1Njc4OWFiY2RlZg==\n"]
        {
            assert_eq!(cipher(key, Padding::Pkcs7).unwrap().id().as_str(), "9f9f5111f7b27a78", "{key}");
        }
        assert!(cipher("hex:2B7E151628aed2a6abf7158809cf4f3c", Padding::Pkcs7).is_ok());
    }

    #[test]
    fn refuses_a_key_that_is_not_16_bytes_or_has_no_prefix() {
        let problem = |key| cipher(key, Padding::Pkcs7).err().map(|error| error.to_string()).unwrap();
        for key in ["0123456789abcdef", "30313233343536373839616263646566", "utf8:0123456789abcdef"] {
            let problem = problem(key);
            assert!(["ascii:", "hex:", "base64:"].iter().all(|prefix| problem.contains(prefix)), "{problem}");
        }
        assert!(problem("ascii:0123456789abcde").contains("16 ASCII characters"));
        assert!(problem("ascii:0123456789abcdé").contains("16 ASCII characters"));
        assert!(problem("hex:3031323334353637383961626364656").contains("32 hex digits"));
        assert!(problem("hex:3031323334353637383961626364656g").contains("32 hex digits"));
        assert!(problem("base64:MDEyMzQ1Njc4OWFiY2RlZg").contains("base64 of 16 bytes"));
        assert!(problem("base64:MDEyMzQ1Njc4OWFiY2Rl").contains("base64 of 16 bytes"));
    }
}
