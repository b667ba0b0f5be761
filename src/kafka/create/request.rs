//! Asks Kafka to make topics, and leaves out what a cluster refuses to be told and no promise rests on.
//! Must not know which topics are needed, nor whether there are such already.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{Creation, MADE_WITHIN, failed};
use crate::kafka::client_error::{ClientError, ClientErrors};
use crate::kafka::topics::Topic;

/// What to do when a cluster does not take a setting that a promise rests on.
const OMIT: &str = "if the cluster fixes the setting itself, leave it out: in [kafka.topic_settings.\"*\"] write \"omit\" as \
                    its value, and see with `paybridge check` whether the cluster's own value will do";

/// Settings by name.
type SettingValues = BTreeMap<String, String>;

/// Whether topics are to be made, or only to be judged.
#[derive(Clone, Copy)]
enum Purpose {
    Make,
    Judge,
}

/// What became of each topic.
pub(super) async fn make<'a>(
    client: &ClientConfig,
    topics: &[&'a Topic],
) -> Result<Vec<(&'a str, Creation)>, ClientError> {
    let admin: AdminClient<ClientErrors> =
        client.create_with_context(ClientErrors::default()).map_err(|error| ClientError::of_creation(&error))?;
    let made = make_with(&admin, topics).await;
    // Dropping it joins a thread.
    let _dropped = tokio::task::spawn_blocking(move || drop(admin)).await;
    let made = made?;
    let of = |topic: &&'a Topic| {
        let outcome = made.get(&topic.name).cloned().unwrap_or_else(|| failed("Kafka told nothing of it"));
        (topic.name.as_str(), outcome)
    };
    Ok(topics.iter().map(of).collect())
}

async fn make_with(
    admin: &AdminClient<ClientErrors>,
    topics: &[&Topic],
) -> Result<BTreeMap<String, Creation>, ClientError> {
    let mut made = BTreeMap::new();
    let mut refused = Vec::new();
    for (topic, answer) in topics.iter().zip(ask(admin, topics, Purpose::Make).await?) {
        match answer {
            Err(code) if is_of_settings(code) => refused.push(*topic),
            answer => drop(made.insert(topic.name.clone(), outcome(answer, SettingValues::new()))),
        }
    }
    let without = refused_settings(admin, &refused).await?;
    let (unmakeable, makeable): (Vec<_>, Vec<_>) =
        refused.into_iter().zip(without).partition(|(topic, without)| promised(topic, without).is_some());
    for (topic, without) in unmakeable {
        let setting = promised(topic, &without).unwrap_or_default();
        made.insert(topic.name.clone(), Creation::Failed { reason: format!("Kafka refuses {setting}"), action: OMIT });
    }
    let lesser: Vec<Topic> = makeable.iter().map(|(topic, without)| lessened(topic, without)).collect();
    let answers = ask(admin, &lesser.iter().collect::<Vec<_>>(), Purpose::Make).await?;
    for ((topic, without), answer) in makeable.into_iter().zip(answers) {
        made.insert(topic.name.clone(), outcome(answer, without));
    }
    Ok(made)
}

/// Which settings of each topic Kafka does not take even alone: its answers name none. One request a setting.
async fn refused_settings(
    admin: &AdminClient<ClientErrors>,
    topics: &[&Topic],
) -> Result<Vec<SettingValues>, ClientError> {
    let names: BTreeSet<&String> = topics.iter().flat_map(|topic| topic.settings.keys()).collect();
    let mut refused = vec![SettingValues::new(); topics.len()];
    for name in names {
        let alone: Vec<Topic> = topics.iter().map(|topic| with_one_setting(topic, name)).collect();
        let answers = ask(admin, &alone.iter().collect::<Vec<_>>(), Purpose::Judge).await?;
        for ((alone, answer), refused) in alone.into_iter().zip(answers).zip(&mut refused) {
            if answer.is_err_and(is_of_settings) {
                refused.extend(alone.settings);
            }
        }
    }
    Ok(refused)
}

fn with_one_setting(topic: &Topic, name: &str) -> Topic {
    let mut topic = topic.clone();
    topic.settings.retain(|other, _| other == name);
    topic
}

fn lessened(topic: &Topic, without: &SettingValues) -> Topic {
    let mut topic = topic.clone();
    topic.settings.retain(|name, _| !without.contains_key(name));
    topic
}

/// The first of `settings` that a promise of the topic rests on.
fn promised(topic: &Topic, settings: &SettingValues) -> Option<String> {
    let (name, value) = settings.iter().find(|(name, _)| topic.promised.contains_key(name.as_str()))?;
    Some(format!("{name}={value}"))
}

/// The code that a cluster answers with depends on whose it is.
fn is_of_settings(code: Code) -> bool {
    matches!(code, Code::InvalidConfig | Code::PolicyViolation | Code::InvalidRequest)
}

/// What Kafka answers of each topic.
async fn ask(
    admin: &AdminClient<ClientErrors>,
    topics: &[&Topic],
    purpose: Purpose,
) -> Result<Vec<Result<(), Code>>, ClientError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let new: Vec<NewTopic<'_>> = topics.iter().map(|topic| new_topic(topic)).collect();
    let options = AdminOptions::new()
        .request_timeout(Some(MADE_WITHIN))
        .operation_timeout(Some(MADE_WITHIN))
        .validate_only(matches!(purpose, Purpose::Judge));
    let answered = admin.create_topics(&new, &options).await;
    let results = answered.map_err(|error| ClientError::Unreachable(error.to_string()))?;
    let of = |topic: &&Topic| {
        let answer = results.iter().find_map(|result| match result {
            Ok(name) if *name == topic.name => Some(Ok(())),
            Err((name, code)) if *name == topic.name => Some(Err(*code)),
            _ => None,
        });
        answer.unwrap_or(Err(Code::Unknown))
    };
    Ok(topics.iter().map(of).collect())
}

fn new_topic(topic: &Topic) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(topic.replication_factor);
    let new = NewTopic::new(&topic.name, topic.partitions, replication);
    topic.settings.iter().fold(new, |new, (name, value)| new.set(name, value))
}

fn outcome(answer: Result<(), Code>, left_out: SettingValues) -> Creation {
    match answer {
        Ok(()) => Creation::Created { left_out },
        Err(code) => refusal(code),
    }
}

fn refusal(code: Code) -> Creation {
    let action = match code {
        Code::TopicAlreadyExists => return Creation::Exists,
        Code::InvalidReplicationFactor => {
            "there are fewer brokers than kafka.replication_factor: start them, or lower it"
        }
        Code::InvalidPartitions => "lower kafka.partitions to what the cluster allows",
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "allow the principal Create on the topic or the cluster, or let somebody who may make it: \
             `paybridge topics --format json` or `--format strimzi` says how"
        }
        Code::InvalidConfig | Code::PolicyViolation | Code::InvalidRequest => {
            "Kafka takes each setting by itself and refuses them together, or it refuses the number of partitions or of \
             replicas: compare `paybridge topics` with the brokers' create.topic.policy"
        }
        _ => "see the brokers' logs, then run it again: topics that exist are left as they are",
    };
    Creation::Failed { reason: code.to_string(), action }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_elses_creation_counts_and_refusals_say_what_to_do() {
        assert_eq!(refusal(Code::TopicAlreadyExists), Creation::Exists);
        for (code, expected) in [
            (Code::InvalidReplicationFactor, "kafka.replication_factor"),
            (Code::TopicAuthorizationFailed, "allow the principal Create"),
            (Code::PolicyViolation, "refuses them together"),
            (Code::RequestTimedOut, "run it again"),
        ] {
            match refusal(code) {
                Creation::Failed { action, .. } => assert!(action.contains(expected), "{action}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
