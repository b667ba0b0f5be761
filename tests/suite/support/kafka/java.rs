//! The Java machine of Kafka's programs: its jars, which are fetched once, and an archive of the classes that a node loads, which is
//! recorded once and halves what a start costs. Must not know what a node is used for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, slice};

use super::announce;
use crate::support::cache;

/// The program that is a node.
pub const NODE: &str = "kafka.Kafka";

/// What the files are called in their folders.
const POLICIES: &str = "policies.jar";
const CLASSES: &str = "classes.jsa";

/// What a node's Java machine is made for.
#[derive(Clone, Copy)]
pub enum Life {
    /// A test's: to be there soon.
    Short,
    /// A measurement's: to become fast.
    Long,
}

/// A Java machine, the jars of Kafka, and the classes that a broker may be given as policies.
#[derive(Clone)]
pub struct Java {
    program: PathBuf,
    jars: PathBuf,
    policies: PathBuf,
    classes: Classes,
}

/// An archive of classes, ready to be mapped into memory. One that does not fit the Java machine or the jars is left unused.
#[derive(Clone)]
enum Classes {
    Recorded(PathBuf),
    Used(PathBuf),
}

impl Java {
    /// Fetches and builds what is not there yet; `record` runs a node from its start to its orderly end.
    pub fn with_kafka(record: impl FnOnce(&Self) -> Result<(), String>) -> Result<Self, String> {
        let pom = Path::new(cache::CHECKOUT).join("tests/kafka/pom.xml");
        let text = fs::read_to_string(&pom).map_err(|error| format!("reading {}: {error}", pom.display()))?;
        let version = text
            .split_once("<kafka.version>")
            .and_then(|(_, rest)| rest.split_once("</kafka.version>"))
            .map(|(version, _)| version)
            .ok_or_else(|| format!("{} has no kafka.version", pom.display()))?;
        let jars = cache::kept(&format!("kafka-{version}"), slice::from_ref(&pom), |folder| {
            announce(&format!("fetching Kafka {version} into {}", folder.display()));
            let mut maven = Command::new("mvn");
            maven.args(["-B", "-q", "-f"]).arg(&pom);
            maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
            cache::run(maven.arg(format!("-DoutputDirectory={}", folder.display()))).map(drop)
        })?;
        let policy = Path::new(cache::CHECKOUT).join("tests/kafka/RefuseSettings.java");
        let inputs = [pom, policy.clone()];
        let policies = cache::kept(&format!("kafka-policies-{version}"), &inputs, |folder| {
            let mut compiler = Command::new(program("javac"));
            cache::run(compiler.arg("-cp").arg(jars.join("*")).arg("-d").arg(folder).arg(&policy))?;
            // An archive of classes takes jars only.
            let mut packer = Command::new(program("jar"));
            cache::run(packer.args(["--create", "--file"]).arg(folder.join(POLICIES)).arg("-C").arg(folder).arg("."))
                .map(drop)
        })?
        .join(POLICIES);
        let java_version = cache::run(Command::new(program("java")).arg("--version"))?;
        let java_version = java_version.split_whitespace().nth(1).unwrap_or("unknown");
        let name = format!("kafka-classes-{version}-java-{java_version}");
        // How it is recorded stands here.
        let inputs = [&inputs[..], &[Path::new(cache::CHECKOUT).join("tests/suite/support/kafka/java.rs")]].concat();
        let folder = cache::kept(&name, &inputs, |folder| {
            let archive = folder.join(CLASSES);
            let classes = Classes::Recorded(archive.clone());
            record(&Self { program: program("java"), jars: jars.clone(), policies: policies.clone(), classes })?;
            archive.exists().then_some(()).ok_or_else(|| format!("Java has not written {}", archive.display()))
        })?;
        Ok(Self { program: program("java"), jars, policies, classes: Classes::Used(folder.join(CLASSES)) })
    }

    /// One of Kafka's programs, for a short life.
    pub fn command(&self, class: &str) -> Command {
        self.living(Life::Short, class)
    }

    /// One of Kafka's programs. In a short life the first compiler is enough; in each, one collector thread. The heap is for the
    /// node that all tests share: at the end of a run it has more than 12,000 partitions, of 40 KB each.
    pub fn living(&self, life: Life, class: &str) -> Command {
        let log_settings = Path::new(cache::CHECKOUT).join("tests/kafka/log4j2.properties");
        let tuning: &[&str] = match life {
            Life::Short => &["-XX:TieredStopAtLevel=1"],
            Life::Long => &[],
        };
        let classes = match &self.classes {
            // A tool beside the node would write the same file.
            Classes::Recorded(_) if class != NODE => None,
            Classes::Recorded(archive) => Some(format!("-XX:ArchiveClassesAtExit={}", archive.display())),
            Classes::Used(archive) => Some(format!("-XX:SharedArchiveFile={}", archive.display())),
        };
        let mut command = Command::new(&self.program);
        command
            .arg("-Xmx1500m")
            .args(tuning)
            // Where each page of memory costs much, as on virtual machines, fewer and larger ones; and the archive as it stands.
            .args(["-XX:+UseSerialGC", "-XX:+UseTransparentHugePages"])
            .args(["-XX:+UnlockDiagnosticVMOptions", "-XX:ArchiveRelocationMode=0"])
            .args(classes)
            .arg(format!("-Dlog4j2.configurationFile={}", log_settings.display()))
            .arg("-cp")
            .arg(format!("{}/*:{}", self.jars.display(), self.policies.display()))
            .arg(class);
        command
    }

    /// The folder of the jars.
    pub fn jars(&self) -> &Path {
        &self.jars
    }

    /// Kafka's version, and what its jars were fetched by.
    pub fn version(&self) -> String {
        self.jars.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// A program of the Java machine that is meant.
fn program(name: &str) -> PathBuf {
    match env::var_os("JAVA_HOME") {
        Some(home) => PathBuf::from(home).join("bin").join(name),
        None => PathBuf::from(name),
    }
}
