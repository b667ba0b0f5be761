//! The commands: one binary, a file a command. Exit code 0 is good, 1 a problem found or met, 2 wrong usage.
//! Must not hold what a command does beyond talking to its user.

pub mod run;
pub mod send;
pub mod sender;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Log, LogFormat};

/// Takes payment providers' webhooks, proves them, and puts them on Kafka as protobuf messages.
#[derive(Parser)]
#[command(name = "paybridge", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon. With Kafka away it stays up, not ready, and answers 503.
    #[command(after_help = "Example:\n  paybridge run --config config/local.toml")]
    Run(ConfigFile),
    /// Send a correctly signed sample webhook to a running bridge.
    #[command(
        after_help = "Example:\n  paybridge send sg-main ready-to-confirm --signing-key own.pem --config config/local.toml"
    )]
    Send {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        arguments: send::SendArguments,
    },
}

/// Where the configuration is.
#[derive(Args, Clone)]
pub struct ConfigFile {
    /// The configuration file; without one, defaults and the environment alone count.
    #[arg(long, env = "PAYBRIDGE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The environment, as pairs of name and value.
pub type Environment = Vec<(String, String)>;

impl ConfigFile {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self, environment: &Environment) -> anyhow::Result<Config> {
        Ok(Config::load(self.config.as_deref(), environment.iter().cloned())?)
    }
}

/// Runs the command that the arguments name.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; clap knows which stream and code is right.
            let _printed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let environment: Environment = environment.into_iter().collect();
    match run_command(arguments.command, &environment) {
        Ok(code) => code,
        Err(error) => {
            let _told = writeln!(std::io::stderr(), "paybridge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_command(command: Command, environment: &Environment) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        match command {
            Command::Run(file) => run::run(file.load(environment)?).await,
            Command::Send { file, arguments } => send::send(&file.load(environment)?, &arguments).await,
        }
    });
    // Dropping it would wait for whatever still asks Kafka, for seconds.
    runtime.shutdown_background();
    ended
}

/// Sends log lines to standard error, as the configuration says.
pub fn start_logging(log: &Log) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(format!("{level},rdkafka=warn,librdkafka=error", level = log.level.as_str()))
        .with_writer(std::io::stderr);
    // A second start in one process keeps the first.
    let _started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        LogFormat::Text => builder.with_target(false).try_init(),
    };
}

/// Cancelled by SIGTERM or SIGINT.
///
/// # Errors
/// The signals cannot be listened to.
pub fn stop_on_signal() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
    });
    Ok(stop)
}
