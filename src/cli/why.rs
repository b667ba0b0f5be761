//! `paybridge why`: the whole story of one session, from its topics. Reads one partition of each, and joins no group.
//! Must not know what a record means: that is told in the modules below.

mod configured_engine;
mod current_state;
mod owner;
mod rules_today;
mod session_record;
mod step;
mod story;
mod words;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::session_search::{self, SearchResult, SearchedTopic, SessionSearch, SessionTopic};
use super::{ConfigFile, Environment, WrongUsage, print, tell};
use crate::config::ClientSide;
use crate::confirmation::codec::inputs::SESSION_ID_BYTES_MAX;
use crate::kafka::client;
use configured_engine::ConfiguredEngine;
use owner::Owner;
use session_record::SessionRecord;
use story::SessionStory;

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge why ps_3230 --config config/local.toml\n  \
                           paybridge why ps_3230 --json | jq -r .summary\n\n\
                           It reads the events, the decisions, the ledger, the rejected decisions and the outcomes of this session, and\n\
                           tells them in the order of their times. Rules are tried with this configuration: the engine may have had\n\
                           other rules when the session opened. Exit code 1 when no record of the session is found, or when a topic could\n\
                           not be read to its end.";

/// The longest time to look back.
const SINCE_MAX: SignedDuration = SignedDuration::from_hours(24 * 365 * 10);

/// What the user wants.
#[derive(Args)]
pub struct WhyOptions {
    #[command(flatten)]
    config: ConfigFile,
    /// The id of the session: `metadata.subject` of its event.
    session: String,
    /// The source of the session. Needed only where two sources have a session of this id.
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// How far to look back, such as `24h`. The ledger is always read as a whole. Default: 7 days, as long as events are kept.
    #[arg(long, value_name = "TIME", default_value = "168h")]
    since: SignedDuration,
    /// How long the command may take, such as `60s` or `5m`.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: SignedDuration,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Reads and tells.
///
/// # Errors
/// The arguments or the configuration cannot be used, or Kafka does not answer.
pub async fn run(options: WhyOptions, environment: &Environment) -> anyhow::Result<ExitCode> {
    let (since, timeout) = usable(&options)?;
    let config = options.config.load(environment)?;
    if let Some(source) = &options.source {
        session_search::check_source(&config, source)?;
    }
    let engine = ConfiguredEngine::of(&config)?;
    let client = client::base(&config.kafka, ClientSide::Common)?;
    let (prefix, session_id) = (config.kafka.topic_prefix.as_ref().to_owned(), options.session.clone());
    let deadline = Instant::now() + timeout;
    let searched = tokio::task::spawn_blocking(move || {
        let search = SessionSearch { client: &client, prefix: &prefix, session_id: &session_id, since, deadline };
        search.run(&SessionTopic::ALL)
    });
    let mut searched = searched.await?.context("the topics cannot be read")?;
    let records = searched.iter_mut().flat_map(|topic| {
        let which = topic.which;
        std::mem::take(&mut topic.records).into_iter().map(move |record| (which, record))
    });
    let mut records: Vec<SessionRecord> =
        records.map(|(which, record)| SessionRecord::read(which, record, &engine.verifiers)).collect();
    let complaints: Vec<String> = searched.iter().filter_map(SearchedTopic::complaint).collect();
    for complaint in &complaints {
        tell(complaint);
    }
    if !config.confirmation.enabled && searched.iter().any(|topic| topic.read == SearchResult::Missing) {
        tell(
            "confirmation.enabled is false in this configuration: use the engine's, which has these topics and its rules",
        );
    }
    let source = match owner::of(&records, options.source.as_deref()) {
        Owner::One(source) => source,
        Owner::Nobody => {
            tell(&nothing_found(&options, &searched, since));
            return Ok(ExitCode::FAILURE);
        }
        Owner::Several(sources) => {
            let sources = sources.into_iter().collect::<Vec<_>>().join(", ");
            let problem =
                format!("several sources have a session `{}`: choose with --source: {sources}", options.session);
            return Err(WrongUsage(problem).into());
        }
    };
    records.retain(|record| record.is_of(&source));
    let story = SessionStory::tell(&source, &options.session, &records, &engine, searched, Timestamp::now());
    print(&if options.json { format!("{}\n", serde_json::to_string_pretty(&story)?) } else { story.to_string() })?;
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Since when, and for how long, if the arguments can be used.
fn usable(options: &WhyOptions) -> Result<(Timestamp, Duration), WrongUsage> {
    let length = options.session.len();
    if length == 0 || length > SESSION_ID_BYTES_MAX {
        return Err(WrongUsage(format!("SESSION must have 1 to {SESSION_ID_BYTES_MAX} bytes")));
    }
    if options.since.is_negative() || options.since > SINCE_MAX {
        return Err(WrongUsage("--since must be from 0 to 10 years: write it as 24h".to_owned()));
    }
    let timeout = Duration::try_from(options.timeout).ok().filter(|timeout| !timeout.is_zero());
    let timeout = timeout.filter(|timeout| *timeout <= Duration::from_hours(24));
    let timeout = timeout.ok_or_else(|| {
        WrongUsage("--timeout must be more than 0 and at most 24 hours: write it as 60s or 5m".to_owned())
    })?;
    Ok((Timestamp::now().saturating_sub(options.since).unwrap_or(Timestamp::UNIX_EPOCH), timeout))
}

fn nothing_found(options: &WhyOptions, searched: &[SearchedTopic], since: Timestamp) -> String {
    let place = |topic: &SearchedTopic| match topic.partition {
        Some(partition) => format!("\n  {}, partition {partition}", topic.topic),
        None => format!("\n  {}: not read", topic.topic),
    };
    let of = options.source.as_ref().map(|source| format!(" of source {source}")).unwrap_or_default();
    format!(
        "no record of session {}{of} since {since:.0}. Read were, by the partition that the session's id gives:{}\n\
         Compare the id with `metadata.subject` of its event; look further back with --since; see that kafka.topic_prefix and \
         kafka.bootstrap_servers are those of the engine",
        options.session,
        searched.iter().map(place).collect::<String>()
    )
}
