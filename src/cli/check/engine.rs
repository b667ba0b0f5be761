//! What Kafka says of the confirmation engine's start: whose ledger it would find, and who has its name in the group.
//! Must not join the group, nor write.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use rdkafka::ClientConfig;

use crate::config::{Config, Confirmation, FORMER_GROUP_ID};
use crate::confirmation::codec::ledger::ForeignLedger;
use crate::confirmation::codec::ledger::{self, LedgerError, LedgerOwner, LedgerRecord, OWNER_KEY};
use crate::error_chain;
use crate::finding::{Code, Finding};
use crate::kafka::group::members::{self, MemberSeen};
use crate::kafka::reader::ReadError;
use crate::kafka::scan::scan;
use crate::kafka::topics;

/// How long the ledger is read at most: whose it is may stand at its end. A larger one is said to be not checked.
const LEDGER_WITHIN: Duration = Duration::from_secs(10);
/// How long Kafka may take to tell the group's members.
const MEMBERS_WITHIN: Duration = Duration::from_secs(5);

/// What is to be said before an engine of this configuration starts. Blocks.
pub(super) fn of_kafka(config: &Config, client: &ClientConfig) -> Vec<Finding> {
    if !config.confirmation.enabled {
        return Vec::new();
    }
    let mut findings = of_ledger(config, client);
    findings.extend(of_members(config, client));
    findings
}

fn of_ledger(config: &Config, client: &ClientConfig) -> Vec<Finding> {
    let topic = topics::ledger_topic(config.kafka.topic_prefix.as_ref());
    let mut owners: BTreeMap<i32, Result<LedgerRecord, LedgerError>> = BTreeMap::new();
    let scanned = scan(client, &topic, LEDGER_WITHIN, &mut |partition, key, value| match value {
        Some(value) if key == OWNER_KEY.as_bytes() => {
            owners.insert(partition, ledger::decode(key, value));
            ControlFlow::Break(())
        }
        Some(_) | None => ControlFlow::Continue(()),
    });
    let not_checked = |reason: String| {
        let message = format!("whether the engine may use this ledger is not checked: {reason}");
        Finding::new(Code::NotChecked, topic.as_str(), message)
    };
    let scanned = match scanned {
        Ok(scanned) => scanned,
        // Told already.
        Err(ReadError::Missing(_)) => return Vec::new(),
        Err(error) => return vec![not_checked(error_chain::joined(&error))],
    };
    let expected = expected_owner(config, scanned.partitions);
    let mut findings = of_owners(&config.confirmation, &topic, owners, &expected);
    if !scanned.unread.is_empty() {
        let seconds = LEDGER_WITHIN.as_secs();
        findings.push(not_checked(format!("{} not read within {seconds} s", partitions(&scanned.unread))));
    }
    findings
}

/// "partition 3", "partitions 0, 1, 2".
fn partitions<'p>(numbers: impl IntoIterator<Item = &'p i32>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(ToString::to_string).collect();
    let noun = if numbers.len() == 1 { "partition" } else { "partitions" };
    format!("{noun} {}", numbers.join(", "))
}

fn expected_owner(config: &Config, partitions: usize) -> LedgerOwner {
    LedgerOwner {
        group_id: config.confirmation.group(&config.kafka.topic_prefix),
        partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
        dry_run: config.confirmation.dry_run,
    }
}

/// What keeps the engine from going on with the owners that the partitions name: the same of several partitions once.
fn of_owners(
    confirmation: &Confirmation,
    topic: &str,
    owners: BTreeMap<i32, Result<LedgerRecord, LedgerError>>,
    expected: &LedgerOwner,
) -> Vec<Finding> {
    let former = confirmation.group_id.is_none().then_some(FORMER_GROUP_ID);
    let mut told: BTreeMap<(Code, String), Vec<i32>> = BTreeMap::new();
    for (partition, kept) in owners {
        let problem = match kept {
            Ok(LedgerRecord::Owner(found)) => ForeignLedger::check(partition, found, expected.clone(), former)
                .err()
                .map(|other| (Code::LedgerOfAnother, other.difference())),
            Ok(LedgerRecord::Entry(..) | LedgerRecord::Done(..)) => {
                Some((Code::LedgerNotUnderstood, "a session stands where the owner of the ledger should".to_owned()))
            }
            Err(error) => {
                let message = format!("the owner of the ledger cannot be read: {}", error_chain::joined(&error));
                Some((Code::LedgerNotUnderstood, message))
            }
        };
        if let Some(problem) = problem {
            told.entry(problem).or_default().push(partition);
        }
    }
    let finding = |((code, message), of): ((Code, String), Vec<i32>)| {
        Finding::new(code, topic, format!("{}: {message}", partitions(&of)))
    };
    told.into_iter().map(finding).collect()
}

fn of_members(config: &Config, client: &ClientConfig) -> Vec<Finding> {
    let group = config.confirmation.group(&config.kafka.topic_prefix);
    let subject = format!("group {group}");
    let members = match members::members(client, &group, MEMBERS_WITHIN) {
        Ok(members) => members,
        Err(error) => {
            let message = format!("whether two members have the same bridge_instance is not checked: {error}");
            return vec![Finding::new(Code::NotChecked, subject, message)];
        }
    };
    let named = members::by_client_id(members).into_iter();
    named.filter_map(|(name, members)| of_name(config, &subject, &name, &members)).collect()
}

fn of_name(config: &Config, subject: &str, name: &str, members: &[MemberSeen]) -> Option<Finding> {
    let hosts = members::hosts(members);
    let message = match members.len() {
        1 if name == config.bridge_instance => {
            format!("has a member with the bridge_instance of this configuration, {name}: on {hosts}")
        }
        0 | 1 => return None,
        count => format!("has {count} members with the bridge_instance {name}: on {hosts}"),
    };
    Some(Finding::new(Code::InstanceInUse, subject, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Config {
        let dry = "[confirmation]\nenabled = true\ndry_run = true\n";
        let source = "[sources.sg]\nprovider = 'smart-glocal'\npublic_key_files = []\n";
        Config::from_toml(&format!("bridge_instance = 'pod-0'\n{dry}{toml}\n{source}"), []).unwrap()
    }

    #[test]
    fn tells_of_a_ledger_what_the_engine_would_say() {
        let owner = |group_id: &str, partitions, dry_run| {
            Ok(LedgerRecord::Owner(LedgerOwner { group_id: group_id.to_owned(), partitions, dry_run }))
        };
        let default = "payments.paybridge-confirmation";
        for (toml, kept, expected) in [
            ("", owner(default, 12, true), None),
            ("", owner(FORMER_GROUP_ID, 12, true), None),
            ("group_id = 'mine'", owner(FORMER_GROUP_ID, 12, true), Some(Code::LedgerOfAnother)),
            ("", owner("mine", 12, true), Some(Code::LedgerOfAnother)),
            ("", owner(default, 13, true), Some(Code::LedgerOfAnother)),
            ("", owner(default, 12, false), Some(Code::LedgerOfAnother)),
            ("", Err(LedgerError::Schema(9)), Some(Code::LedgerNotUnderstood)),
        ] {
            let config = config(toml);
            let told = format!("{kept:?}");
            let owners = BTreeMap::from([(3, kept)]);
            let findings = of_owners(&config.confirmation, "ledger", owners, &expected_owner(&config, 12));
            assert_eq!(findings.first().map(|finding| finding.code), expected, "{toml}: {told}");
        }
        let owners = (0..3).map(|partition| (partition, owner("mine", 12, true))).collect();
        let config = config("");
        let findings = of_owners(&config.confirmation, "ledger", owners, &expected_owner(&config, 12));
        let told: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            told,
            [
                "partitions 0, 1, 2: the ledger belongs to group mine with 12 partitions, a dry run, and this engine is group \
              payments.paybridge-confirmation with 12 partitions, a dry run"
            ]
        );
    }

    #[test]
    fn tells_of_names_that_two_members_have_and_of_ones_own() {
        let member = |id: &str| MemberSeen { id: id.to_owned(), client_id: String::new(), host: format!("h{id}") };
        let config = config("");
        let told = |name: &str, ids: &[&str]| {
            let members: Vec<MemberSeen> = ids.iter().map(|id| member(id)).collect();
            of_name(&config, "group g", name, &members).map(|finding| finding.message)
        };
        assert_eq!(told("pod-1", &["1"]), None);
        assert_eq!(told("pod-1", &["1", "2"]).unwrap(), "has 2 members with the bridge_instance pod-1: on h1, h2");
        let ours = "has a member with the bridge_instance of this configuration, pod-0: on h1";
        assert_eq!(told("pod-0", &["1"]).unwrap(), ours);
    }
}
