//! Who the members of a consumer group are, without joining it.
//! Must not know what they do. Blocks: not for a tokio worker.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::groups::GroupInfo;

use crate::kafka::client_error::{ClientError, ClientErrors};

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberSeen {
    /// Its id, which the group gave it; another one after each joining.
    pub id: String,
    /// What its client calls itself: of our engines, the `bridge_instance`.
    pub client_id: String,
    /// The address that it comes from.
    pub host: String,
}

/// The present members of `group_id`; none where there is no such group. One that died counts until its session is over.
///
/// # Errors
/// Kafka does not answer `within` the time.
pub fn members(client: &ClientConfig, group_id: &str, within: Duration) -> Result<Vec<MemberSeen>, ClientError> {
    let client_errors = ClientErrors::default();
    let consumer: BaseConsumer<ClientErrors> =
        client.create_with_context(client_errors.clone()).map_err(|error| ClientError::of_creation(&error))?;
    let groups = consumer.fetch_group_list(Some(group_id), within).map_err(|error| {
        // Errors come through the client's queue.
        while consumer.poll(Duration::ZERO).is_some() {}
        client_errors.explain(&error)
    })?;
    let of_group = groups.groups().iter().filter(|group| group.name() == group_id);
    let seen = of_group.flat_map(GroupInfo::members).map(|member| MemberSeen {
        id: member.id().to_owned(),
        client_id: member.client_id().to_owned(),
        host: member.client_host().trim_start_matches('/').to_owned(),
    });
    Ok(seen.collect())
}

/// The members of each client id.
pub fn by_client_id(members: Vec<MemberSeen>) -> BTreeMap<String, Vec<MemberSeen>> {
    let mut by_client_id: BTreeMap<String, Vec<MemberSeen>> = BTreeMap::new();
    for member in members {
        by_client_id.entry(member.client_id.clone()).or_default().push(member);
    }
    by_client_id
}

/// Their addresses, each once, in words.
pub fn hosts(members: &[MemberSeen]) -> String {
    let mut hosts: Vec<&str> = members.iter().map(|member| member.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.join(", ")
}
