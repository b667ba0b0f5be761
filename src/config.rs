//! Configuration: defaults, then the file, then the environment.
//! The only place that reads files and the environment. Must not know any provider's keys.

mod address;
mod confirmation;
mod daemon;
mod environment;
mod events;
pub mod files;
mod ingress;
mod instance;
mod kafka;
mod names;
mod source;
mod spool;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

pub use confirmation::{AFTER_WINDOW, AtDeadline, Confirmation, FORMER_GROUP_ID, Rule, RuleAction, SessionDefault};
pub use daemon::{Admin, Log, LogFormat, LogLevel, Shutdown};
pub use environment::IgnoredVariable;
pub use events::{Dedup, DedupMode, Evidence, EvidenceKeep, RejectedSamples};
pub use ingress::{IngressConfig, IngressTls};
pub use kafka::properties::Properties;
pub use kafka::{ClientSide, Kafka, KafkaSide};
pub use names::{SourceName, TopicPrefix};
pub use source::{OnUnverified, SourceConfig};
pub use spool::Spool;

use crate::settings::layers::Layers;
use crate::settings::{ConfigErrors, Problem, Section};

/// What the text is called in errors when it came from no file.
const NO_FILE: &str = "configuration";

/// Every key at the top of the file.
const TOP_KEYS: [&str; 12] = [
    "bridge_instance",
    "ingress",
    "admin",
    "kafka",
    "sources",
    "dedup",
    "spool",
    "rejected",
    "evidence",
    "shutdown",
    "log",
    "confirmation",
];

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this process in events: the pod's, or the host's with a random suffix.
    pub bridge_instance: String,
    /// Where webhooks are taken in.
    pub ingress: IngressConfig,
    /// Where the daemon is watched.
    pub admin: Admin,
    /// Kafka.
    pub kafka: Kafka,
    /// Who sends webhooks.
    pub sources: BTreeMap<SourceName, SourceConfig>,
    /// How long events are remembered.
    pub dedup: Dedup,
    /// A folder on disk that takes records while Kafka does not.
    pub spool: Spool,
    /// How many webhooks that failed authentication are sampled.
    pub rejected: RejectedSamples,
    /// What events carry of their webhooks.
    pub evidence: Evidence,
    /// How the daemon is stopped.
    pub shutdown: Shutdown,
    /// How it is heard.
    pub log: Log,
    /// Decisions on operations that wait.
    pub confirmation: Confirmation,
    /// Environment variables that look as if they set a key, and set none.
    pub ignored_variables: Vec<IgnoredVariable>,
}

impl Config {
    /// Reads the file, when there is one, and lays the environment's variables over it. Relative names of files are relative to
    /// its folder; without a file, to the working directory.
    ///
    /// # Errors
    /// Everything that is wrong: the file cannot be read or is not TOML; a key is unknown, missing, or out of bounds.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let Some(path) = file else {
            let layers = Layers::new(NO_FILE, "", environment);
            return Self::read(match std::env::current_dir() {
                Ok(folder) => layers.relative_to(&folder),
                Err(_) => layers,
            });
        };
        let name = path.display().to_string();
        let refuse = |message: String| {
            let action = "give a TOML file that this process may read, with --config or PAYBRIDGE_CONFIG";
            ConfigErrors::of(vec![Problem::of_source(name.clone(), message, action)])
        };
        let bytes = files::read_bounded(path).map_err(|error| refuse(format!("this cannot be read: {error}")))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| refuse("this is not UTF-8 text".to_owned()))?;
        let absolute = std::path::absolute(path).map_err(|error| refuse(format!("this has no folder: {error}")))?;
        let folder = absolute.parent().unwrap_or(&absolute);
        Self::read(Layers::new(&name, text, environment).relative_to(folder))
    }

    /// As [`Config::load`], from text. Relative names of files stay relative to the working directory.
    ///
    /// # Errors
    /// As there.
    pub fn from_toml(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::read(Layers::new(NO_FILE, text, environment))
    }

    fn read(layers: Layers) -> Result<Self, ConfigErrors> {
        let mut reader = ConfigReader { layers, failed: BTreeSet::new() };
        let mut config = Self {
            bridge_instance: reader.bridge_instance(),
            ingress: reader.section("ingress"),
            admin: reader.section("admin"),
            kafka: reader.section("kafka"),
            sources: reader.sources(),
            dedup: reader.section("dedup"),
            spool: reader.section("spool"),
            rejected: reader.section("rejected"),
            evidence: reader.section("evidence"),
            shutdown: reader.section("shutdown"),
            log: reader.section("log"),
            confirmation: reader.confirmation(),
            ignored_variables: Vec::new(),
        };
        if let Some(folder) = &reader.layers.folder {
            config.kafka.make_absolute(folder);
            config.spool.make_absolute(folder);
        }
        let sources: Vec<&str> = config.sources.keys().map(AsRef::as_ref).collect();
        let without_levels = reader.layers.without_levels.iter();
        config.ignored_variables =
            without_levels.filter_map(|name| IgnoredVariable::of(name, sources.iter().copied())).collect();
        reader.refuse_the_rest();
        reader.check(&config);
        match reader.layers.problems {
            problems if problems.is_empty() => Ok(config),
            problems => Err(ConfigErrors::of(problems)),
        }
    }
}

/// Takes section by section out of the layers, and notes what is wrong.
struct ConfigReader {
    layers: Layers,
    /// Sections with problems: checks across keys would only add follow-up errors.
    failed: BTreeSet<&'static str>,
}

impl ConfigReader {
    fn section<T: DeserializeOwned + Default>(&mut self, name: &'static str) -> T {
        let Some(table) = self.table(name) else {
            return T::default();
        };
        let origins = Arc::clone(&self.layers.origins);
        Section::with_origins(name, table, origins).parse_all().unwrap_or_else(|problems| {
            self.fail(name, problems);
            T::default()
        })
    }

    /// Problems name a rule by its name, where it has one.
    fn confirmation(&mut self) -> Confirmation {
        let names = confirmation::names_of_rules(self.layers.table.get("confirmation"));
        let before = self.layers.problems.len();
        let confirmation = self.section("confirmation");
        self.layers.problems.iter_mut().skip(before).for_each(|problem| confirmation::name_rule(problem, &names));
        confirmation
    }

    fn sources(&mut self) -> BTreeMap<SourceName, SourceConfig> {
        let mut sources = BTreeMap::new();
        for (name, value) in self.table("sources").unwrap_or_default() {
            match SourceConfig::read(&name, value, &self.layers.origins) {
                Ok((name, source)) => {
                    sources.insert(name, source);
                }
                Err(problems) => self.fail("sources", problems),
            }
        }
        sources
    }

    fn bridge_instance(&mut self) -> String {
        match self.layers.table.remove("bridge_instance") {
            None => instance::generate(),
            Some(Value::String(_, name)) if instance::is_valid(&name) => name,
            Some(_) => {
                let message = "must be text of 1 to 253 printable ASCII characters without spaces";
                let problem = Problem::with_key("bridge_instance", message, "set it to the pod's name, or remove it");
                self.fail("bridge_instance", vec![self.with_origin(problem)]);
                String::new()
            }
        }
    }

    fn table(&mut self, name: &'static str) -> Option<Dict> {
        if let Value::Dict(_, table) = self.layers.table.remove(name)? {
            return Some(table);
        }
        let problem = Problem::with_key(name, "must be a table", format!("write it as [{name}]"));
        self.fail(name, vec![self.with_origin(problem)]);
        None
    }

    fn refuse_the_rest(&mut self) {
        for key in std::mem::take(&mut self.layers.table).into_keys() {
            let problem = self.with_origin(Problem::unknown_key(key, &TOP_KEYS));
            self.layers.problems.push(problem);
        }
    }

    /// What is wrong between keys that are right by themselves.
    fn check(&mut self, config: &Config) {
        let sound = |name| !self.failed.contains(name);
        let mut problems = Vec::new();
        if sound("ingress") {
            problems.extend(config.ingress.check());
            let check = |(name, source): (&SourceName, &SourceConfig)| source.check(name, &config.ingress);
            problems.extend(config.sources.iter().filter_map(check));
        }
        if sound("ingress") && sound("admin") && config.ingress.enabled {
            problems.extend(config.admin.check(config.ingress.listen));
        }
        if sound("ingress") && sound("spool") {
            problems.extend(config.spool.check(&config.ingress));
        }
        problems.extend(config.kafka.check());
        if sound("confirmation") {
            problems.extend(config.confirmation.check());
        }
        if sound("confirmation") && sound("sources") {
            problems.extend(config.confirmation.check_sources(&config.sources));
        }
        problems.extend(shared_paths(&config.sources));
        let problems = problems.into_iter().map(|problem| self.with_origin(problem)).collect::<Vec<_>>();
        self.layers.problems.extend(problems);
    }

    fn with_origin(&self, problem: Problem) -> Problem {
        let origin = self.layers.origins.of(&problem.key);
        problem.at_origin(origin)
    }

    fn fail(&mut self, name: &'static str, problems: Vec<Problem>) {
        if !problems.is_empty() {
            self.failed.insert(name);
            self.layers.problems.extend(problems);
        }
    }
}

/// Two sources at one path cannot be told apart.
fn shared_paths(sources: &BTreeMap<SourceName, SourceConfig>) -> Vec<Problem> {
    let mut taken: BTreeMap<String, &SourceName> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, source) in sources {
        if let Some(other) = taken.insert(source.path(name), name) {
            let message = format!("is the path of `sources.{other}` too");
            problems.push(Problem::with_key(format!("sources.{name}.path"), &message, "give each source its own path"));
        }
    }
    problems
}

#[cfg(test)]
mod tests;
