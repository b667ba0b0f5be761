//! The texts of the demonstration between its steps: what it is, what comes next, how to take part, and the tables at the end.
//! Must not decide anything.

use std::fmt::Write;

use super::DemoResult;
use super::cluster::DemoCluster;
use super::commands::Commands;
use super::providers::Example;
use super::session_counts::SessionCount;
use super::sessions::{Scenario, UNDECIDED_S};
use super::setup::{DEADLINE_S, RULES, Setup};
use super::webhook_counts::WebhookCounts;
use crate::cli::line_style::{ATTENTION, BAD, FAINT, GOOD, STRONG};

/// What the demonstration is, where its parts are, and how to read its lines.
pub fn introduction(cluster: &DemoCluster, setup: &Setup) -> String {
    let rules = RULES.map(|(name, words)| format!("  rule \"{name}\": {words}\n")).concat();
    format!(
        "{STRONG}paybridge takes webhooks of payment providers, checks that they are authentic, and puts them on Kafka as typed events.{STRONG:#}\n\
         {STRONG}Where a provider waits for the merchant to confirm a payment, it decides, and calls the provider.{STRONG:#}\n\
         This demonstration is the whole of it in one process; the providers are simulated.\n\n\
         {}\
         Webhooks       http://{}\n\
         Metrics        curl -s http://{}/metrics\n\
         Configuration  {}\n\n\
         One line is one step. Time, session or payment, and what happened:\n\
         \x20 webhook   a provider sends it, and gets its answer once Kafka has stored the event\n\
         \x20 record    the event on its topic, decoded\n\
         \x20 decision  somebody decides on a session, by a record on a topic\n\
         \x20 call      paybridge asks the provider to confirm or cancel, and the provider answers\n\
         \x20 outcome   who decided what, and what came of it: a record too\n\
         {GOOD}Green{GOOD:#}: it went well. {ATTENTION}Yellow{ATTENTION:#}: it waits, or came twice. \
         {BAD}Red{BAD:#}: it was refused.\n\n\
         A session that waits is decided by the first of these:\n\
         {rules}\
         \x20 a decision of another team, or yours\n\
         \x20 the deadline, {} minutes after it began (in production hours) → cancel\n\n\
         {FAINT}The story begins in some seconds: Kafka lets a new consumer group wait for its members.{FAINT:#}\n",
        kafka(cluster),
        setup.config.ingress.listen,
        setup.config.admin.listen,
        setup.config_file.display(),
        DEADLINE_S / 60,
    )
}

/// Says loudly what kind of Kafka this is.
fn kafka(cluster: &DemoCluster) -> String {
    match cluster {
        DemoCluster::Mock { bootstrap_servers, .. } => format!(
            "Kafka          {bootstrap_servers}, {ATTENTION}in memory: nothing survives, and transactions are not real.{ATTENTION:#}\n\
             {FAINT}               It shows that each session gets one decision. It cannot show that a crash does not change that.\n\
             \x20              --kafka HOST:PORT uses yours.{FAINT:#}\n"
        ),
        DemoCluster::Real { bootstrap_servers } => format!("Kafka          {bootstrap_servers}\n"),
    }
}

/// What can be sent while the story is told.
pub fn first_example(examples: &[Example]) -> Option<String> {
    let shortest = examples.iter().min_by_key(|example| example.command.len())?;
    Some(format!(
        "Send a webhook yourself at any time. The first time it is accepted, the second time it is a duplicate.\n\
         At the end of the story, in about a minute, there is one of each provider.\n\n{}",
        example(shortest).trim_end()
    ))
}

/// What will become of a session.
pub fn scenario(id: &str, scenario: Scenario) -> String {
    let amount = dollars(scenario);
    heading(&match scenario {
        Scenario::SmallPayout => format!("{id}: a payout of {amount}. A rule confirms it."),
        Scenario::LargePayout => format!("{id}: a payout of {amount}. A rule cancels it."),
        Scenario::NobodyDecides => format!(
            "{id}: a payout of {amount}. No rule is for it, and nobody decides: its deadline, in {UNDECIDED_S} s, cancels it."
        ),
        Scenario::TeamConfirms => format!("{id}: a payout of {amount}. No rule is for it. The risk team confirms it."),
        Scenario::TeamCancels => format!("{id}: a payout of {amount}. No rule is for it. The risk team cancels it."),
        Scenario::Refused => format!("{id}: a payout of {amount}. A rule confirms it, but the provider refuses."),
        Scenario::ForYou => format!("{id}: a payout of {amount}. No rule is for it. It waits for you."),
    })
}

/// The watcher's session, with the command that decides on it.
pub fn for_you(id: &str, source: &str, commands: &Commands) -> String {
    format!(
        "{}\nConfirm it, or cancel it, in another terminal:\n\n{}\n",
        scenario(id, Scenario::ForYou),
        decide(commands, source, id)
    )
}

fn decide(commands: &Commands, source: &str, id: &str) -> String {
    commands.line(&["decide", source, id, "confirm", "--reason", "I know the customer"])
}

fn dollars(scenario: Scenario) -> String {
    let cents = scenario.cents();
    format!("{}.{:02} USD", cents / 100, cents % 100)
}

/// A line that says what comes next.
pub fn heading(text: &str) -> String {
    format!("\n{STRONG}{text}{STRONG:#}")
}

/// How to take part, once the story is told.
pub fn your_turn(examples: &[Example], (id, source): (&str, &str), commands: &Commands) -> String {
    let mut text = format!(
        "{}\nThe demo goes on until Ctrl-C, or until its --duration is over, and shows what you do. Use another terminal.\n\n\
         {STRONG}1. Send a webhook.{STRONG:#} Each was sent once just now, with the answer below it. Send it again: it is a duplicate.\n\
         Change a letter of its body: it is answered 401.\n\n",
        heading("The story is told. Now it is your turn.")
    );
    for one in examples {
        // Writing to a text does not fail.
        let _written = writeln!(text, "{}", example(one));
    }
    let send = commands.line(&["send", "unipaas-demo", "payout-update"]);
    let tail = commands.line(&["tail", "--no-follow", "--format", "short"]);
    let _written = writeln!(
        text,
        "{STRONG}2. Send a new webhook, correctly signed.{STRONG:#}\n\n{send}\n\n\
         {STRONG}3. See all records.{STRONG:#} With --format json: all that is in them.\n\n{tail}\n\n\
         {STRONG}4. Decide on {id}{STRONG:#}, which waits for you. When it is decided, another one comes.\n\n{}\n",
        decide(commands, source, id)
    );
    text
}

fn example(example: &Example) -> String {
    let Example { provider, command, answered } = example;
    let answer = answered.as_ref().map(|answered| {
        let style = if answered.status.is_success() { GOOD } else { BAD };
        format!("{style}→ {} {}{style:#}\n", answered.status.as_u16(), answered.body)
    });
    format!("{FAINT}# {provider}{FAINT:#}\n{command}\n{}", answer.unwrap_or_default())
}

/// What is waited for at the end.
pub fn waiting() -> String {
    heading("No more is sent. What is open comes to its end, then come the tables. Ctrl-C again skips the wait.")
}

/// The tables at the end, and the result.
pub fn tables(counts: &WebhookCounts, session_counts: &[(String, SessionCount)], result: DemoResult) -> String {
    let rows = counts.rows();
    let names = rows.iter().map(|(name, _)| name).chain(session_counts.iter().map(|(name, _)| name));
    let width = names.map(String::len).max().unwrap_or_default();
    let mut text =
        format!("\n{STRONG}{:width$} {:>6} {:>13} {:>6}{STRONG:#}\n", "topic", "sent", "acknowledged", "seen");
    for (name, row) in &rows {
        let seen = row.seen.map_or_else(|| "-".to_owned(), |seen| seen.to_string());
        let style = if row.is_complete() { GOOD } else { BAD };
        let _written =
            writeln!(text, "{style}{name:width$} {:>6} {:>13} {seen:>6}{style:#}", row.sent, row.acknowledged);
    }
    let _written =
        writeln!(text, "\n{STRONG}{:width$} {:>6} {:>20}{STRONG:#}", "sessions", "told", "so at the provider");
    for (name, row) in session_counts {
        let style = if row.agrees() { GOOD } else { BAD };
        let _written = writeln!(text, "{style}{name:width$} {:>6} {:>20}{style:#}", row.told, row.applied);
    }
    text + &format!("{STRONG}{}{STRONG:#}", result.as_str())
}
