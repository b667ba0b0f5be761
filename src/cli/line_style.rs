//! How a record's short line looks on a terminal: columns, and colours that mean something. Who prints it through
//! `anstream` has no colours where nobody would see them, or with `NO_COLOR`.
//! Must not know what a record means.

use anstyle::{AnsiColor, Style};

use crate::short_line::{Phrase, ShortLine, Tone};

/// What the eye follows from line to line: a session's or payment's id.
pub const STRONG: Style = Style::new().bold();
/// What is there for those who look for it.
pub const FAINT: Style = Style::new().dimmed();
/// Where a record is.
pub const TOPIC: Style = AnsiColor::Cyan.on_default();
/// It went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// It failed, or was refused.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// It waits, came twice, or should be looked at.
pub const ATTENTION: Style = AnsiColor::Yellow.on_default();

/// Columns of a topic's name without prefix and version; a longer one moves the rest of its line.
pub const TOPIC_COLUMNS: usize = 34;
/// Columns of a subject.
const SUBJECT_COLUMNS: usize = 20;

/// A whole line: time, topic, subject, and what the record says.
pub fn whole(line: &ShortLine) -> String {
    let ShortLine { time, topic, subject, phrases } = line;
    let text = text(phrases);
    format!(
        "{FAINT}{time:<20}{FAINT:#}  {TOPIC}{topic:<TOPIC_COLUMNS$}{TOPIC:#}  \
         {STRONG}{subject:<SUBJECT_COLUMNS$}{STRONG:#}  {text}"
    )
}

/// What a record says, each phrase in its colour.
pub fn text(phrases: &[Phrase]) -> String {
    let styled = |phrase: &Phrase| {
        let style = of(phrase.tone);
        format!("{style}{}{style:#}", phrase.text)
    };
    phrases.iter().map(styled).collect::<Vec<_>>().join("  ")
}

fn of(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => GOOD,
        Tone::Attention => ATTENTION,
        Tone::Bad => BAD,
    }
}
