//! `paybridge run`: the daemon until SIGTERM or SIGINT.

use std::path::Path;
use std::process::ExitCode;

use crate::app::{self, Listeners};
use crate::config::{Config, IgnoredVariable};
use crate::kafka::broker_clock::Broker;

/// Runs the daemon.
///
/// # Errors
/// An address cannot be bound, a part cannot be made, or one ended by itself.
pub async fn run(config: Config, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    super::start_logging(&config.log);
    if let Some(file) = file {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        tracing::info!(file = %file.display(), "configuration read");
    } else {
        tracing::info!("no configuration file is given; defaults and the environment are used");
    }
    for IgnoredVariable { name, instead } in &config.ignored_variables {
        tracing::warn!(
            variable = name,
            instead,
            "environment variable is ignored: its name needs two underscores between levels"
        );
    }
    let stop = super::stop_on_signal()?;
    let listeners = Listeners::bind(&config).await?;
    app::serve(config, listeners, Broker::Stamps, stop).await?;
    Ok(ExitCode::SUCCESS)
}
