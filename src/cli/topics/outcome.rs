//! What `paybridge topics --create` and `--update` did with a topic, for people and for programs.
//! Must not ask Kafka.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::kafka::create::Creation;
use crate::kafka::update::{SettingChange, Updated};

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TopicOutcome {
    /// It is new, without the settings that the cluster refused to be told.
    Created { left_out: BTreeMap<String, String> },
    /// It was there, and its settings were not looked at.
    Exists,
    /// It was there, with settings as good as they have to be.
    Fits,
    /// It was there, and these settings are altered.
    Altered(Vec<SettingChange>),
    /// It is not there, and was not to be made.
    Missing,
    /// It could not be made or altered: why, and what to do.
    Failed { reason: String, action: &'static str },
}

/// One outcome a topic: what was created, or failed, stands; of those that were there it tells what the update did.
pub(super) fn together(made: Vec<(String, Creation)>, updated: Vec<(String, Updated)>) -> Vec<(String, TopicOutcome)> {
    let mut outcomes: Vec<(String, TopicOutcome)> =
        updated.into_iter().map(|(name, updated)| (name, TopicOutcome::from(updated))).collect();
    for (name, made) in made {
        let outcome = TopicOutcome::from(made);
        match outcomes.iter_mut().find(|(other, _)| *other == name) {
            None => outcomes.push((name, outcome)),
            Some((_, updated)) if outcome != TopicOutcome::Exists => *updated = outcome,
            Some(_) => {}
        }
    }
    outcomes
}

impl From<Creation> for TopicOutcome {
    fn from(made: Creation) -> Self {
        match made {
            Creation::Created { left_out } => Self::Created { left_out },
            Creation::Exists => Self::Exists,
            Creation::Failed { reason, action } => Self::Failed { reason, action },
        }
    }
}

impl From<Updated> for TopicOutcome {
    fn from(updated: Updated) -> Self {
        match updated {
            Updated::Fits => Self::Fits,
            Updated::Altered(changes) => Self::Altered(changes),
            Updated::Missing => Self::Missing,
            Updated::Failed { reason, action } => Self::Failed { reason, action },
        }
    }
}

impl TopicOutcome {
    /// A missing topic that was not to be made is one: the topic does not take what the bridge writes.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Missing | Self::Failed { .. })
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Exists => "exists",
            Self::Fits => "fits",
            Self::Altered(_) => "altered",
            Self::Missing => "missing",
            Self::Failed { .. } => "failed",
        }
    }

    /// A line for people, and others below it where there is more to be said.
    pub(super) fn line(&self, name: &str) -> String {
        let word = self.word();
        match self {
            Self::Exists | Self::Fits => format!("{word:7}  {name}\n"),
            Self::Created { left_out } => {
                let told =
                    |(name, value): (&String, &String)| format!("         without {name}={value}: Kafka refuses it\n");
                format!("{word:7}  {name}\n{}", left_out.iter().map(told).collect::<String>())
            }
            Self::Missing => format!("{word:7}  {name}\n         create it with `paybridge topics --create`\n"),
            Self::Failed { reason, action } => format!("{word:7}  {name}: {reason}\n         {action}\n"),
            Self::Altered(changes) => {
                let told = |change: &SettingChange| match &change.from {
                    Some(from) => format!("         {}: {from} -> {}\n", change.name, change.to),
                    None => format!("         {}: {}\n", change.name, change.to),
                };
                format!("{word:7}  {name}\n{}", changes.iter().map(told).collect::<String>())
            }
        }
    }

    /// An object for programs.
    pub(super) fn object(&self, name: &str) -> Value {
        let mut object = Map::from_iter([("name".to_owned(), json!(name)), ("result".to_owned(), json!(self.word()))]);
        match self {
            Self::Exists | Self::Fits | Self::Missing => {}
            Self::Created { left_out } if left_out.is_empty() => {}
            Self::Created { left_out } => {
                object.insert("left_out".to_owned(), json!(left_out));
            }
            Self::Failed { reason, action } => {
                object.insert("reason".to_owned(), json!(reason));
                object.insert("action".to_owned(), json!(action));
            }
            Self::Altered(changes) => {
                let told = |SettingChange { name, from, to }: &SettingChange| {
                    (name.clone(), json!({ "from": from, "to": to }))
                };
                object.insert("changes".to_owned(), Value::Object(changes.iter().map(told).collect()));
            }
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created() -> TopicOutcome {
        TopicOutcome::Created { left_out: BTreeMap::new() }
    }

    fn altered() -> TopicOutcome {
        let change = |name: &str, from: Option<&str>, to: &str| SettingChange {
            name: name.to_owned(),
            from: from.map(str::to_owned),
            to: to.to_owned(),
        };
        TopicOutcome::Altered(vec![change("a", Some("1"), "2"), change("b", None, "3")])
    }

    #[test]
    fn tells_what_became_of_each_topic() {
        let failed = TopicOutcome::Failed { reason: "no".to_owned(), action: "do" };
        let left_out = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let without = TopicOutcome::Created { left_out };
        assert_eq!(without.object("t")["left_out"], json!({"a": "1"}));
        for (outcome, line, result) in [
            (created(), "created  t\n", "created"),
            (without, "created  t\n         without a=1: Kafka refuses it\n", "created"),
            (TopicOutcome::Exists, "exists   t\n", "exists"),
            (TopicOutcome::Fits, "fits     t\n", "fits"),
            (TopicOutcome::Missing, "missing  t\n         create it with `paybridge topics --create`\n", "missing"),
            (failed, "failed   t: no\n         do\n", "failed"),
            (altered(), "altered  t\n         a: 1 -> 2\n         b: 3\n", "altered"),
        ] {
            assert_eq!(outcome.line("t"), line);
            assert_eq!(outcome.object("t")["result"], result);
        }
        let changes = &altered().object("t")["changes"];
        assert_eq!(*changes, json!({"a": {"from": "1", "to": "2"}, "b": {"from": null, "to": "3"}}));
    }

    #[test]
    fn one_outcome_a_topic_where_both_were_asked_for() {
        let made = vec![
            ("new".to_owned(), Creation::Created { left_out: BTreeMap::new() }),
            ("old".to_owned(), Creation::Exists),
        ];
        let updated = vec![("new".to_owned(), Updated::Fits), ("old".to_owned(), Updated::Altered(Vec::new()))];
        let expected = [("new".to_owned(), created()), ("old".to_owned(), TopicOutcome::Altered(Vec::new()))];
        assert_eq!(together(made.clone(), updated), expected);
        assert_eq!(together(made, Vec::new()).len(), 2);
    }
}
