//! `paybridge quarantine`: looks into the topics of webhooks that became no event, and after a fix puts them through again.
//! Must not know what becomes of a record, nor how it is released.

mod filter_arguments;
mod list;
mod release;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::{Environment, or_stopped};
use crate::release::reading::ChunkBounds;

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge quarantine list --since 2h --config config/local.toml\n  \
                           paybridge quarantine show quarantine/0/41\n  \
                           paybridge quarantine release --source sg-main\n  \
                           paybridge quarantine release --source sg-main --yes --reason 'new key'\n\n\
                           After a fix: look with `list`, try with `release`, which changes nothing, then add `--yes`.";

/// How long Kafka may take until reading begins.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How long the markers of releases are read at most.
const MARKERS_WITHIN: Duration = Duration::from_mins(5);
/// How much is read, and then published and marked, together at most.
const CHUNK: ChunkBounds = ChunkBounds { records_max: 1000, bytes_max: 8 * 1024 * 1024 };

/// What to do.
#[derive(Subcommand)]
pub enum QuarantineCommand {
    /// List the records, newest first, and count them by source and reason.
    #[command(after_help = list::EXAMPLE)]
    List(list::ListOptions),
    /// Show records: metadata, headers, and what is wrong with them.
    #[command(after_help = show::EXAMPLE)]
    Show(show::ShowOptions),
    /// Say what would become of the records now. With `--yes`, publish their events.
    #[command(after_help = release::EXAMPLE)]
    Release(release::ReleaseOptions),
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HeldFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Does it.
///
/// # Errors
/// The configuration cannot be used, Kafka does not answer, or the output cannot be written.
pub async fn run(command: QuarantineCommand, environment: &Environment) -> anyhow::Result<ExitCode> {
    match command {
        QuarantineCommand::List(options) => or_stopped(list::run(options, environment)).await,
        QuarantineCommand::Show(options) => or_stopped(show::run(options, environment)).await,
        QuarantineCommand::Release(options) => release::run(options, environment).await,
    }
}
