//! UNIPaaS: webhooks signed with an HMAC over the exact body in `X-Hmac-SHA256`, fifteen kinds told apart by their path.
//! Must not know HTTP servers, Kafka, or other providers.

mod amounts;
mod authorizations;
mod body;
mod ewallets;
mod kinds;
mod mandates;
mod normalize;
mod payouts;
mod sample;
mod signature;
mod vendors;
mod words;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::keys::{self, Secret};
use super::{
    AuthenticWebhook, ConfigureError, EventType, KeyFiles, KeyId, Proof, Provider, RawWebhook, Sender, Source,
    Understood, Unverified,
};
use crate::settings::Section;
use crate::settings::list::list;
use signature::{SIGNATURE_HEADER, SigningKey};

/// The provider.
pub static PROVIDER: Unipaas = Unipaas;

/// UNIPaaS, as a provider.
pub struct Unipaas;

/// The keys of `[sources.NAME]` that are UNIPaaS's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnipaasSettings {
    /// Text files with the platform's secrets, one each; several while the secret is being changed.
    #[serde(deserialize_with = "list")]
    secret_files: Vec<PathBuf>,
    /// Names of webhooks under which a body of any shape is taken.
    #[serde(default, deserialize_with = "list")]
    shape_exempt: Vec<String>,
}

impl UnipaasSettings {
    fn exempt(&self) -> Result<Vec<&'static str>, ConfigureError> {
        let known = |name: &String| {
            kinds::named(name).map(|kind| kind.name).ok_or_else(|| ConfigureError::Value {
                key: "shape_exempt".into(),
                problem: format!("there is no webhook `{name}`: write its name as in `subscription/chargeSuccess`"),
            })
        };
        self.shape_exempt.iter().map(known).collect()
    }
}

impl Provider for Unipaas {
    fn name(&self) -> &'static str {
        "unipaas"
    }

    fn event_types(&self) -> &'static [EventType] {
        &kinds::EVENT_TYPES
    }

    fn evidence_headers(&self) -> &'static [&'static str] {
        &[SIGNATURE_HEADER]
    }

    fn configure(&self, section: &Section, files: &dyn KeyFiles) -> Result<Box<dyn Source>, ConfigureError> {
        let settings: UnipaasSettings = section.parse()?;
        if settings.secret_files.is_empty() {
            return Err(no_secret());
        }
        let keys = settings.secret_files.iter().map(|path| signing_key(files, path)).collect::<Result<_, _>>()?;
        Ok(Box::new(UnipaasSource { keys, exempt: settings.exempt()? }))
    }

    fn sender(
        &self,
        section: &Section,
        files: &dyn KeyFiles,
        signing_key_file: Option<&Path>,
    ) -> Result<Box<dyn Sender>, ConfigureError> {
        let settings: UnipaasSettings = section.parse()?;
        let first = settings.secret_files.first().map(PathBuf::as_path);
        let path = signing_key_file.or(first).ok_or_else(no_secret)?;
        Ok(Box::new(sample::UnipaasSender::new(signing_key(files, path)?)))
    }
}

fn no_secret() -> ConfigureError {
    ConfigureError::Value {
        key: "secret_files".into(),
        problem: "is empty: name at least one file with the platform's secret".to_owned(),
    }
}

fn signing_key(files: &dyn KeyFiles, path: &Path) -> Result<SigningKey, ConfigureError> {
    let text = keys::text(files, path)?;
    let secret = Secret::new(text.as_bytes().to_vec().into());
    SigningKey::new(&secret).ok_or_else(|| keys::wrong(path, "holds a secret that cannot key an HMAC").into())
}

struct UnipaasSource {
    keys: Vec<SigningKey>,
    exempt: Vec<&'static str>,
}

impl Source for UnipaasSource {
    fn authenticate(&self, webhook: &RawWebhook) -> Result<Proof, Unverified> {
        signature::authenticate(&self.keys, webhook.header(SIGNATURE_HEADER)?, &webhook.body)
    }

    fn normalize(&self, source: &str, webhook: &AuthenticWebhook) -> Understood {
        Understood::Event(normalize::normalize(source, webhook.raw(), &self.exempt))
    }

    fn takes_longer_paths(&self) -> bool {
        true
    }

    fn key_ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(|key| key.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::tests::fixtures::{FixtureKeys, raw, section};

    fn problem(toml: &str) -> String {
        PROVIDER.configure(&section(toml), &FixtureKeys).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn refuses_settings_without_a_usable_secret() {
        assert!(problem("secret_files = []").starts_with("secret_files: is empty"));
        assert!(problem("").contains("secret_files"));
        assert!(problem("secret_files = [\"none.key\"]").starts_with("none.key cannot be read"));
        assert!(
            problem("secret_files = [\"other-public.pem\"]")
                .contains("holds an RSA public key, but needs a shared secret")
        );
        assert!(problem("secret_files = [\"unipaas.key\"]\nsecret_file = \"x\"").contains("secret_file"));
        let exempt = |name: &str| problem(&format!("secret_files = [\"unipaas.key\"]\nshape_exempt = [\"{name}\"]"));
        assert!(exempt("payout").starts_with("shape_exempt: there is no webhook `payout`"));
        assert_eq!(exempt("Payout/Update"), "");
    }

    #[test]
    fn believes_no_webhook_whose_header_is_missing_or_repeated() {
        let source = PROVIDER.configure(&section("secret_files = [\"unipaas.key\"]"), &FixtureKeys).unwrap();
        let mut webhook = raw("payout/update", "{}");
        assert_eq!(source.authenticate(&webhook).unwrap_err(), Unverified::HeaderMissing);
        // printf '{}' | openssl dgst -sha256 -hmac a-platform-secret-of-no-value -binary | base64 -w0
        let value = http::HeaderValue::from_static("m1m4EzurKdJIGjHMybr6jl5/Pa4ER7sD2Mczm1Y/WLY=");
        webhook.headers.append(SIGNATURE_HEADER, value.clone());
        assert!(source.authenticate(&webhook).is_ok());
        webhook.headers.append(SIGNATURE_HEADER, value);
        assert_eq!(source.authenticate(&webhook).unwrap_err(), Unverified::HeaderMissing);
    }

    #[test]
    fn a_sender_may_be_given_another_secret() {
        let settings = section("secret_files = [\"unipaas.key\"]");
        let source = PROVIDER.configure(&settings, &FixtureKeys).unwrap();
        let believed = |signing_key| {
            let sender = PROVIDER.sender(&settings, &FixtureKeys, signing_key).unwrap();
            let signed = sender.sample(&kinds::EVENT_TYPES[0], raw("", "").received_at, 1);
            let mut webhook = raw(&signed.path_suffix, signed.body);
            for (name, value) in signed.headers {
                webhook.headers.insert(name, value.parse().unwrap());
            }
            source.authenticate(&webhook).map(|_| ())
        };
        assert_eq!(believed(None), Ok(()));
        assert_eq!(believed(Some(Path::new("undostres.key"))), Err(Unverified::SignatureMismatch));
    }
}
