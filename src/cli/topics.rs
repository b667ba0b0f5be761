//! `paybridge topics`: the topics that a configuration needs, for people, programs and Strimzi; says which are missing, makes
//! those, and alters the settings of those that are there.

mod outcome;
mod table;

use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{ConfigFile, Environment, WrongUsage, print, tell};
use crate::config::ClientSide;
use crate::kafka::client;
use crate::kafka::client_error::ClientError;
use crate::kafka::cluster::{self, Counts};
use crate::kafka::create::create;
use crate::kafka::topics::{Topic, needed, unequal_counts};
use crate::kafka::update::update;
use outcome::TopicOutcome;
use table::TopicTable;

/// How long Kafka may take to tell which topics there are.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge topics --config config/local.toml\n  \
                           paybridge topics --config config/local.toml --create\n  \
                           paybridge topics --update --format json | jq '.[] | select(.result != \"fits\")'\n  \
                           paybridge topics --format strimzi --cluster my-kafka | kubectl apply -f -\n\n\
                           The table asks Kafka which topics exist. Exit code 1 when one is missing, or when Kafka does not answer. The formats\n\
                           json and strimzi are made of the configuration alone, as the table is with --offline: they need no Kafka.";

/// What the user wants.
#[derive(Args)]
pub struct TopicsOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// Create missing topics. Existing topics stay as they are.
    #[arg(long)]
    create: bool,
    /// Change settings of existing topics that are worse than listed. Longer retention, larger records,
    /// other settings and the number of partitions stay as they are.
    #[arg(long)]
    update: bool,
    /// Do not ask Kafka which topics exist.
    #[arg(long, conflicts_with_all = ["create", "update"])]
    offline: bool,
    /// The format of the list.
    #[arg(long, value_enum, default_value_t = TopicsFormat::Text)]
    format: TopicsFormat,
    /// The name of Strimzi's Kafka resource, for `--format strimzi`.
    #[arg(long, value_name = "NAME", default_value = "kafka")]
    cluster: String,
}

/// How the list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TopicsFormat {
    /// A table for people. It says which topics are missing on the cluster.
    Text,
    /// An array of objects.
    Json,
    /// `KafkaTopic` manifests for Strimzi's topic operator.
    Strimzi,
}

/// Lists the topics, or makes them.
///
/// # Errors
/// The configuration cannot be used, or the output not written.
pub async fn run(options: &TopicsOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let config = options.config.load(environment)?;
    let topics = needed(&config);
    if options.create || options.update {
        if let Some(finding) = unequal_counts(&config) {
            tell(&format!("{} {}: {}", finding.subject, finding.message, finding.action));
            return Ok(ExitCode::FAILURE);
        }
        return change(options, &client::base(&config.kafka, ClientSide::Common)?, &topics).await;
    }
    match options.format {
        TopicsFormat::Text if options.offline => print(&TopicTable::offline(&topics).to_string())?,
        TopicsFormat::Text => return list(client::base(&config.kafka, ClientSide::Common)?, &topics).await,
        TopicsFormat::Json => print(&pretty(&Value::Array(topics.iter().map(object).collect())))?,
        TopicsFormat::Strimzi => {
            print(&topics.iter().map(|topic| manifest(topic, &options.cluster)).collect::<String>())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The table, with what Kafka says of each topic. Where it says nothing, the table is printed all the same.
async fn list(client: rdkafka::ClientConfig, topics: &[Topic]) -> anyhow::Result<ExitCode> {
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let ask = move || cluster::partition_counts(&client, &names, Instant::now() + ANSWER_WITHIN);
    let seen: Result<Counts, ClientError> = tokio::task::spawn_blocking(ask).await?;
    let table = match &seen {
        Ok(counts) => TopicTable::online(topics, counts),
        Err(_) => TopicTable::offline(topics),
    };
    print(&table.to_string())?;
    match (&seen, table.complaint()) {
        (Ok(_), None) => return Ok(ExitCode::SUCCESS),
        (Ok(_), Some(complaint)) => tell(&complaint),
        (Err(error), _) => tell(&format!(
            "which of the topics exist is not known, because {error}: {}. Without Kafka: `paybridge topics --offline`",
            error.action()
        )),
    }
    Ok(ExitCode::FAILURE)
}

async fn change(options: &TopicsOptions, client: &rdkafka::ClientConfig, topics: &[Topic]) -> anyhow::Result<ExitCode> {
    if options.format == TopicsFormat::Strimzi {
        let problem = "--create and --update change the topics themselves, --format strimzi lets Strimzi do it: give one of the two";
        return Err(WrongUsage(problem.to_owned()).into());
    }
    let outcomes = match outcomes(options, client, topics).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            tell(&format!("{error}: {}", error.action()));
            return Ok(ExitCode::FAILURE);
        }
    };
    print(&match options.format {
        TopicsFormat::Json => pretty(&outcomes.iter().map(|(name, outcome)| outcome.object(name)).collect()),
        TopicsFormat::Text | TopicsFormat::Strimzi => {
            outcomes.iter().map(|(name, outcome)| outcome.line(name)).collect()
        }
    })?;
    let failed = outcomes.iter().any(|(_, outcome)| outcome.is_failure());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Makes what is missing first: what is new need not be altered.
async fn outcomes(
    options: &TopicsOptions,
    client: &rdkafka::ClientConfig,
    topics: &[Topic],
) -> Result<Vec<(String, TopicOutcome)>, ClientError> {
    let made = if options.create { create(client, topics).await? } else { Vec::new() };
    let updated = if options.update { update(client, topics).await? } else { Vec::new() };
    Ok(outcome::together(made, updated))
}

fn object(topic: &Topic) -> Value {
    json!({
        "name": topic.name,
        "message": topic.message,
        "partitions": topic.partitions,
        "replication_factor": topic.replication_factor,
        "settings": topic.settings,
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A manifest. Text stands in JSON's quotes, which YAML reads the same.
fn manifest(topic: &Topic, cluster: &str) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let name = quoted(&topic.name);
    let mut manifest = format!(
        "---\napiVersion: kafka.strimzi.io/v1beta2\nkind: KafkaTopic\nmetadata:\n  name: {name}\n  labels:\n    \
         strimzi.io/cluster: {cluster}\nspec:\n  topicName: {name}\n  partitions: {partitions}\n  \
         replicas: {replicas}\n  config:\n",
        cluster = quoted(cluster),
        partitions = topic.partitions,
        replicas = topic.replication_factor,
    );
    for (name, value) in &topic.settings {
        // Writing to a string cannot fail.
        let _written = writeln!(manifest, "    {name}: {}", quoted(value));
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    pub(super) fn topics() -> Vec<Topic> {
        let toml = "[kafka]\ntopic_prefix = 'pay'\npartitions = 6\n[dedup]\nmode = 'local'\n[sources.sg]\nprovider = 'smart-glocal'";
        needed(&Config::from_toml(toml, []).unwrap())
    }

    fn quarantine() -> Topic {
        topics().into_iter().find(|topic| topic.name == "pay.quarantine.v1").unwrap()
    }

    #[test]
    fn writes_manifests_that_strimzi_takes() {
        let expected = "---\n\
            apiVersion: kafka.strimzi.io/v1beta2\n\
            kind: KafkaTopic\n\
            metadata:\n  name: \"pay.quarantine.v1\"\n  labels:\n    strimzi.io/cluster: \"a \\\"b\\\"\"\n\
            spec:\n  topicName: \"pay.quarantine.v1\"\n  partitions: 6\n  replicas: 3\n  config:\n    \
            cleanup.policy: \"delete\"\n    max.message.bytes: \"1048576\"\n    message.timestamp.type: \"LogAppendTime\"\n    min.insync.replicas: \"2\"\n    \
            retention.ms: \"2592000000\"\n    unclean.leader.election.enable: \"false\"\n";
        assert_eq!(manifest(&quarantine(), "a \"b\""), expected);
    }

    #[test]
    fn writes_objects_for_programs() {
        let object = object(&quarantine());
        assert_eq!((&object["name"], &object["partitions"]), (&json!("pay.quarantine.v1"), &json!(6)));
        assert_eq!(object["settings"]["min.insync.replicas"], "2");
        assert_eq!(object["message"], "paybridge.event.v1.QuarantinedWebhook");
    }
}
