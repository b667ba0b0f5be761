//! `paybridge decide`: puts a decision on the decision topic and waits for what becomes of it. It is any other team's
//! decision to the engine. Must not know how the engine decides.

mod answer;
mod known_session;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use prost::Message;
use rdkafka::ClientConfig;

use super::{ConfigFile, Environment, WrongUsage, session_search, tell};
use crate::config::ClientSide;
use crate::confirmation::codec::decision::TEXT_BYTES_MAX;
use crate::confirmation::codec::inputs::SESSION_ID_BYTES_MAX;
use crate::kafka::client;
use crate::kafka::publish_once::{Stored, publish_once};
use crate::kafka::reader::{ReadError, Start, TopicReader};
use crate::kafka::record::Record;
use crate::kafka::topics;
use crate::message::confirmation::v1;
use known_session::{KnownSession, SessionLookUp};

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge decide sg-main ps_3230 confirm --reason 'known customer' --config config/local.toml\n  \
                           paybridge decide sg-main ps_3230 cancel --reason 'asked by phone' --decided-by risk --timeout 5m\n\n\
                           The record that tells what became of it is printed as `paybridge tail` would. Exit code 0 when the outcome was\n\
                           decided by this decision; 1 when it was rejected, when another decided, when no session of this id is known, or\n\
                           when nothing came in time. `paybridge why SESSION` tells the whole story of a session.";

/// How long Kafka may take until reading begins.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How long Kafka may take to acknowledge the decision.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(25);
/// How long the look for the session may take, and half of the time that is left at most.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);
/// The shortest time in which a decision can be written and answered.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The longest wait: no window of a session is open for longer than a week.
const TIMEOUT_MAX: Duration = Duration::from_hours(7 * 24);
/// Stands before the advice to make topics, which such a configuration leaves out.
const NOT_ENABLED: &str = "confirmation.enabled is false in this configuration, so use the engine's";

/// What the user wants.
#[derive(Args)]
pub struct DecideOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// The source of the session: `metadata.source` of its event.
    source: String,
    /// The id of the session: `metadata.subject` of its event.
    session: String,
    /// What to do with the session.
    #[arg(value_enum)]
    action: ActionArgument,
    /// The reason, for people. The outcome repeats it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who decides. The outcome repeats it.
    #[arg(long, value_name = "NAME", default_value = "paybridge decide")]
    decided_by: String,
    /// How long the command may take: to reach Kafka, to write the decision, and to wait for the outcome. Such as `60s` or `5m`.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: SignedDuration,
    /// Decide although no session of this id is known yet. The decision waits for it (`confirmation.unknown_session_ttl_s`).
    #[arg(long)]
    early: bool,
}

/// What is done with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ActionArgument {
    /// Let the provider carry out its operations.
    Confirm,
    /// End it; its operations are not carried out.
    Cancel,
}

/// Decides, waits and tells.
///
/// # Errors
/// The arguments or the configuration cannot be used, no such session is known, the topics cannot be read, or Kafka does not
/// take the decision.
pub async fn run(options: DecideOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let timeout = usable(&options)?;
    let config = options.config.load(environment)?;
    session_search::check_source(&config, &options.source)?;
    let task = DecisionTask {
        client: client::base(&config.kafka, ClientSide::Common)?,
        prefix: config.kafka.topic_prefix.as_ref().to_owned(),
        decision: decision(&options)?,
        memory: config.confirmation.window() + config.confirmation.ledger_retention(),
        early: options.early,
        timeout,
        deadline: Instant::now() + timeout,
    };
    let decided = tokio::task::spawn_blocking(move || task.decide()).await?;
    match decided {
        Err(error) if is_of_missing_topics(&error) && !config.confirmation.enabled => Err(error.context(NOT_ENABLED)),
        decided => decided,
    }
}

fn is_of_missing_topics(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ReadError::Missing(_)))
}

/// How long the command may take, if the arguments can be used.
fn usable(options: &DecideOptions) -> Result<Duration, WrongUsage> {
    let texts = [
        ("SESSION", &options.session, SESSION_ID_BYTES_MAX),
        ("--reason", &options.reason, TEXT_BYTES_MAX),
        ("--decided-by", &options.decided_by, TEXT_BYTES_MAX),
    ];
    for (name, text, bytes_max) in texts {
        if text.is_empty() || text.len() > bytes_max {
            return Err(WrongUsage(format!("{name} must have 1 to {bytes_max} bytes")));
        }
    }
    let timeout = Duration::try_from(options.timeout).ok();
    timeout
        .filter(|timeout| (TIMEOUT_MIN..=TIMEOUT_MAX).contains(timeout))
        .ok_or_else(|| WrongUsage("--timeout must be from 1 second to 7 days: write it as 60s or 5m".to_owned()))
}

fn decision(options: &DecideOptions) -> anyhow::Result<v1::Decision> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow!("the system has no randomness for a decision_id"))?;
    let action = match options.action {
        ActionArgument::Confirm => v1::Action::Confirm,
        ActionArgument::Cancel => v1::Action::Cancel,
    };
    Ok(v1::Decision {
        source: options.source.clone(),
        session_id: options.session.clone(),
        action: action.into(),
        decided_by: options.decided_by.clone(),
        reason: options.reason.clone(),
        decision_id: format!("{:032x}", u128::from_be_bytes(random)),
    })
}

/// One decision that is to be written, and all that it needs.
struct DecisionTask {
    client: ClientConfig,
    prefix: String,
    decision: v1::Decision,
    /// How long the engine remembers a session.
    memory: Duration,
    early: bool,
    timeout: Duration,
    deadline: Instant,
}

impl DecisionTask {
    /// Reading begins before the decision is there, so that no answer to it is missed. Blocks until the deadline at most.
    fn decide(&self) -> anyhow::Result<ExitCode> {
        let Self { client, prefix, decision, .. } = self;
        let answers = [topics::outcome_topic(prefix), topics::decision_rejected_topic(prefix)];
        let reader = TopicReader::open(client, &answers, Start::End, OPEN_WITHIN.min(self.left()))?;
        if let Some(problem) = self.unknown_session()? {
            tell(&problem);
            return Ok(ExitCode::FAILURE);
        }
        let Stored { partition, offset } = self.write()?;
        let (id, topic) = (&decision.decision_id, topics::decision_topic(prefix));
        tell(&format!("decision {id} is at {topic}, partition {partition}, offset {offset}"));
        let Some((result, record)) = answer::await_answer(&reader, decision, self.deadline)? else {
            tell(&format!(
                "nothing came within {:?}, and the decision may still count: see that an engine runs \
                 (paybridge_confirmation_lag_records), and look again with `paybridge why {}`",
                self.timeout, decision.session_id
            ));
            return Ok(ExitCode::FAILURE);
        };
        answer::report(result, record, prefix)
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Why the decision cannot count, as far as the topics tell.
    fn unknown_session(&self) -> anyhow::Result<Option<String>> {
        let look_up = SessionLookUp {
            client: &self.client,
            prefix: &self.prefix,
            source: &self.decision.source,
            session_id: &self.decision.session_id,
            memory: self.memory,
            deadline: Instant::now() + LOOK_UP_WITHIN.min(self.left() / 2),
        };
        let known = look_up.run()?;
        match known {
            KnownSession::Unknown if self.early => {
                tell("no such session is known yet: the decision waits for it");
                Ok(None)
            }
            KnownSession::NotLookedThrough => {
                tell("whether such a session is known could not be found out; deciding all the same");
                Ok(None)
            }
            KnownSession::Known => Ok(None),
            KnownSession::Unknown | KnownSession::OfOthers(_) => Ok(Some(look_up.explain(&known))),
        }
    }

    fn write(&self) -> anyhow::Result<Stored> {
        let Self { client, decision, .. } = self;
        if self.left().is_zero() {
            return Err(anyhow!("the time was over before the decision could be written: nothing was written"));
        }
        let record = Record {
            topic: topics::decision_topic(&self.prefix).into(),
            key: decision.session_id.clone(),
            value: decision.encode_to_vec(),
            headers: Vec::new(),
        };
        publish_once(client, &record, ACKNOWLEDGED_WITHIN.min(self.left())).with_context(|| {
            format!(
                "it is not known whether decision {} was written: look later with `paybridge why {}`",
                decision.decision_id, decision.session_id
            )
        })
    }
}
