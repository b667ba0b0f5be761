//! Changed webhooks before the official libraries and before our sources: what every library of a sender rejects, we reject.
//! Both tables of differences are whole, and have no line too many.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use crate::support::stream::Random;

use super::bodies;
use super::changes::{NOTHING, RANDOM_LETTERS, kinds};
use super::sender::SENDERS;
use super::webhook::{Webhook, judged_by_libraries, sign};

/// Signed webhooks of each sender, each changed in every way: about 2,400 cases in all.
const WEBHOOKS: usize = 6;
/// How often the headers of each are changed at random: 500 cases more.
const AT_RANDOM: usize = 12;

/// Kinds of changes of webhooks of some senders, which are judged in two ways.
struct Difference {
    senders: &'static [&'static str],
    kinds: &'static [&'static str],
    reason: &'static str,
}

/// Where we take what every library of the sender rejects: the signature is right, and only written as the sender does not.
static LOOSER: [Difference; 1] = [Difference {
    senders: &["stripe"],
    kinds: &["a blank behind the separator of entries"],
    reason: "a list in a header may have blanks around its commas (RFC 9110, section 5.6.1), and other senders' lists do",
}];

/// Where we reject what a library takes.
static STRICTER: [Difference; 11] = [
    Difference {
        senders: &["stripe", "github", "square", "razorpay", "slack", "gocardless"],
        kinds: &[
            "the signature's header twice",
            "the signature's header twice, the first is right",
            "the signature's header twice, the last is right",
        ],
        reason: "the header stands once: which of two a reader sees is chance",
    },
    Difference {
        senders: &["standard-webhooks", "slack"],
        kinds: &[
            "the time's header twice",
            "the time's header twice, the first is right",
            "the time's header twice, the last is right",
            "the time's header twice, the other is stale",
        ],
        reason: "the same",
    },
    Difference {
        senders: &["standard-webhooks"],
        kinds: &["the id's header twice, the first is right", "the id's header twice, the last is right"],
        reason: "the same",
    },
    Difference {
        senders: &["stripe"],
        kinds: &["the time twice", "the time twice, the first is right", "the time twice, the last is right"],
        reason: "the same: the library for Python takes the first, the one for Node.js the last",
    },
    Difference {
        senders: &["stripe"],
        kinds: &[
            "too far in the future by a second",
            "a day in the future",
            "signed: a time in milliseconds",
            "signed: a time too large for any number",
        ],
        reason: "its documentation speaks of age alone; a webhook from the future could be sent again until its time is over",
    },
    Difference {
        senders: &["stripe", "standard-webhooks"],
        kinds: &[
            "a zero before the time",
            "a plus before the time",
            "a time with a fraction",
            "a time with a fraction of zero",
            "a time with an exponent",
            "a time with an underscore",
            "letters behind the time",
        ],
        reason: "the library reads a number and writes it again: so it does not hold the signature against what was sent",
    },
    Difference { senders: &["stripe"], kinds: &["a blank before the time in a list"], reason: "the same" },
    Difference {
        senders: &["slack"],
        kinds: &[
            "signed: a zero before the time",
            "signed: a plus before the time",
            "signed: a time with an underscore",
        ],
        reason: "no sender writes a time so: a language's way to read numbers takes it",
    },
    Difference {
        senders: &["standard-webhooks"],
        kinds: &[
            "a digit more behind the signature",
            "a signature in quotes",
            "a letter within base64 that is no digit",
            "base64 with other bits behind its last byte",
            "base64 with padding for one byte more",
        ],
        reason: "no sender writes base64 so: Python's way to read it passes over what is none",
    },
    Difference {
        senders: &["stripe"],
        kinds: &["many wrong entries before the right one"],
        reason: "a few are tried, more than a sender ever has secrets",
    },
    Difference {
        senders: &["stripe"],
        kinds: &["the last letter of the label behind the signature too"],
        reason: "no sender writes hex so: the libraries cut an entry at every `=`",
    },
];

#[test]
fn what_every_library_rejects_is_rejected() {
    let mut random = Random::printed();
    let cases = cases(&mut random);
    let webhooks: Vec<_> = cases.iter().map(|case| (case.sender, &case.webhook)).collect();
    let taken = judged_by_libraries(&webhooks);
    let (mut looser, mut stricter) = (BTreeMap::new(), BTreeMap::new());
    let (mut accepted, mut rejected) = (0, 0);
    for (case, libraries) in cases.iter().zip(taken) {
        let Case { sender, kind, webhook } = case;
        let ours = webhook.judged_by_us(sender, &[]);
        *if ours.is_ok() { &mut accepted } else { &mut rejected } += 1;
        if *kind == NOTHING {
            let all = ours.is_ok() && libraries.len() == sender.libraries.len();
            assert!(all, "{}: {libraries:?}, {:?}: {webhook:?}", sender.preset, ours.err());
        }
        match (ours.is_ok(), !libraries.is_empty()) {
            (true, false) => drop(looser.insert((sender.preset, *kind), webhook)),
            // What a random letter does is no kind of its own.
            (false, true) if *kind != RANDOM_LETTERS.name => drop(stricter.insert((sender.preset, *kind), webhook)),
            _ => {}
        }
    }
    println!("{} changed webhooks: {accepted} accepted, {rejected} rejected", cases.len());
    let complaints = [compare("LOOSER", &LOOSER, &looser), compare("STRICTER", &STRICTER, &stricter)].concat();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// How a table and what was found differ.
fn compare(table: &str, known: &[Difference], found: &BTreeMap<(&str, &str), &Webhook>) -> Vec<String> {
    let known: BTreeSet<_> = known.iter().flat_map(Difference::pairs).collect();
    let new = found.iter().filter(|(pair, _)| !known.contains(*pair));
    let new = new.map(|((sender, kind), webhook)| format!("{sender}, {kind}: not in {table}: {webhook:?}"));
    let gone = known.iter().filter(|pair| !found.contains_key(*pair));
    new.chain(gone.map(|(sender, kind)| format!("{sender}, {kind}: take it from {table}"))).collect()
}

impl Difference {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        assert!(!self.reason.is_empty());
        self.senders.iter().flat_map(|sender| self.kinds.iter().map(|kind| (*sender, *kind)))
    }
}

/// A webhook that was signed and then changed.
struct Case {
    sender: &'static super::sender::Sender,
    kind: &'static str,
    webhook: Webhook,
}

fn cases(random: &mut Random) -> Vec<Case> {
    let mut signed = Vec::new();
    for sender in &SENDERS {
        for library in sender.libraries.iter().cycle().take(WEBHOOKS) {
            let body = bodies::body(random);
            signed.push((sender, *library, Webhook::unsigned(sender, body, random)));
        }
    }
    sign(&mut signed);
    let mut cases = Vec::new();
    for (sender, _, original) in signed {
        for kind in kinds().chain(iter::repeat_n(&RANDOM_LETTERS, AT_RANDOM)) {
            let mut webhook = original.clone();
            if (kind.change)(sender, &mut webhook, random).is_some() {
                cases.push(Case { sender, kind: kind.name, webhook });
            }
        }
    }
    cases
}
