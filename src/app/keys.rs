//! Makes sources of their settings and key files, and again when a key file changes.
//! Must not know what a key is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::config::files::FileReader;
use crate::config::{Config, IngressTls, SourceConfig, SourceName};
use crate::ingress::source::{Configured, RunningSource, Sources};
use crate::metrics::{KeyReloads, Metrics};
use crate::provider::{self, ConfigureError, KeyFiles, Source};
use crate::server::tls::{self, Acceptor, TlsError};

/// A changed key file is in force within 10 s, the time to read and parse it included.
const LOOK_EVERY: Duration = Duration::from_secs(4);

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
    /// Watches each source's files.
    pub files: BTreeMap<SourceName, FileReader>,
}

/// Makes every source of the configuration.
///
/// # Errors
/// Every source that cannot be made, and why.
pub fn load(config: &Config) -> Result<Loaded, Vec<SourceProblem>> {
    let mut loaded = Loaded { sources: BTreeMap::new(), files: BTreeMap::new() };
    let mut problems = Vec::new();
    for (name, settings) in &config.sources {
        // The configuration has checked that the provider exists.
        let Some(provider) = provider::find(&settings.provider) else { continue };
        let files = FileReader::new();
        match provider.configure(&settings.section, &files) {
            Ok(source) => {
                loaded.sources.insert(name.clone(), Configured { provider, source });
                loaded.files.insert(name.clone(), files);
            }
            Err(source) => problems.push(SourceProblem { name: name.clone(), source }),
        }
    }
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// Takes changed key files into use while the daemon runs; an unusable new one keeps the old. Never ends by itself.
pub struct Watch {
    sources: Vec<Watched>,
    certificate: Option<WatchedCertificate>,
    metrics: Arc<Metrics>,
}

struct Watched {
    running: Arc<RunningSource>,
    settings: SourceConfig,
    files: FileReader,
    reloads: KeyReloads,
}

struct WatchedCertificate {
    acceptor: Acceptor,
    settings: IngressTls,
    files: FileReader,
    reloads: KeyReloads,
}

impl Watch {
    /// Watches the files of every source.
    pub fn new(
        config: &Config,
        sources: &Sources,
        files: BTreeMap<SourceName, FileReader>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let watched = files.into_iter().filter_map(|(name, files)| {
            let running = sources.iter().find(|source| source.name == name.as_ref())?;
            let settings = config.sources.get(&name)?.clone();
            Some(Watched { running: Arc::clone(running), settings, files, reloads: metrics.key_reloads(name.as_ref()) })
        });
        Self { sources: watched.collect(), certificate: None, metrics }
    }

    /// Watches the certificate too.
    #[must_use]
    pub fn with_certificate(mut self, certificate: Option<Certificate>) -> Self {
        self.certificate = certificate.map(|Certificate { acceptor, settings, files }| WatchedCertificate {
            reloads: self.metrics.key_reloads("_tls"),
            acceptor,
            settings,
            files,
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

impl Watched {
    fn reload(&mut self, metrics: &Metrics) {
        let name = &self.running.name;
        let files = FileReader::new();
        match configure(&self.settings, &files) {
            Some(Ok(source)) => {
                self.running.replace(source, metrics);
                self.reloads.used.increment(1);
                tracing::info!(source = name, "changed key files are in use");
            }
            Some(Err(error)) => {
                self.reloads.unusable.increment(1);
                tracing::error!(source = name, %error, "a changed key file is unusable; the old keys stay in use");
            }
            None => {}
        }
        // What was read now is what the next look compares with, usable or not.
        self.files = files;
    }
}

fn configure(settings: &SourceConfig, files: &FileReader) -> Option<Result<Box<dyn Source>, ConfigureError>> {
    Some(provider::find(&settings.provider)?.configure(&settings.section, files))
}

/// The ingress's certificate, and the files that it was made of.
pub struct Certificate {
    /// Shakes hands with it.
    pub acceptor: Acceptor,
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
    Ok(Some(Certificate { acceptor, settings: settings.clone(), files }))
}

type Text = zeroize::Zeroizing<Vec<u8>>;

struct Pem {
    certificate: Text,
    key: Text,
    client_ca: Option<Text>,
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
    fn reload(&mut self) {
        let files = FileReader::new();
        let renewed = Pem::read(&self.settings, &files).and_then(|pem| {
            let client_ca = pem.client_ca.as_deref().map(Vec::as_slice);
            self.acceptor.renew(&pem.certificate, &pem.key, client_ca).map_err(CertificateProblem::Unusable)
        });
        match renewed {
            Ok(()) => {
                self.reloads.used.increment(1);
                tracing::info!("the renewed certificate is in use");
            }
            Err(error) => {
                self.reloads.unusable.increment(1);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the renewed certificate is unusable; the old one stays in use");
            }
        }
        self.files = files;
    }
}
