//! What can be found without Kafka: the configuration's problems, key files, the certificate, and settings that work but
//! are seldom meant. Must not show a configured value.

use std::collections::{BTreeMap, BTreeSet};

use super::{seldom_meant, senders};
use crate::app::key_files::{self, KeyFile};
use crate::app::keys::{self, Apis, CertificateProblem, SourceProblem};
use crate::config::{Config, SourceName};
use crate::finding::{Code, Finding};
use crate::ingress::source::Configured;
use crate::kafka::topics;
use crate::provider::{ConfigureError, KeyFileError, KeyId};
use crate::settings::Problem;

/// One finding for each problem of the configuration.
pub(super) fn of_problems(problems: &[Problem]) -> Vec<Finding> {
    let of = |problem: &Problem| finding_of(code(problem), problem);
    problems.iter().map(of).collect()
}

/// One finding for each file of `[kafka.property_files]` that cannot be used.
pub(super) fn of_property_files(problems: &[Problem]) -> Vec<Finding> {
    problems.iter().map(|problem| finding_of(Code::KafkaPropertiesUnusable, problem)).collect()
}

fn finding_of(code: Code, problem: &Problem) -> Finding {
    let subject = if problem.key.is_empty() { &problem.origin } else { &problem.key };
    let message = match problem.origin.as_str() {
        "" => problem.message.clone(),
        origin => format!("{origin}: {}", problem.message),
    };
    Finding::new(code, subject.as_str(), message).with_action(problem.action.as_str())
}

fn code(problem: &Problem) -> Code {
    match &problem.message {
        _ if problem.key.is_empty() => Code::ConfigUnreadable,
        message if message.starts_with("unknown key ") => Code::ConfigUnknownKey,
        message if message.ends_with(" is missing") => Code::ConfigMissingKey,
        _ => Code::ConfigInvalid,
    }
}

/// What a configuration that loads still says, and the files that it names.
pub(super) fn of_config(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match keys::load(config) {
        Ok(loaded) => {
            findings.extend(of_apis(&loaded.apis));
            findings.extend(of_shared_keys(config, &loaded.sources));
            findings.extend(of_short_secrets(&loaded.sources));
            findings.extend(of_key_files(config, &loaded.apis));
            findings.extend(senders::of_sources(config, &loaded.sources));
        }
        Err(problems) => {
            let of = |problem: &SourceProblem| of_source(&format!("sources.{}", problem.name), &problem.source);
            findings.extend(problems.iter().flat_map(of));
        }
    }
    if let Err(problem) = keys::certificate(config.ingress.tls.as_ref()) {
        findings.push(of_certificate(&problem));
    }
    findings.extend(topics::unequal_counts(config));
    findings.extend(seldom_meant::of_config(config));
    findings
}

/// Which keys were read.
fn of_key_files(config: &Config, apis: &Apis) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, settings) in &config.sources {
        for KeyFile { path, key_ids } in key_files::of_source(name, settings) {
            let noun = if key_ids.len() == 1 { "key id" } else { "key ids" };
            let message = format!("{}: {noun} {}", path.display(), key_ids.join(", "));
            findings.push(Finding::new(Code::KeyRead, format!("sources.{name}"), message));
        }
        if let Some(id) = apis.get(name.as_ref()).and_then(|api| api.load().key_id()) {
            let message = format!("key id {}: the provider must know the public half of this key", id.as_str());
            findings.push(Finding::new(Code::KeyRead, format!("sources.{name}.api.private_key_file"), message));
        }
    }
    findings
}

fn of_apis(apis: &Apis) -> Vec<Finding> {
    let plain = apis.iter().filter(|(_, api)| api.load().is_plain_http_off_loopback());
    let of = |source: &str| {
        let message = "calls are not encrypted: everybody between paybridge and the provider can read and change them";
        Finding::new(Code::ApiUnencrypted, format!("sources.{source}.api.base_url"), message)
    };
    plain.map(|(source, _)| of(source)).collect()
}

/// One finding for each source whose webhooks another source's key verifies too, unless strangers are kept out otherwise: whoever
/// has a webhook, and every event carries it, could send it to the other one.
fn of_shared_keys(config: &Config, sources: &BTreeMap<SourceName, Configured>) -> Vec<Finding> {
    let mut holders: BTreeMap<String, BTreeSet<&SourceName>> = BTreeMap::new();
    for (name, source) in sources {
        for key in source.source.key_ids() {
            holders.entry(key.as_str().to_owned()).or_default().insert(name);
        }
    }
    let mut shared: BTreeMap<&SourceName, BTreeSet<&SourceName>> = BTreeMap::new();
    for names in holders.values() {
        for name in names {
            shared.entry(name).or_default().extend(names.iter().filter(|other| *other != name));
        }
    }
    let is_open =
        |name: &SourceName| config.sources.get(name).is_some_and(|settings| !settings.keeps_strangers_out(name));
    let told = shared.into_iter().filter(|(name, others)| !others.is_empty() && is_open(name));
    told.map(|(name, others)| {
        let others: Vec<String> = others.into_iter().map(|other| format!("sources.{other}")).collect();
        let message = format!(
            "has the same key as {}: whoever has a webhook of one source can send it to another",
            others.join(", ")
        );
        Finding::new(Code::KeyShared, format!("sources.{name}"), message)
    })
    .collect()
}

/// One finding for each secret that somebody could find by trying.
fn of_short_secrets(sources: &BTreeMap<SourceName, Configured>) -> Vec<Finding> {
    let of_source = |(name, source): (&SourceName, &Configured)| {
        let short = source.source.key_ids().into_iter().filter(KeyId::is_of_short_secret);
        let tell = |key: KeyId| {
            let message = format!("the secret with key id {} has fewer than 16 bytes", key.label(name.as_ref()));
            Finding::new(Code::SecretShort, format!("sources.{name}"), message)
        };
        short.map(tell).collect::<Vec<_>>()
    };
    sources.iter().flat_map(of_source).collect()
}

fn of_source(source: &str, error: &ConfigureError) -> Vec<Finding> {
    match error {
        ConfigureError::Section(error) => of_problems(error.problems()),
        ConfigureError::KeyFile(KeyFileError::Unreadable { path, source: why }) => {
            let message = format!("{} cannot be read: {why}", path.display());
            vec![Finding::new(Code::KeyFileUnreadable, source, message)]
        }
        ConfigureError::KeyFile(KeyFileError::WrongContent { path, problem }) => {
            vec![Finding::new(Code::KeyFileUnusable, source, format!("{} {problem}", path.display()))]
        }
        ConfigureError::Value { key, problem } => {
            vec![Finding::new(Code::ConfigInvalid, format!("{source}.{key}"), problem.as_str())]
        }
    }
}

fn of_certificate(problem: &CertificateProblem) -> Finding {
    match problem {
        CertificateProblem::Unreadable { path, source } => {
            let message = format!("{} cannot be read: {source}", path.display());
            Finding::new(Code::CertificateUnreadable, "ingress.tls", message)
        }
        CertificateProblem::Unusable(error) => {
            Finding::new(Code::CertificateUnusable, "ingress.tls", error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Without the keys that were read.
    fn codes(findings: &[Finding]) -> Vec<(Code, &str)> {
        let problems = findings.iter().filter(|finding| finding.code != Code::KeyRead);
        problems.map(|finding| (finding.code, finding.subject.as_str())).collect()
    }

    #[test]
    fn names_the_key_of_each_file_as_metrics_do() {
        let keys = crate::provider::tests::fixtures::folder().join("keys");
        let toml = format!(
            "[sources.sg]\nprovider = 'smart-glocal'\npublic_key_files = ['{0}/smart-glocal-public.pem', '{0}/other-public.pem']\n\
             [sources.sg.api]\nbase_url = 'https://example.com'\nversion = 1\nproject = 'p'\n\
             private_key_file = '{0}/smart-glocal-private.pem'\n\
             [sources.unipaas]\nprovider = 'unipaas'\nsecret_files = ['{0}/unipaas.key']",
            keys.display(),
        );
        let findings = of_config(&Config::from_toml(&toml, []).unwrap());
        let read: Vec<(&str, &str)> = findings
            .iter()
            .filter(|finding| finding.code == Code::KeyRead)
            .map(|finding| (finding.subject.as_str(), finding.message.as_str()))
            .collect();
        let [first, second, api, secret] = read.as_slice() else { panic!("{read:?}") };
        let id = |message: &str| message.rsplit("key id ").next().unwrap()[..8].to_owned();
        assert_eq!((first.0, api.0, secret.0), ("sources.sg", "sources.sg.api.private_key_file", "sources.unipaas"));
        assert!(first.1.contains("/smart-glocal-public.pem: key id ") && second.1.contains("/other-public.pem: "));
        assert_eq!(id(first.1), id(api.1), "one key, its public and its private half");
        assert_ne!(id(first.1), id(second.1));
        let text = fs::read_to_string(keys.join("unipaas.key")).unwrap();
        assert!(!secret.1.contains(text.trim()) && secret.1.ends_with(&id(secret.1)), "{secret:?}");
    }

    #[test]
    fn names_a_certificate_that_cannot_be_read() {
        let toml = "[ingress.tls]\ncert_file = '/no'\nkey_file = '/no'";
        let expected = [(Code::CertificateUnreadable, "ingress.tls"), (Code::NoSources, "sources")];
        assert_eq!(codes(&of_config(&Config::from_toml(toml, []).unwrap())), expected);
    }

    #[test]
    fn tells_each_problem_of_the_configuration_by_its_kind() {
        for (toml, expected) in [
            ("[ingres]", (Code::ConfigUnknownKey, "ingres")),
            ("[ingress.tls]\ncert_file = '/c'", (Code::ConfigMissingKey, "ingress.tls.key_file")),
            ("[dedup]\nwindow_s = 0", (Code::ConfigInvalid, "dedup.window_s")),
            ("x = ", (Code::ConfigUnreadable, "configuration:1")),
        ] {
            let errors = Config::from_toml(toml, []).unwrap_err();
            assert_eq!(codes(&of_problems(errors.problems())), [expected], "{toml}");
        }
    }

    #[test]
    fn tells_what_is_wrong_with_each_key_file() {
        let directory = tempfile::tempdir().unwrap();
        let (private, public) = crate::provider::keys::generate_pem_pair().unwrap();
        let path = directory.path().join("key.pem");
        let key = path.display();
        for (content, expected) in [
            (Some(public.as_str()), None),
            (Some(private.as_str()), Some(Code::KeyFileUnusable)),
            (None, Some(Code::KeyFileUnreadable)),
        ] {
            let _removed = fs::remove_file(&path);
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let toml = format!("[sources.sg]\nprovider = 'smart-glocal'\npublic_key_files = ['{key}']");
            let findings = of_config(&Config::from_toml(&toml, []).unwrap());
            assert_eq!(codes(&findings).first().map(|(code, _)| *code), expected);
        }
    }

    #[test]
    fn tells_where_calls_can_be_read_on_their_way() {
        let keys = crate::provider::tests::fixtures::folder().join("keys");
        for (url, expected) in [
            ("http://example.com", vec![(Code::ApiUnencrypted, "sources.sg.api.base_url")]),
            ("http://127.0.0.1:8080", vec![]),
            ("https://example.com", vec![]),
        ] {
            let toml = format!(
                "[sources.sg]\nprovider = 'smart-glocal'\npublic_key_files = ['{0}/smart-glocal-public.pem']\n\
                 [sources.sg.api]\nbase_url = '{url}'\nversion = 1\nproject = 'p'\n\
                 private_key_file = '{0}/smart-glocal-private.pem'",
                keys.display(),
            );
            assert_eq!(codes(&of_config(&Config::from_toml(&toml, []).unwrap())), expected, "{url}");
        }
    }

    #[test]
    fn tells_of_sources_that_share_a_key_and_have_no_other_lock() {
        let keys = crate::provider::tests::fixtures::folder().join("keys");
        let directory = tempfile::tempdir().unwrap();
        // The same key in another file, among others.
        let read = |name: &str| fs::read_to_string(keys.join(name)).unwrap();
        let both = directory.path().join("both.pem");
        fs::write(&both, read("other-public.pem") + &read("smart-glocal-public.pem")).unwrap();
        let source = |name: &str, files: &str, more: &str| {
            format!("[sources.{name}]\nprovider = 'smart-glocal'\npublic_key_files = [{files}]\n{more}\n")
        };
        let ours = format!("'{}/smart-glocal-public.pem'", keys.display());
        let other = format!("'{}/other-public.pem'", keys.display());
        let both = format!("'{}'", both.display());
        let secret = "path = '/webhooks/s3cret/x'";
        let addresses = "allow_from = ['192.0.2.0/24']";
        for (one, two, expected) in [
            (source("a", &ours, ""), source("b", &other, ""), vec![]),
            (source("a", &ours, ""), source("b", &both, ""), vec!["sources.a", "sources.b"]),
            (source("a", &ours, secret), source("b", &both, ""), vec!["sources.b"]),
            (source("a", &ours, ""), source("b", &both, addresses), vec!["sources.a"]),
            (source("a", &ours, "allow_from = ['0.0.0.0/0']"), source("b", &both, secret), vec!["sources.a"]),
            (source("a", &ours, secret), source("b", &both, addresses), vec![]),
        ] {
            let findings = of_config(&Config::from_toml(&format!("{one}{two}"), []).unwrap());
            let expected: Vec<_> = expected.into_iter().map(|subject| (Code::KeyShared, subject)).collect();
            assert_eq!(codes(&findings), expected, "{one}{two}");
        }
        let three = ["a", "b", "c"].map(|name| source(name, &ours, "")).concat();
        let findings = of_config(&Config::from_toml(&three, []).unwrap());
        assert!(findings[0].message.starts_with("has the same key as sources.b, sources.c: "), "{findings:?}");
    }

    #[test]
    fn tells_of_secrets_that_could_be_found_by_trying() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for (provider, content, expected) in [
            ("unipaas", "a secret of 15 b", None),
            ("unipaas", "a secret of 15b\n", Some("sources.a")),
            ("github", "short", Some("sources.a")),
        ] {
            fs::write(&path, content).unwrap();
            let toml = format!("[sources.a]\nprovider = '{provider}'\nsecret_files = ['{}']", path.display());
            let findings = of_config(&Config::from_toml(&toml, []).unwrap());
            let short: Vec<&Finding> = findings.iter().filter(|finding| finding.code == Code::SecretShort).collect();
            let subjects: Vec<&str> = short.iter().map(|finding| finding.subject.as_str()).collect();
            assert_eq!(subjects, expected.into_iter().collect::<Vec<_>>(), "{provider} {content}");
            assert!(short.iter().all(|finding| !finding.message.contains(content.trim())), "{short:?}");
        }
    }

    #[test]
    fn tells_what_a_provider_does_not_take() {
        for (toml, expected) in
            [("public_key_filez = []", Code::ConfigUnknownKey), ("public_key_files = []", Code::ConfigInvalid)]
        {
            let toml = format!("[sources.sg]\nprovider = 'smart-glocal'\n{toml}");
            assert_eq!(of_config(&Config::from_toml(&toml, []).unwrap())[0].code, expected);
        }
    }
}
