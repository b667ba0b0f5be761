//! Changes of the time of the attempt: another present, another text with the old signature, and odd texts that are signed.

use super::super::sender::{Sender, Stamp};
use super::super::webhook::Webhook;
use super::{Kind, Right, kind, twice};

/// Seconds.
const TOLERANCE: i64 = 300;
const DAY: i64 = 86_400;

pub static KINDS: [Kind; 43] = [
    kind("as old as may be", |sender, webhook, _| received(sender, webhook, TOLERANCE)),
    kind("too old by a second", |sender, webhook, _| received(sender, webhook, TOLERANCE + 1)),
    kind("a day old", |sender, webhook, _| received(sender, webhook, DAY)),
    kind("as far in the future as may be", |sender, webhook, _| received(sender, webhook, -TOLERANCE)),
    kind("too far in the future by a second", |sender, webhook, _| received(sender, webhook, -TOLERANCE - 1)),
    kind("a day in the future", |sender, webhook, _| received(sender, webhook, -DAY)),
    kind("no time", |sender, webhook, _| {
        match sender.stamp {
            Stamp::None => return None,
            Stamp::Header(name) => webhook.headers.retain(|(other, _)| other != name),
            Stamp::InList => {
                let value = webhook.value(sender.header);
                *value = value.split_once(',')?.1.to_owned();
            }
        }
        Some(())
    }),
    kind("the time of the next second", |sender, webhook, _| {
        let next = webhook.at + 1;
        unsigned(sender, webhook, |_| next.to_string())
    }),
    kind("an empty time", |sender, webhook, _| unsigned(sender, webhook, |_| String::new())),
    kind("a time in milliseconds", |sender, webhook, _| unsigned(sender, webhook, |stamp| format!("{stamp}000"))),
    kind("a zero before the time", |sender, webhook, _| unsigned(sender, webhook, |stamp| format!("0{stamp}"))),
    kind("a plus before the time", |sender, webhook, _| unsigned(sender, webhook, |stamp| format!("+{stamp}"))),
    kind("a minus before the time", |sender, webhook, _| unsigned(sender, webhook, |stamp| format!("-{stamp}"))),
    kind("a blank before the time in a list", |sender, webhook, _| {
        in_list(sender).and_then(|()| unsigned(sender, webhook, |stamp| format!(" {stamp}")))
    }),
    kind("a blank behind the time in a list", |sender, webhook, _| {
        in_list(sender).and_then(|()| unsigned(sender, webhook, |stamp| format!("{stamp} ")))
    }),
    kind("a time with a fraction", |sender, webhook, _| unsigned(sender, webhook, |stamp| format!("{stamp}.5"))),
    kind("a time with a fraction of zero", |sender, webhook, _| {
        unsigned(sender, webhook, |stamp| format!("{stamp}.0"))
    }),
    kind("a time with an exponent", |sender, webhook, _| unsigned(sender, webhook, |stamp| format!("{stamp}e0"))),
    kind("a time with an underscore", |sender, webhook, _| {
        unsigned(sender, webhook, |stamp| stamp.replacen('7', "7_", 1))
    }),
    kind("letters behind the time", |sender, webhook, _| unsigned(sender, webhook, |stamp| format!("{stamp}s"))),
    kind("a word instead of the time", |sender, webhook, _| unsigned(sender, webhook, |_| "now".to_owned())),
    kind("a time too large for any number", |sender, webhook, _| unsigned(sender, webhook, |_| "9".repeat(40))),
    kind("the time of RFC 3339", |sender, webhook, _| unsigned(sender, webhook, |_| "2023-11-14T22:13:20Z".to_owned())),
    kind("a time in hex", |sender, webhook, _| unsigned(sender, webhook, |_| "0x6553f100".to_owned())),
    kind("signed: an empty time", |sender, webhook, _| signed(sender, webhook, |_| String::new())),
    kind("signed: a time in milliseconds", |sender, webhook, _| signed(sender, webhook, |stamp| format!("{stamp}000"))),
    kind("signed: a zero before the time", |sender, webhook, _| signed(sender, webhook, |stamp| format!("0{stamp}"))),
    kind("signed: a plus before the time", |sender, webhook, _| signed(sender, webhook, |stamp| format!("+{stamp}"))),
    kind("signed: a minus before the time", |sender, webhook, _| signed(sender, webhook, |stamp| format!("-{stamp}"))),
    kind("signed: a blank before the time in a list", |sender, webhook, _| {
        in_list(sender).and_then(|()| signed(sender, webhook, |stamp| format!(" {stamp}")))
    }),
    kind("signed: a blank behind the time in a list", |sender, webhook, _| {
        in_list(sender).and_then(|()| signed(sender, webhook, |stamp| format!("{stamp} ")))
    }),
    kind("signed: a time with a fraction", |sender, webhook, _| signed(sender, webhook, |stamp| format!("{stamp}.5"))),
    kind("signed: a time with an underscore", |sender, webhook, _| {
        signed(sender, webhook, |stamp| stamp.replacen('7', "7_", 1))
    }),
    kind("signed: letters behind the time", |sender, webhook, _| signed(sender, webhook, |stamp| format!("{stamp}s"))),
    kind("signed: a word instead of the time", |sender, webhook, _| signed(sender, webhook, |_| "now".to_owned())),
    kind("signed: a time too large for any number", |sender, webhook, _| signed(sender, webhook, |_| "9".repeat(40))),
    kind("signed: the time of RFC 3339", |sender, webhook, _| {
        signed(sender, webhook, |_| "2023-11-14T22:13:20Z".to_owned())
    }),
    kind("signed: the first second of 1970", |sender, webhook, _| signed(sender, webhook, |_| "0".to_owned())),
    // What a signature covers is one text: whoever moves a border in it needs no secret.
    kind("the body's begin moved into the time", |sender, webhook, _| {
        let stamp = webhook.stamp(sender)?;
        let separator = if sender.signed.contains("{t}:") { ':' } else { '.' };
        let body = std::mem::take(&mut webhook.body);
        webhook.body = format!("{stamp}{separator}{body}");
        webhook.sign_again(sender);
        webhook.body = body;
        webhook.put_stamp(sender, &format!("{stamp}{separator}{stamp}"))
    }),
    kind("the time's header twice", |sender, webhook, _| {
        twice(webhook, own_header(sender)?, str::to_owned, Right::Both)
    }),
    kind("the time's header twice, the first is right", |sender, webhook, _| {
        twice(webhook, own_header(sender)?, |stamp| format!("{stamp}0"), Right::First)
    }),
    kind("the time's header twice, the last is right", |sender, webhook, _| {
        twice(webhook, own_header(sender)?, |stamp| format!("{stamp}0"), Right::Last)
    }),
    kind("the time's header twice, the other is stale", |sender, webhook, _| {
        let stale = (webhook.at - DAY).to_string();
        twice(webhook, own_header(sender)?, |_| stale, Right::First)
    }),
];

/// It is received so many seconds after it was signed.
fn received(sender: &Sender, webhook: &mut Webhook, after: i64) -> Option<()> {
    webhook.at += after;
    webhook.stamp(sender).map(drop)
}

/// Another time beside the signature of the old one.
fn unsigned(sender: &Sender, webhook: &mut Webhook, change: impl FnOnce(&str) -> String) -> Option<()> {
    let stamp = change(&webhook.stamp(sender)?);
    webhook.put_stamp(sender, &stamp)
}

/// Another time, rightly signed.
fn signed(sender: &Sender, webhook: &mut Webhook, change: impl FnOnce(&str) -> String) -> Option<()> {
    unsigned(sender, webhook, change)?;
    webhook.sign_again(sender);
    Some(())
}

fn in_list(sender: &Sender) -> Option<()> {
    (sender.stamp == Stamp::InList).then_some(())
}

fn own_header(sender: &Sender) -> Option<&'static str> {
    match sender.stamp {
        Stamp::Header(name) => Some(name),
        Stamp::None | Stamp::InList => None,
    }
}
