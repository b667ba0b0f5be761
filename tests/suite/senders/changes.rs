//! The kinds of changes that are made to signed webhooks. Must not know who takes the changed webhook, and who does not.

mod encodings;
mod lists;
mod stamps;

use crate::support::stream::Random;

use super::bodies;
use super::sender::Sender;
use super::webhook::Webhook;

/// A kind of change.
pub struct Kind {
    /// Its name, the same in the table of differences.
    pub name: &'static str,
    /// Changes a webhook of this sender; gives nothing where that makes no sense for it.
    pub change: Change,
}

type Change = fn(&Sender, &mut Webhook, &mut Random) -> Option<()>;

const fn kind(name: &'static str, change: Change) -> Kind {
    Kind { name, change }
}

/// The one that changes nothing.
pub const NOTHING: &str = "nothing";

/// One to three letters of a header. No blanks and no letters in upper case, which are kinds of their own.
pub static RANDOM_LETTERS: Kind = kind("letters of the headers at random", |_, webhook, random| {
    let header = random.below(webhook.headers.len());
    let value = &mut webhook.headers[header].1;
    for _ in 0..=random.below(3) {
        let letter = char::from(b"tvs012359acef=,;:.+-_/%"[random.below(23)]);
        let place = random.below(value.len() + 1);
        match random.below(3) {
            0 => value.insert(place, letter),
            1 if place < value.len() => drop(value.remove(place)),
            _ if place < value.len() => value.replace_range(place..=place, letter.encode_utf8(&mut [0; 4])),
            _ => {}
        }
    }
    Some(())
});

/// Every other kind.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    [&EVERYWHERE[..], &LABELS, &encodings::KINDS, &stamps::KINDS, &lists::KINDS].into_iter().flatten()
}

static EVERYWHERE: [Kind; 25] = [
    kind(NOTHING, |_, _, _| Some(())),
    kind("a letter of the body", |_, webhook, random| {
        let place = a_letter(&webhook.body, random)?;
        webhook.body = other_letter(&webhook.body, place);
        Some(())
    }),
    kind("a letter more behind the body", |_, webhook, random| {
        webhook.body.push([' ', '\n', '\0', 'x', '}'][random.below(5)]);
        Some(())
    }),
    kind("a letter more before the body", |_, webhook, random| {
        webhook.body.insert(0, [' ', '\n', '\u{feff}', '0', '.'][random.below(5)]);
        Some(())
    }),
    kind("a letter less in the body", |_, webhook, random| {
        let place = a_letter(&webhook.body, random)?;
        webhook.body.remove(place);
        Some(())
    }),
    kind("no body", |_, webhook, _| {
        let body = std::mem::take(&mut webhook.body);
        (!body.is_empty()).then_some(())
    }),
    kind("the body twice", |_, webhook, _| {
        let body = webhook.body.clone();
        webhook.body.push_str(&body);
        (!body.is_empty()).then_some(())
    }),
    kind("another secret", |sender, webhook, random| {
        webhook.secret = bodies::secret(sender.secret, random);
        Some(())
    }),
    kind("a letter of the secret", |_, webhook, _| {
        let (place, _) = webhook.secret.char_indices().nth(webhook.secret.chars().count() / 2)?;
        webhook.secret = other_letter(&webhook.secret, place);
        Some(())
    }),
    kind("a letter of the URL", |sender, webhook, random| {
        let place = "https://".len() + random.below("hooks".len());
        webhook.url = other_letter(&webhook.url, place);
        sender.signed.contains("{url}").then_some(())
    }),
    kind("a slash behind the URL", |sender, webhook, _| {
        webhook.url.push('/');
        sender.signed.contains("{url}").then_some(())
    }),
    kind("no signature", |sender, webhook, _| {
        webhook.headers.retain(|(name, _)| name != sender.header);
        Some(())
    }),
    kind("an empty signature header", |sender, webhook, _| {
        webhook.value(sender.header).clear();
        Some(())
    }),
    kind("an empty signature", |sender, webhook, _| {
        webhook.put_signature(sender, "");
        Some(())
    }),
    kind("a digit of the signature", |sender, webhook, random| {
        let signature = other_digit(&webhook.signature(sender), random);
        webhook.put_signature(sender, &signature);
        Some(())
    }),
    kind("the signature's last digit away", |sender, webhook, _| {
        let signature = webhook.signature(sender);
        let digits = signature.trim_end_matches('=');
        webhook.put_signature(sender, &digits[..digits.len() - 1]);
        Some(())
    }),
    kind("a digit more behind the signature", |sender, webhook, _| {
        let signature = webhook.signature(sender);
        webhook.put_signature(sender, &(signature + "0"));
        Some(())
    }),
    kind("a digit more before the signature", |sender, webhook, _| {
        let signature = webhook.signature(sender);
        webhook.put_signature(sender, &format!("0{signature}"));
        Some(())
    }),
    kind("half a signature", |sender, webhook, _| {
        let signature = webhook.signature(sender);
        webhook.put_signature(sender, &signature[..32]);
        Some(())
    }),
    kind("a signature in quotes", |sender, webhook, _| {
        let signature = webhook.signature(sender);
        webhook.put_signature(sender, &format!("\"{signature}\""));
        Some(())
    }),
    kind("a blank within the signature", |sender, webhook, random| {
        let mut signature = webhook.signature(sender);
        signature.insert(1 + random.below(40), ' ');
        webhook.put_signature(sender, &signature);
        Some(())
    }),
    kind("a letter beyond ASCII behind the signature", |sender, webhook, _| {
        let signature = webhook.signature(sender);
        webhook.put_signature(sender, &(signature + "é"));
        Some(())
    }),
    kind("the signature's header twice", |sender, webhook, _| {
        twice(webhook, sender.header, str::to_owned, Right::Both)
    }),
    kind("the signature's header twice, the first is right", |sender, webhook, random| {
        let wrong = other_digit(&webhook.signature(sender), random);
        let right = webhook.signature(sender);
        twice(webhook, sender.header, |value| value.replace(&right, &wrong), Right::First)
    }),
    kind("the signature's header twice, the last is right", |sender, webhook, random| {
        let wrong = other_digit(&webhook.signature(sender), random);
        let right = webhook.signature(sender);
        twice(webhook, sender.header, |value| value.replace(&right, &wrong), Right::Last)
    }),
];

/// For senders that put something before the signature; what puts something there where it does not belong.
static LABELS: [Kind; 7] = [
    kind("no label", |sender, webhook, _| labelled(sender, webhook, "")),
    kind("the label in other letters", |sender, webhook, _| labelled(sender, webhook, &sender.label.to_uppercase())),
    kind("the label of another version", |sender, webhook, _| {
        let other = sender.label.replace("256", "1").replace('1', "2").replace('0', "1");
        labelled(sender, webhook, &other)
    }),
    kind("the label of version 0", |sender, webhook, _| {
        let other = sender.label.replace('1', "0");
        (other != sender.label).then(|| labelled(sender, webhook, &other))?
    }),
    kind("the label twice", |sender, webhook, _| labelled(sender, webhook, &sender.label.repeat(2))),
    kind("a colon in the label", |sender, webhook, _| {
        labelled(sender, webhook, &sender.label.replace(['=', ','], ":"))
    }),
    kind("a label where none belongs", |sender, webhook, random| {
        let signature = webhook.signature(sender);
        webhook.put_signature(sender, &(["sha256=", "v1=", "v0=", "v1,"][random.below(4)].to_owned() + &signature));
        sender.label.is_empty().then_some(())
    }),
];

/// The signature with this before it, instead of its label.
fn labelled(sender: &Sender, webhook: &mut Webhook, label: &str) -> Option<()> {
    let entry = sender.label.to_owned() + &webhook.signature(sender);
    let other = label.to_owned() + &webhook.signature(sender);
    let value = webhook.value(sender.header);
    *value = value.replace(&entry, &other);
    (!sender.label.is_empty()).then_some(())
}

/// Which of two is right.
#[derive(Clone, Copy)]
enum Right {
    Both,
    First,
    Last,
}

/// Puts a header there a second time; nothing where it does not stand once.
fn twice(webhook: &mut Webhook, name: &str, change: impl FnOnce(&str) -> String, right: Right) -> Option<()> {
    let value = webhook.headers.iter().find(|(other, _)| other == name)?.1.clone();
    let other = change(&value);
    let values = match right {
        Right::Both | Right::First => [value, other],
        Right::Last => [other, value],
    };
    webhook.headers.retain(|(other, _)| other != name);
    webhook.headers.extend(values.map(|value| (name.to_owned(), value)));
    Some(())
}

/// Where one of its letters begins; nothing where there is none.
fn a_letter(text: &str, random: &mut Random) -> Option<usize> {
    let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
    if places.is_empty() { None } else { Some(places[random.below(places.len())]) }
}

/// The text with another letter at this place.
fn other_letter(text: &str, place: usize) -> String {
    let (before, rest) = text.split_at(place);
    let mut letters = rest.chars();
    let other = if letters.next() == Some('A') { 'B' } else { 'A' };
    format!("{before}{other}{}", letters.as_str())
}

/// The signature with another digit at one of the places that are never padding: it is another signature then.
fn other_digit(signature: &str, random: &mut Random) -> String {
    let place = random.below(40);
    let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"];
    let others: Vec<&str> = digits.into_iter().filter(|digit| *digit != &signature[place..=place]).collect();
    let mut changed = signature.to_owned();
    changed.replace_range(place..=place, others[random.below(others.len())]);
    changed
}
