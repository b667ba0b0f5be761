//! Changes of headers that are lists of signatures, and of the id that stands beside them.

use crate::support::stream::Random;

use super::super::sender::{Sender, Stamp};
use super::super::webhook::Webhook;
use super::{Kind, Right, kind, other_digit, twice};

/// The header with the id of a message.
const ID: &str = "webhook-id";
/// As many wrong signatures as no sender has secrets.
const MANY: usize = 60;

pub static KINDS: [Kind; 34] = [
    kind("the entry twice", |sender, webhook, _| entries(sender, webhook, |right, _| vec![right.clone(), right])),
    kind("a wrong entry before the right one", |sender, webhook, random| {
        entries(sender, webhook, |right, other| vec![other(random), right])
    }),
    kind("a wrong entry behind the right one", |sender, webhook, random| {
        entries(sender, webhook, |right, other| vec![right, other(random)])
    }),
    kind("two wrong entries", |sender, webhook, random| {
        entries(sender, webhook, |_, other| vec![other(random), other(random)])
    }),
    kind("many wrong entries before the right one", |sender, webhook, random| {
        entries(sender, webhook, |right, other| (0..MANY).map(|_| other(random)).chain([right]).collect())
    }),
    kind("an entry of version 0 before the right one", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![right.replacen('1', "0", 1), right])
    }),
    kind("an entry of version 0 behind the right one", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![right.clone(), right.replacen('1', "0", 1)])
    }),
    kind("an entry of version 1a before the right one", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![right.replacen('1', "1a", 1), right])
    }),
    kind("only an entry of version 1a", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![right.replacen('1', "1a", 1)])
    }),
    kind("the right signature in version 0, a wrong one in version 1", |sender, webhook, random| {
        entries(sender, webhook, |right, other| vec![right.replacen('1', "0", 1), other(random)])
    }),
    kind("an unknown entry before the right one", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![right.replacen("v1", "nonce", 1), right])
    }),
    kind("a word before the right entry", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec!["v1".to_owned(), right])
    }),
    kind("a word behind the right entry", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![right, "junk".to_owned()])
    }),
    kind("an entry without a signature before the right one", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![right[..3].to_owned(), right])
    }),
    kind("an empty entry before the right one", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![String::new(), right])
    }),
    kind("an empty entry behind the right one", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![right, String::new()])
    }),
    kind("a comma between a wrong entry and the right one", |sender, webhook, random| {
        entries(sender, webhook, |right, other| vec![format!("{},{right}", other(random))])
    }),
    kind("a blank behind the separator of entries", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![format!(" {right}")])
    }),
    kind("a blank behind the label", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![format!("{} {}", &right[..3], &right[3..])])
    }),
    kind("a blank before the last letter of the label", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![format!("{} {}", &right[..2], &right[2..])])
    }),
    kind("a blank instead of the last letter of the label", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![format!("{} {}", &right[..2], &right[3..])])
    }),
    kind("the last letter of the label twice", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![format!("{}{}", &right[..3], &right[2..])])
    }),
    kind("the last letter of the label behind the signature too", |sender, webhook, _| {
        entries(sender, webhook, |right, _| vec![format!("{right}{}", &right[2..3])])
    }),
    kind("semicolons between entries", |sender, webhook, _| {
        let value = webhook.value(sender.header);
        *value = value.replace(',', ";");
        sender.separator.map(drop)
    }),
    kind("the time behind the signature", |sender, webhook, _| {
        in_one_list(sender, webhook, |t, v1| format!("{v1},{t}"))
    }),
    kind("the time twice", |sender, webhook, _| in_one_list(sender, webhook, |t, v1| format!("{t},{t},{v1}"))),
    kind("the time twice, the first is right", |sender, webhook, _| {
        in_one_list(sender, webhook, |t, v1| format!("{t},{t}0,{v1}"))
    }),
    kind("the time twice, the last is right", |sender, webhook, _| {
        in_one_list(sender, webhook, |t, v1| format!("{t}0,{t},{v1}"))
    }),
    kind("another id", |_, webhook, _| with_id(webhook, |id| id.push('0'))),
    kind("an empty id", |_, webhook, _| with_id(webhook, String::clear)),
    kind("no id", |_, webhook, _| {
        let before = webhook.headers.len();
        webhook.headers.retain(|(name, _)| name != ID);
        (webhook.headers.len() < before).then_some(())
    }),
    // What a signature covers is one text: whoever moves a border in it needs no secret.
    kind("the body's begin moved into the id", |sender, webhook, _| {
        let stamp = webhook.stamp(sender)?;
        let body = std::mem::take(&mut webhook.body);
        webhook.body = format!("{stamp}.{body}");
        webhook.sign_again(sender);
        webhook.body = body;
        with_id(webhook, |id| *id = format!("{id}.{stamp}"))
    }),
    kind("the id's header twice, the first is right", |_, webhook, _| {
        twice(webhook, ID, |id| format!("{id}0"), Right::First)
    }),
    kind("the id's header twice, the last is right", |_, webhook, _| {
        twice(webhook, ID, |id| format!("{id}0"), Right::Last)
    }),
];

/// Puts other entries in the place of the one entry, of which it is given the right one and a way to make wrong ones.
fn entries(
    sender: &Sender,
    webhook: &mut Webhook,
    make: impl FnOnce(String, &dyn Fn(&mut Random) -> String) -> Vec<String>,
) -> Option<()> {
    let separator = sender.separator?;
    let signature = webhook.signature(sender);
    let right = sender.label.to_owned() + &signature;
    let wrong = |random: &mut Random| sender.label.to_owned() + &other_digit(&signature, random);
    let value = webhook.value(sender.header);
    *value = value.replace(&right, &make(right.clone(), &wrong).join(separator));
    Some(())
}

/// Writes a list of the time and the signature in another way.
fn in_one_list(sender: &Sender, webhook: &mut Webhook, write: impl FnOnce(&str, &str) -> String) -> Option<()> {
    let value = webhook.value(sender.header);
    let (t, v1) = value.split_once(',')?;
    *value = write(t, v1);
    (sender.stamp == Stamp::InList).then_some(())
}

fn with_id(webhook: &mut Webhook, change: impl FnOnce(&mut String)) -> Option<()> {
    let (_, id) = webhook.headers.iter_mut().find(|(name, _)| name == ID)?;
    change(id);
    Some(())
}
