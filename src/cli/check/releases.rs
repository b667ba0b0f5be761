//! Whether requests for releases would be carried out: their readers are a consumer group.
//! Must not join it.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::config::Config;
use crate::finding::{Code, Finding};
use crate::kafka::group::offsets;
use crate::kafka::topics;
use crate::release::requests;

/// How long Kafka may take to tell.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What is to be said of the group of a process that takes webhooks. Blocks.
pub(super) fn of_kafka(config: &Config, client: &ClientConfig) -> Option<Finding> {
    if !config.ingress.enabled {
        return None;
    }
    let prefix = config.kafka.topic_prefix.as_ref();
    let group = requests::group(prefix);
    let subject = format!("group {group}");
    match offsets::is_visible(client, &group, &topics::release_topic(prefix), ANSWER_WITHIN) {
        Ok(true) => None,
        Ok(false) => {
            let message =
                "may not be used by this principal: requests for releases from quarantine are not carried out";
            Some(Finding::new(Code::GroupNotAuthorized, subject, message))
        }
        Err(error) => {
            let message = format!("whether the principal may use it is not checked: {error}");
            Some(Finding::new(Code::NotChecked, subject, message))
        }
    }
}
