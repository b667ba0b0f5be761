//! The whole story of one session, for people and for programs. Must not know Kafka.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::configured_engine::ConfiguredEngine;
use super::current_state::{CurrentState, StateReader};
use super::session_record::SessionRecord;
use super::step::{StepWriter, StoryStep, order};
use crate::cli::session_search::SearchedTopic;
use crate::short_line::printable;

/// What a step's details are indented by.
const INDENT: usize = 26;
/// The width of a detail's name.
const NAME: usize = 14;

/// The story of one session.
#[derive(Debug, Serialize)]
pub(super) struct SessionStory {
    source: String,
    session_id: String,
    #[serde(flatten)]
    current: CurrentState,
    steps: Vec<StoryStep>,
    read: Vec<SearchedTopic>,
}

impl SessionStory {
    /// Tells it by the session's records.
    pub(super) fn tell(
        source: &str,
        session_id: &str,
        records: &[SessionRecord],
        engine: &ConfiguredEngine,
        read: Vec<SearchedTopic>,
        now: Timestamp,
    ) -> Self {
        let mut records = records.to_vec();
        records.sort_by_key(order);
        let current = StateReader { source, session_id, records: &records, engine, now }.read();
        let mut writer = StepWriter { source, engine, ledger: None };
        let steps = records.iter().map(|record| writer.step(record)).collect();
        Self { source: source.to_owned(), session_id: session_id.to_owned(), current, steps, read }
    }
}

impl fmt::Display for SessionStory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "session {} of source {}", printable(&self.session_id), self.source)?;
        writeln!(f, "  {}", printable(&self.current.summary))?;
        for next in &self.current.next {
            writeln!(f, "  {next}")?;
        }
        for step in &self.steps {
            write!(f, "\n{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for StoryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:INDENT$}{}", self.time.as_deref().unwrap_or("(no time)"), printable(&self.what))?;
        for (name, text) in &self.details {
            writeln!(f, "{:INDENT$}{name:NAME$}{}", "", printable(text))?;
        }
        if let Some(rules) = &self.rules {
            writeln!(f, "{:INDENT$}{:NAME$}with today's rules of this configuration: {}", "", "rules", rules.because)?;
            for tried in &rules.tried {
                writeln!(f, "{:INDENT$}{:NAME$}{tried}", "", "")?;
            }
        }
        let Self { topic, partition, offset, .. } = self;
        writeln!(f, "{:INDENT$}{:NAME$}{topic}, partition {partition}, offset {offset}", "", "record")
    }
}
