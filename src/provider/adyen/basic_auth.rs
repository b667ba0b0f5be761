//! HTTP basic authentication, which Adyen can send beside its signatures: user and password as set in the Customer Area.
//! Must not know what is signed. A password is compared here and goes nowhere else: it is no evidence, and is not logged.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::provider::keys::{self, KeyFileError, KeyFiles};
use crate::provider::{RawWebhook, Unverified};

/// A user with a password.
pub struct Credentials {
    text: Zeroizing<String>,
    digest: [u8; 32],
}

impl Credentials {
    /// Those in a file: `user:password`.
    ///
    /// # Errors
    /// The file is unreadable, or holds something else.
    pub fn from_file(files: &dyn KeyFiles, path: &Path) -> Result<Self, KeyFileError> {
        let text = keys::text(files, path)?;
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                Ok(Self { digest: Sha256::digest(text.as_bytes()).into(), text })
            }
            _ => Err(keys::wrong(path, "must have a user and a password, written as user:password")),
        }
    }

    /// The header's value.
    pub fn header(&self) -> String {
        format!("Basic {}", STANDARD.encode(self.text.as_bytes()))
    }
}

/// Checks that a webhook has one of `credentials`; where there are none, every webhook passes.
///
/// # Errors
/// The header is missing, repeated or malformed, or has other credentials.
pub fn check(credentials: &[Credentials], webhook: &RawWebhook) -> Result<(), Unverified> {
    if credentials.is_empty() {
        return Ok(());
    }
    let given = given(webhook.header(AUTHORIZATION)?).ok_or(Unverified::SignatureMalformed)?;
    // Digests, for they are of one length, and all of them: the time tells nothing.
    let digest: [u8; 32] = Sha256::digest(given.as_slice()).into();
    let is_any = credentials.iter().fold(Choice::from(0), |any, one| any | one.digest.ct_eq(&digest));
    if is_any.into() { Ok(()) } else { Err(Unverified::SignatureMismatch) }
}

fn given(header: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, base64) = header.split_once(' ')?;
    let decoded = STANDARD.decode(base64.trim_start_matches(' ')).ok()?;
    scheme.eq_ignore_ascii_case("basic").then(|| Zeroizing::new(decoded))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::provider::tests::fixtures::{Files, raw};

    const FILES: Files = Files(&[
        ("old", "adyen:first"),
        ("new", "adyen:sec:ond\n"),
        ("none", "adyen"),
        ("user", "adyen:"),
        ("password", ":x"),
    ]);

    fn check_with(files: &[&str], header: Option<&str>) -> Result<(), Unverified> {
        let credentials: Vec<Credentials> =
            files.iter().map(|file| Credentials::from_file(&FILES, Path::new(file)).unwrap()).collect();
        let mut webhook = raw("", "{}");
        if let Some(value) = header {
            webhook.headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        check(&credentials, &webhook)
    }

    #[test]
    fn refuses_a_file_without_user_or_password() {
        for file in ["none", "user", "password"] {
            let error = Credentials::from_file(&FILES, Path::new(file)).err().unwrap();
            assert!(error.to_string().contains("user:password"), "{error}");
        }
    }

    #[test]
    fn refuses_other_credentials() {
        // printf adyen:first | base64, and adyen:third, adyen:firs
        for (header, expect) in [
            (None, Unverified::HeaderMissing),
            (Some("Basic YWR5ZW46dGhpcmQ="), Unverified::SignatureMismatch),
            (Some("Basic YWR5ZW46Zmlycw=="), Unverified::SignatureMismatch),
            (Some("Bearer YWR5ZW46Zmlyc3Q="), Unverified::SignatureMalformed),
            (Some("YWR5ZW46Zmlyc3Q="), Unverified::SignatureMalformed),
            (Some("Basic adyen:first"), Unverified::SignatureMalformed),
            (Some("Basic "), Unverified::SignatureMismatch),
        ] {
            assert_eq!(check_with(&["old"], header), Err(expect), "{header:?}");
        }
    }

    #[test]
    fn a_header_that_stands_twice_is_refused() {
        let credentials = [Credentials::from_file(&FILES, Path::new("old")).unwrap()];
        let mut webhook = raw("", "{}");
        for _ in 0..2 {
            webhook.headers.append(AUTHORIZATION, credentials[0].header().parse().unwrap());
        }
        assert_eq!(check(&credentials, &webhook), Err(Unverified::HeaderMissing));
    }

    #[test]
    fn takes_any_of_several_and_everything_where_there_are_none() {
        for header in ["Basic YWR5ZW46Zmlyc3Q=", "basic  YWR5ZW46Zmlyc3Q="] {
            assert_eq!(check_with(&["new", "old"], Some(header)), Ok(()), "{header}");
        }
        assert_eq!(check_with(&["old", "new"], Some("Basic YWR5ZW46c2VjOm9uZA==")), Ok(()));
        assert_eq!(check_with(&[], None), Ok(()));
        assert_eq!(check_with(&[], Some("Bearer x")), Ok(()));
    }
}
