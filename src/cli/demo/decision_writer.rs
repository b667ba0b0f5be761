//! Another team of the demonstration: it writes decisions on their topic, as any other producer would.
//! Must not know what becomes of them.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use prost::Message;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::config::{ClientSide, Config};
use crate::kafka::publish_once::publish_once;
use crate::kafka::record::Record;
use crate::kafka::{client, topics};
use crate::message::confirmation::v1::{Action, Decision};

/// How long Kafka may take to acknowledge a decision.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(25);
/// Who decides.
const NAME: &str = "risk team";

/// A team that decides when it is asked, until it is stopped.
pub struct DecisionWriter {
    decisions: Sender<Decision>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl DecisionWriter {
    /// Starts to take questions.
    ///
    /// # Errors
    /// Kafka's properties cannot be read.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let client = client::base(&config.kafka, ClientSide::Common)?;
        let topic = topics::decision_topic(config.kafka.topic_prefix.as_ref());
        let (decisions, asked) = channel::<Decision>();
        let task = spawn_blocking(move || {
            for decision in asked {
                let record = Record {
                    topic: topic.as_str().into(),
                    key: decision.session_id.clone(),
                    value: decision.encode_to_vec(),
                    headers: Vec::new(),
                };
                publish_once(&client, &record, ACKNOWLEDGED_WITHIN)
                    .context("the other team's decision is not on its topic")?;
            }
            Ok(())
        });
        Ok(Self { decisions, task })
    }

    /// Decides on a session, soon, with this reason.
    pub fn decide(&self, source: &str, session_id: &str, (action, reason): (Action, &str)) {
        let decision = Decision {
            source: source.to_owned(),
            session_id: session_id.to_owned(),
            action: action.into(),
            decided_by: NAME.to_owned(),
            reason: reason.to_owned(),
            decision_id: format!("demo-{}", Timestamp::now().as_microsecond()),
        };
        // A team that failed takes no more; why, it says when it is stopped.
        let _taken = self.decisions.send(decision);
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// A decision could not be written.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.decisions);
        self.task.await.context("the other team panicked")?
    }
}
