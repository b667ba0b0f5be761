//! Prints the demonstration: a short line a step, in the order in which the steps happened, at a pace that a person can
//! follow; or, for programs, the records alone as JSON. Must not know what a step means.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cli::line_style::{ATTENTION, FAINT, STRONG};

/// Steps come from several threads, and records are seen after they were made: so long a step waits for one that happened
/// before it.
const SETTLE: Duration = Duration::from_millis(400);
/// Texts that wait to be printed at most: beyond it they are printed without a pause.
const WAITING_MAX: usize = 64;

/// What is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoFormat {
    /// Every step in a short line, for people; everything else between them.
    Steps,
    /// Every record as `paybridge tail` prints it, for programs; everything else is on standard error.
    Json,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// A provider sent a webhook, and was answered.
    Webhook,
    /// A record is on its topic.
    Record,
    /// The provider was asked to confirm or cancel a session, and answered.
    Call,
    /// Somebody decided on a session.
    Decision,
    /// What became of a session.
    Outcome,
}

/// One thing that happened.
pub struct Step<'a> {
    /// When it began.
    pub at: Instant,
    /// The session or payment, where it is known.
    pub subject: &'a str,
    /// What happened.
    pub kind: StepKind,
    /// The rest of its line.
    pub text: String,
}

/// Takes what is to be printed; a clone for everybody who has something to tell.
#[derive(Clone)]
pub struct StepPrinter {
    /// What is printed.
    pub format: DemoFormat,
    begun: Instant,
    subject_columns: usize,
    queue: Sender<Queued>,
}

enum Queued {
    Text { at: Instant, text: String },
    End,
}

/// What was taken and is not printed yet.
pub struct StepQueue {
    format: DemoFormat,
    gap: Duration,
    stop: CancellationToken,
    queue: Receiver<Queued>,
}

impl StepPrinter {
    /// A printer with subjects of so many columns, and the queue that has to be printed meanwhile, a text each `gap` at most.
    /// `stop` is cancelled when nobody reads any more.
    pub fn new(
        format: DemoFormat,
        subject_columns: usize,
        gap: Duration,
        stop: CancellationToken,
    ) -> (Self, StepQueue) {
        let (sender, receiver) = channel(WAITING_MAX);
        let printer = Self { format, begun: Instant::now(), subject_columns, queue: sender };
        (printer, StepQueue { format, gap, stop, queue: receiver })
    }

    /// A step.
    pub async fn step(&self, step: &Step<'_>) {
        if let Some(queued) = self.line(step) {
            // The queue ends after everybody else.
            let _taken = self.queue.send(queued).await;
        }
    }

    /// The same, from a thread that may block.
    pub fn blocking_step(&self, step: &Step<'_>) {
        if let Some(queued) = self.line(step) {
            let _taken = self.queue.blocking_send(queued);
        }
    }

    /// The same, from where nothing may wait: what does not fit is not printed.
    pub fn try_step(&self, step: &Step<'_>) {
        if let Some(queued) = self.line(step) {
            let _taken = self.queue.try_send(queued);
        }
    }

    /// Text between the steps.
    pub async fn say(&self, text: impl Into<String>) {
        let _taken = self.queue.send(Queued::Text { at: Instant::now(), text: text.into() }).await;
    }

    /// A record as JSON, where that is wanted.
    pub fn json(&self, record: &impl Serialize) {
        if self.format == DemoFormat::Json {
            let line = serde_json::to_string(record).unwrap_or_default();
            // A reader that has gone is no reason for the records not to be counted.
            let _written = writeln!(io::stdout(), "{line}");
        }
    }

    /// Nothing more comes.
    pub async fn end(&self) {
        let _taken = self.queue.send(Queued::End).await;
    }

    fn line(&self, step: &Step<'_>) -> Option<Queued> {
        let Step { at, subject, kind, text } = step;
        let seconds = at.saturating_duration_since(self.begun).as_secs();
        let (minutes, seconds, width, style) = (seconds / 60, seconds % 60, self.subject_columns, kind.style());
        let subject = cut(subject, width);
        let text = format!(
            "{FAINT}{minutes}:{seconds:02}{FAINT:#}  {STRONG}{subject:<width$}{STRONG:#}  {style}{:<8}{style:#}  {text}",
            kind.as_str()
        );
        (self.format == DemoFormat::Steps).then_some(Queued::Text { at: *at, text })
    }
}

/// A subject that is too long for its column, such as another kind of key, would move the rest of its line.
fn cut(subject: &str, columns: usize) -> String {
    if subject.chars().count() <= columns {
        return subject.to_owned();
    }
    subject.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

impl StepQueue {
    /// Prints until the end.
    pub async fn print(mut self) {
        let mut waiting: BTreeMap<(Instant, u64), String> = BTreeMap::new();
        let (mut number, mut next_at): (u64, Instant) = (0, Instant::now());
        loop {
            if waiting.len() >= WAITING_MAX
                && let Some((_, text)) = waiting.pop_first()
            {
                self.write(&text);
            }
            let due = waiting.first_key_value().map(|((at, _), _)| (*at + SETTLE).max(next_at));
            let received = match due {
                Some(due) => timeout_at(due, self.queue.recv()).await,
                None => Ok(self.queue.recv().await),
            };
            match received {
                Ok(Some(Queued::Text { at, text })) => {
                    number += 1;
                    waiting.insert((at, number), text);
                }
                Ok(Some(Queued::End) | None) => break,
                Err(_due) => {
                    if let Some((_, text)) = waiting.pop_first() {
                        self.write(&text);
                    }
                    next_at = Instant::now() + self.gap;
                }
            }
        }
        for text in waiting.into_values() {
            self.write(&text);
        }
    }

    fn write(&self, text: &str) {
        // anstream takes the colours out where the output is no terminal, and with NO_COLOR
        let written = match self.format {
            DemoFormat::Steps => writeln!(anstream::stdout(), "{text}"),
            DemoFormat::Json => writeln!(anstream::stderr(), "{text}"),
        };
        if written.is_err() {
            self.stop.cancel();
        }
    }
}

impl StepKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Record => "record",
            Self::Call => "call",
            Self::Decision => "decision",
            Self::Outcome => "outcome",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Webhook => AnsiColor::Blue.on_default(),
            Self::Record => AnsiColor::Cyan.on_default(),
            Self::Call => AnsiColor::Magenta.on_default(),
            Self::Decision => ATTENTION,
            Self::Outcome => STRONG,
        }
    }
}
