//! Makes sources of their settings and key files, and again when a key file changes.
//! Must not know what a key is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::Gauge;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::files::FileReader;
use crate::config::{Config, IngressTls, SourceConfig, SourceName};
use crate::confirmation::codec::evidence::Verifiers;
use crate::error_chain;
use crate::ingress::source::{Configured, RunningSource, Sources};
use crate::metrics::{KeyReloads, Metrics};
use crate::provider::{self, ApiAddress, ConfigureError, KeyFiles, Provider, SessionApi, Source};
use crate::server::tls::{self, Acceptor, TlsError};

/// A changed key file is in force within 10 s, the time to read and parse it included.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(4);

/// What somebody must know who took a key file away.
const REVOKE: &str =
    "to revoke a key, put another key into its file, or take the file out of the configuration and restart";

/// A source that cannot be made, by its name.
#[derive(Debug, thiserror::Error)]
#[error("sources.{name}")]
pub struct SourceProblem {
    /// The source's name.
    pub name: SourceName,
    /// Why.
    pub source: ConfigureError,
}

/// What the sources of a configuration are made of, and the files that were read for each.
pub struct Loaded {
    /// The sources.
    pub sources: BTreeMap<SourceName, Configured>,
    /// How sessions are confirmed or cancelled, for the sources that say so, by their names. The watch exchanges what is in
    /// here when a key file changes.
    pub apis: Apis,
    /// Verifies events again, for the sources whose sessions are confirmed or cancelled. The watch exchanges what is in here too.
    pub verifiers: Verifiers,
    /// Watches each source's files.
    pub files: BTreeMap<SourceName, FileReader>,
}

/// The session API of each source that has one, by the source's name, with the key of the moment.
pub type Apis = BTreeMap<Arc<str>, Arc<ArcSwap<SessionApi>>>;

/// What is made of one source's settings and key files.
struct MadeSource {
    source: Arc<Box<dyn Source>>,
    api: Option<SessionApi>,
}

/// Makes every source of the configuration.
///
/// # Errors
/// Every source that cannot be made, and why.
pub fn load(config: &Config) -> Result<Loaded, Vec<SourceProblem>> {
    let mut loaded =
        Loaded { sources: BTreeMap::new(), apis: Apis::new(), verifiers: Verifiers::new(), files: BTreeMap::new() };
    let mut problems = Vec::new();
    for (name, settings) in &config.sources {
        // The configuration has checked that the provider exists.
        let Some(provider) = provider::find(&settings.provider) else { continue };
        let files = FileReader::new();
        match make(provider, settings, &files) {
            Ok(MadeSource { source, api }) => {
                if let Some(api) = api {
                    loaded.apis.insert(name.as_ref().into(), Arc::new(ArcSwap::from_pointee(api)));
                }
                if provider.api_address(&settings.section) != ApiAddress::None {
                    let verifier = Arc::new(ArcSwap::new(Arc::clone(&source)));
                    loaded.verifiers.insert(name.as_ref().into(), verifier);
                }
                loaded.sources.insert(name.clone(), Configured { provider, source });
                loaded.files.insert(name.clone(), files);
            }
            Err(source) => problems.push(SourceProblem { name: name.clone(), source }),
        }
    }
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

fn make(provider: &dyn Provider, settings: &SourceConfig, files: &FileReader) -> Result<MadeSource, ConfigureError> {
    let source = Arc::new(provider.configure(&settings.section, files)?);
    Ok(MadeSource { source, api: provider.session_api(&settings.section, files)? })
}

/// Takes changed key files into use while the daemon runs; an unusable new one keeps the old. Never ends by itself.
pub struct KeyWatch {
    sources: Vec<WatchedSource>,
    certificate: Option<WatchedCertificate>,
    metrics: Arc<Metrics>,
}

struct WatchedSource {
    running: Arc<RunningSource>,
    api: Option<Arc<ArcSwap<SessionApi>>>,
    verifier: Option<Arc<ArcSwap<Box<dyn Source>>>>,
    settings: SourceConfig,
    files: FileReader,
    reloads: KeyReloads,
}

struct WatchedCertificate {
    acceptor: Acceptor,
    settings: IngressTls,
    files: FileReader,
    reloads: KeyReloads,
    expiry: Gauge,
}

impl KeyWatch {
    /// Watches the files of every source, those of its session API too.
    pub fn new(
        config: &Config,
        sources: &Sources,
        apis: &Apis,
        verifiers: &Verifiers,
        files: BTreeMap<SourceName, FileReader>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let watched = files.into_iter().filter_map(|(name, files)| {
            let running = sources.iter().find(|source| source.name == name.as_ref())?;
            let settings = config.sources.get(&name)?.clone();
            let api = apis.get(name.as_ref()).map(Arc::clone);
            let verifier = verifiers.get(name.as_ref()).map(Arc::clone);
            let reloads = metrics.key_reloads(name.as_ref());
            Some(WatchedSource { running: Arc::clone(running), api, verifier, settings, files, reloads })
        });
        Self { sources: watched.collect(), certificate: None, metrics }
    }

    /// Watches the certificate too.
    #[must_use]
    pub fn with_certificate(mut self, certificate: Option<Certificate>) -> Self {
        self.certificate = certificate.map(|Certificate { acceptor, expiry, settings, files }| {
            let watched = WatchedCertificate {
                reloads: self.metrics.key_reloads("_tls"),
                expiry: self.metrics.certificate_expiry.clone(),
                acceptor,
                settings,
                files,
            };
            watched.show_expiry(expiry);
            watched
        });
        self
    }

    /// Looks at the files again and again.
    pub async fn run(self) {
        let mut watch = self;
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Reading files blocks.
            let looked = tokio::task::spawn_blocking(move || {
                watch.look();
                watch
            });
            match looked.await {
                Ok(back) => watch = back,
                Err(error) => return tracing::error!(%error, "the key files can no longer be watched"),
            }
        }
    }

    fn look(&mut self) {
        for watched in self.sources.iter_mut().filter(|watched| watched.files.changed()) {
            watched.reload(&self.metrics);
        }
        if let Some(certificate) = self.certificate.as_mut().filter(|certificate| certificate.files.changed()) {
            certificate.reload();
        }
    }
}

impl WatchedSource {
    fn reload(&mut self, metrics: &Metrics) {
        let name = &self.running.name;
        let files = FileReader::new();
        // The configuration has checked that the provider exists.
        let Some(provider) = provider::find(&self.settings.provider) else { return };
        match make(provider, &self.settings, &files) {
            Ok(MadeSource { source, api }) => {
                if let Some(verifier) = &self.verifier {
                    verifier.store(Arc::clone(&source));
                }
                self.running.replace(source, metrics);
                if let (Some(old), Some(new)) = (&self.api, api) {
                    old.store(Arc::new(new));
                }
                self.reloads.used.increment(1);
                let key_ids = &*self.running.key_labels();
                tracing::info!(source = name, key_ids, "changed key files are in use");
            }
            Err(error) => {
                self.reloads.unusable.increment(1);
                let error = error_chain::joined(&error);
                tracing::error!(
                    source = name,
                    error,
                    action = REVOKE,
                    "a changed or removed key file is unusable; the old keys stay in use"
                );
            }
        }
        // What was read now is what the next look compares with, usable or not.
        self.files = files;
    }
}

/// The ingress's certificate, and the files that it was made of.
pub struct Certificate {
    /// Shakes hands with it.
    pub acceptor: Acceptor,
    expiry: Option<i64>,
    settings: IngressTls,
    files: FileReader,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateProblem {
    /// A file cannot be read.
    #[error("ingress.tls: {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else than what belongs there.
    #[error("ingress.tls cannot be used")]
    Unusable(#[source] TlsError),
}

/// Reads the ingress's certificate, where there is one.
///
/// # Errors
/// Which file is unreadable or unusable.
pub fn certificate(settings: Option<&IngressTls>) -> Result<Option<Certificate>, CertificateProblem> {
    let Some(settings) = settings else { return Ok(None) };
    let files = FileReader::new();
    let pem = Pem::read(settings, &files)?;
    let acceptor = tls::acceptor(&pem.certificate, &pem.key, pem.client_ca.as_deref().map(Vec::as_slice))
        .map_err(CertificateProblem::Unusable)?;
    let expiry = tls::first_expiry(&pem.certificate);
    Ok(Some(Certificate { acceptor, expiry, settings: settings.clone(), files }))
}

type SecretText = zeroize::Zeroizing<Vec<u8>>;

struct Pem {
    certificate: SecretText,
    key: SecretText,
    client_ca: Option<SecretText>,
}

impl Pem {
    fn read(settings: &IngressTls, files: &FileReader) -> Result<Self, CertificateProblem> {
        let read = |path: &std::path::PathBuf| {
            files.read(path).map_err(|source| CertificateProblem::Unreadable { path: path.clone(), source })
        };
        Ok(Self {
            certificate: read(&settings.cert_file)?,
            key: read(&settings.key_file)?,
            client_ca: settings.client_ca_file.as_ref().map(read).transpose()?,
        })
    }
}

impl WatchedCertificate {
    fn show_expiry(&self, expiry: Option<i64>) {
        let seconds = expiry.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
        self.expiry.set(Duration::from_secs(seconds).as_secs_f64());
    }

    fn reload(&mut self) {
        let files = FileReader::new();
        let renewed = Pem::read(&self.settings, &files).and_then(|pem| {
            let client_ca = pem.client_ca.as_deref().map(Vec::as_slice);
            self.acceptor.renew(&pem.certificate, &pem.key, client_ca).map_err(CertificateProblem::Unusable)?;
            Ok(tls::first_expiry(&pem.certificate))
        });
        match renewed {
            Ok(expiry) => {
                self.reloads.used.increment(1);
                self.show_expiry(expiry);
                tracing::info!("the renewed certificate is in use");
            }
            Err(error) => {
                self.reloads.unusable.increment(1);
                let error = error_chain::joined(&error);
                tracing::error!(error, "the renewed certificate is unusable; the old one stays in use");
            }
        }
        self.files = files;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::provider::keys::{PublicKey, generate_pem_pair, public_keys};
    use crate::provider::smart_glocal::api::{Operation, SIGNATURE_HEADER};

    /// Whether the source's calls are signed with the private half of a key.
    fn signs_with(apis: &Apis, key: &PublicKey) -> bool {
        use base64::Engine;
        let request = apis["sg"].load().request(Operation::Confirm, "ps_1", None);
        let signature = base64::engine::general_purpose::STANDARD.decode(&request.headers()[SIGNATURE_HEADER]).unwrap();
        key.verifies(request.body(), &signature)
    }

    fn key_pair(folder: &Path, name: &str) -> (String, PublicKey) {
        let (private, public) = generate_pem_pair().unwrap();
        let path = folder.join(name);
        fs::write(&path, public).unwrap();
        let mut keys = public_keys(&FileReader::new(), &[path]).unwrap();
        (private.to_string(), keys.remove(0))
    }

    #[test]
    fn a_changed_private_key_signs_the_next_call_and_an_unusable_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (old_private, old) = key_pair(folder.path(), "old.pem");
        let (new_private, new) = key_pair(folder.path(), "new.pem");
        let private: PathBuf = folder.path().join("private.pem");
        fs::write(&private, &old_private).unwrap();
        let toml = format!(
            "[sources.sg]\nprovider = 'smart-glocal'\npublic_key_files = ['{}']\n[sources.sg.api]\n\
             base_url = 'https://example.com'\nversion = 2\nproject = 'shop'\nprivate_key_file = '{}'",
            folder.path().join("old.pem").display(),
            private.display(),
        );
        let config = Config::from_toml(&toml, []).unwrap();
        let metrics = Metrics::new().unwrap();
        let loaded = load(&config).ok().unwrap();
        let sources = Sources::new(&config, loaded.sources, &metrics);
        let (apis, verifiers) = (&loaded.apis, &loaded.verifiers);
        let mut watch = KeyWatch::new(&config, &sources, apis, verifiers, loaded.files, Arc::clone(&metrics));
        let counted = |result: &str, count: u32| {
            let line = format!("paybridge_key_reloads_total{{source=\"sg\",result=\"{result}\"}} {count}");
            assert!(metrics.render().lines().any(|shown| shown == line), "no {line} in {}", metrics.render());
        };

        watch.look();
        assert!(signs_with(&loaded.apis, &old));
        // A public key where a private one belongs, half a file, no file.
        let public_text = fs::read_to_string(folder.path().join("new.pem")).unwrap();
        for (count, content) in [(1, Some(public_text.as_str())), (2, Some(&new_private[..500])), (3, None)] {
            match content {
                Some(content) => fs::write(&private, content).unwrap(),
                None => fs::remove_file(&private).unwrap(),
            }
            watch.look();
            watch.look();
            assert!(signs_with(&loaded.apis, &old));
            counted("unusable", count);
        }
        fs::write(&private, &new_private).unwrap();
        watch.look();
        assert!(signs_with(&loaded.apis, &new) && !signs_with(&loaded.apis, &old));
        counted("used", 1);
        counted("unusable", 3);
    }
}
