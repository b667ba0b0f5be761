//! The commands: one binary, a file a command. Exit code 0 is good, 1 a problem found or met, 2 wrong usage.
//! Must not hold what a command does beyond talking to its user.

pub mod check;
mod closed_output;
pub mod decide;
pub mod demo;
mod line_style;
mod progress;
pub mod protos;
pub mod quarantine;
pub mod run;
pub mod send;
pub mod sender;
pub mod session_search;
pub mod spool;
pub mod tail;
pub mod topics;
pub mod verify;
pub mod why;

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, IgnoredVariable, Log, LogFormat, LogLevel};
use crate::settings::{ConfigErrors, suggestion};

/// Exit code for wrong usage, as clap has it.
const WRONG_USAGE: u8 = 2;
/// How long the end waits for threads that block.
const BLOCKED_WITHIN: Duration = Duration::from_secs(1);

/// Receives payment providers' webhooks, authenticates them, and publishes them on Kafka as protobuf messages.
#[derive(Parser)]
#[command(name = "paybridge", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon. While Kafka is away it keeps running, and answers 503.
    #[command(after_help = "Example:\n  paybridge run --config config/local.toml")]
    Run(ConfigFile),
    /// Show the whole system in one process: an in-memory Kafka, the daemon, simulated providers, and a team that decides.
    #[command(after_help = demo::EXAMPLE)]
    Demo(demo::DemoArguments),
    /// Send correctly signed sample webhooks to a running daemon.
    #[command(after_help = send::examples_and_events())]
    Send {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        arguments: send::SendArguments,
    },
    /// Check configuration, key files, Kafka, topics and permissions, and say how to fix each problem.
    #[command(after_help = check::EXAMPLE)]
    Check(check::CheckOptions),
    /// List the topics that this configuration needs, and say which of them are missing. Create those with `--create`.
    #[command(after_help = topics::EXAMPLE)]
    Topics(topics::TopicsOptions),
    /// Print decoded events as they arrive: short lines for people, or one JSON object per line.
    #[command(after_help = tail::EXAMPLE)]
    Tail(tail::TailOptions),
    /// Decide on a session that waits for confirmation: write a decision, and wait for the outcome.
    #[command(after_help = decide::EXAMPLE)]
    Decide(decide::DecideOptions),
    /// Tell the whole story of one session, from its topics: who or what decided, when and why, and what comes next.
    #[command(after_help = why::EXAMPLE)]
    Why(why::WhyOptions),
    /// Look into webhooks that became no event, and after a fix release them.
    #[command(after_help = quarantine::EXAMPLE)]
    Quarantine {
        #[command(subcommand)]
        command: quarantine::QuarantineCommand,
    },
    /// Look into the disk spool, or publish what is left in the folder of a daemon that is gone.
    #[command(after_help = spool::EXAMPLE)]
    Spool {
        #[command(subcommand)]
        command: spool::SpoolCommand,
    },
    /// Authenticate one webhook from files, and say step by step what was found: for a sender that is answered 401.
    #[command(after_help = verify::EXAMPLE)]
    Verify(verify::VerifyOptions),
    /// Write the protobuf messages of this version, for programs that read its topics.
    #[command(after_help = protos::EXAMPLE)]
    Protos(protos::ProtosOptions),
}

/// The user asks for something that cannot be, whatever Kafka says: the exit code is 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub String);

impl WrongUsage {
    /// The configuration does not have the source.
    fn unknown_source(config: &Config, name: &str) -> Self {
        let names: Vec<&str> = config.sources.keys().map(AsRef::as_ref).collect();
        Self(match names.as_slice() {
            [] => format!("there is no source `{name}`, for this configuration has none: give its file with --config"),
            names => format!("there is no source `{name}`: {}", suggestion(name, names)),
        })
    }
}

/// Where the configuration is.
#[derive(Args, Clone)]
pub struct ConfigFile {
    /// The configuration file. Without it, only defaults and environment variables count.
    #[arg(long, env = "PAYBRIDGE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The environment, as pairs of name and value.
pub type Environment = Vec<(String, String)>;

impl ConfigFile {
    /// Reads the configuration, and says on standard error which variables of the environment set nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self, environment: &Environment) -> anyhow::Result<Config> {
        let config = self.read(environment)?;
        for IgnoredVariable { name, instead } in &config.ignored_variables {
            tell(&format!("environment variable {name} is ignored: did you mean {instead}?"));
        }
        Ok(config)
    }

    /// Reads the configuration, each problem by itself.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self, environment: &Environment) -> Result<Config, ConfigErrors> {
        Config::load(self.config.as_deref(), environment.iter().cloned())
    }
}

/// Runs the command that the arguments name.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let called_as = arguments.first().cloned().unwrap_or_else(|| OsString::from("paybridge"));
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; clap knows which stream and code is right.
            let _printed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE));
        }
    };
    let ended = readable(environment).and_then(|environment| run_command(arguments.command, &called_as, &environment));
    match ended {
        Ok(code) => code,
        Err(error) => {
            let _told = writeln!(std::io::stderr(), "paybridge: {error:#}");
            if error.is::<WrongUsage>() { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// The variables that are text. One of ours that is not stops the command; others are not ours to judge.
fn readable(variables: impl IntoIterator<Item = (OsString, OsString)>) -> anyhow::Result<Environment> {
    let mut environment = Environment::new();
    for (name, value) in variables {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => environment.push((name, value)),
            (Ok(name), Err(_)) if name.starts_with("PAYBRIDGE_") => {
                anyhow::bail!("the value of the environment variable {name} is not UTF-8")
            }
            _ => {}
        }
    }
    Ok(environment)
}

fn run_command(command: Command, called_as: &OsStr, environment: &Environment) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        match command {
            Command::Run(file) => run::run(file.read(environment)?, file.config.as_deref()).await,
            Command::Demo(arguments) => demo::demo(arguments, called_as).await,
            Command::Send { file, arguments } => or_stopped(send::send(&file.load(environment)?, &arguments)).await,
            Command::Check(options) => or_stopped(check::run(&options, environment)).await,
            Command::Topics(options) => or_stopped(topics::run(&options, environment)).await,
            Command::Tail(options) => tail::run(options, environment).await,
            Command::Decide(options) => or_stopped(decide::run(options, environment)).await,
            Command::Why(options) => or_stopped(why::run(options, environment)).await,
            Command::Quarantine { command } => quarantine::run(command, environment).await,
            Command::Spool { command } => spool::run(command, environment).await,
            Command::Verify(options) => verify::run(&options, environment),
            Command::Protos(options) => protos::run(&options),
        }
    });
    // A thread that still blocks, on Kafka or on a full pipe, has nothing left to do.
    runtime.shutdown_timeout(BLOCKED_WITHIN);
    ended
}

/// A command that has nothing to end in order. It must hear the signals all the same: as the first process of a container
/// it is not ended by those that it does not handle.
async fn or_stopped(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signal()?;
    tokio::select! {
        ended = command => ended,
        () = stop.cancelled() => Err(anyhow::anyhow!("stopped by a signal before it was done")),
    }
}

/// Writes to standard output. A reader that has gone (`| head`) has seen enough: that is no error.
///
/// # Errors
/// The output cannot be written.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says something beside the output, on standard error.
pub fn tell(text: &str) {
    let _told = writeln!(std::io::stderr(), "paybridge: {text}");
}

/// Sends log lines to standard error, as the configuration says.
pub fn start_logging(log: &Log) {
    let level = log.level.as_str();
    // Its lines about single connections are debug lines (`kafka::client_log`), and its own debug lines are never switched on.
    let of_librdkafka = if matches!(log.level, LogLevel::Debug | LogLevel::Trace) { "debug" } else { "warn" };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(format!("{level},rdkafka=warn,librdkafka={of_librdkafka}"))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // Told on standard error itself, whose failure would then be a panic, on librdkafka's thread for one.
        .log_internal_errors(false);
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
