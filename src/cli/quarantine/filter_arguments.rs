//! The filters of the commands on held records, as arguments. Must not know what is done with the records.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::kafka::present_records::RecordPeriod;
use crate::release::filter::HeldFilter;
use crate::release::held::HeldTopic;

/// Which records are meant.
#[derive(Args)]
pub(super) struct FilterArguments {
    /// The topic to look through; may be repeated. Default: quarantine.
    #[arg(long, value_name = "TOPIC", value_parser = topics())]
    pub(super) from: Vec<HeldTopic>,
    /// Only records of this source.
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Only records since this time: RFC 3339, or an age such as `2h` or `3d`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only records before this time: RFC 3339, or an age such as `30m`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only records with this event id.
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
}

impl FilterArguments {
    /// The filter of these arguments and a reason.
    pub(super) fn filter(self, reason: Option<String>) -> HeldFilter {
        let Self { from, source, since, until, event_id } = self;
        HeldFilter { from, source, reason, period: RecordPeriod { since, until }, event_id }
    }
}

/// Reads the name of a topic.
pub(super) fn topics() -> impl TypedValueParser<Value = HeldTopic> {
    PossibleValuesParser::new(HeldTopic::ALL.map(HeldTopic::as_str))
        .try_map(|name| HeldTopic::parse(&name).ok_or("no such topic"))
}

/// A time, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    moment_at(text, Timestamp::now())
}

fn moment_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let problem = || "write a time as 2026-01-02T03:04:05Z, or an age as 30m, 2h or 3d".to_owned();
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let age: Span = text.parse().map_err(|_| problem())?;
    let age = age.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| problem())?;
    if age.is_negative() { Err(problem()) } else { now.checked_sub(age).map_err(|_| problem()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_ages() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05+02:00", Some("2026-01-02T01:04:05Z")),
            ("2h", Some("2026-01-10T10:00:00Z")),
            ("3d", Some("2026-01-07T12:00:00Z")),
            ("1d 30m", Some("2026-01-09T11:30:00Z")),
            ("2026-01-02", None),
            ("-2h", None),
            ("soon", None),
            ("", None),
        ] {
            let told = moment_at(text, now).ok().map(|moment| moment.to_string());
            assert_eq!(told.as_deref(), expected, "{text}");
        }
    }
}
