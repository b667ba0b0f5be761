//! One webhook between the two sides: signed by a library, judged by libraries and by our source, and changed in between.
//! Must not know which changes there are.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use paybridge::provider::{Proof, RawWebhook, Unverified};
use serde_json::{Value, json};

use crate::support::stream::Random;

use super::bodies;
use super::programs::{Program, ask};
use super::sender::{Sender, Stamp};

/// A webhook, and what its receiver knows.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// What the receiver takes for the secret.
    pub secret: String,
    /// What the receiver takes for the URL that the sender knows.
    pub url: String,
    /// The receiver's present, in seconds since 1970.
    pub at: i64,
    /// The id of the message, for senders that have one.
    pub id: String,
    /// Names in lower case, with values; one may stand twice.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Lets each webhook be signed by a library of its sender, at its `at`: its headers are the library's then.
pub fn sign(webhooks: &mut [(&Sender, (Program, &str), Webhook)]) {
    let question = |(_, (program, library), webhook): &(&Sender, (Program, &str), Webhook)| {
        let Webhook { secret, url, at, id, body, .. } = webhook;
        let sign =
            json!({"library": library, "do": "sign", "secret": secret, "url": url, "at": at, "id": id, "body": body});
        (*program, sign)
    };
    let questions: Vec<_> = webhooks.iter().map(question).collect();
    for ((_, _, webhook), answer) in webhooks.iter_mut().zip(ask(&questions)) {
        let headers = answer["headers"].as_object().unwrap().iter();
        webhook.headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    }
}

/// For each webhook the libraries of its sender that take it, as they are given it by one web framework or another.
pub fn judged_by_libraries(webhooks: &[(&Sender, &Webhook)]) -> Vec<BTreeSet<Program>> {
    let mut questions = Vec::new();
    let mut places = Vec::new();
    for (place, (sender, webhook)) in webhooks.iter().enumerate() {
        for (program, library) in sender.libraries {
            for headers in webhook.as_frameworks_give_headers() {
                questions.push((*program, webhook.question(library, &headers)));
                places.push((place, *program));
            }
        }
    }
    let mut taken = vec![BTreeSet::new(); webhooks.len()];
    for ((place, program), answer) in places.into_iter().zip(ask(&questions)) {
        if answer["verifies"].as_bool().unwrap() {
            taken[place].insert(program);
        }
    }
    taken
}

impl Webhook {
    /// One to be signed, of a moment and with a secret at random.
    pub fn unsigned(sender: &Sender, body: String, random: &mut Random) -> Self {
        Self {
            secret: bodies::secret(sender.secret, random),
            url: "https://hooks.example.com/webhooks/shop".to_owned(),
            at: 1_700_000_000 + i64::try_from(random.below(99_999_999)).unwrap(),
            id: format!("msg_{}", bodies::digits(random)),
            headers: Vec::new(),
            body,
        }
    }

    /// What our source of this sender says of it; `secrets` stand before the right one.
    pub fn judged_by_us(&self, sender: &Sender, secrets: &[&str]) -> Result<Proof, Unverified> {
        let secrets: Vec<&str> = secrets.iter().copied().chain([self.secret.as_str()]).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            // As on the wire: one byte a letter.
            let bytes: Vec<u8> = value.chars().map(|letter| u8::try_from(letter).unwrap()).collect();
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(&bytes).unwrap());
        }
        sender.source(&secrets, &self.url).authenticate(&RawWebhook {
            path_suffix: String::new(),
            query: String::new(),
            headers,
            body: self.body.clone().into(),
            remote_address: [192, 0, 2, 1].into(),
            received_at: Timestamp::from_second(self.at).unwrap(),
        })
    }

    fn question(&self, library: &str, headers: &BTreeMap<String, String>) -> Value {
        let Self { secret, url, at, body, .. } = self;
        json!({"library": library, "do": "verify", "secret": secret, "url": url, "at": at, "headers": headers, "body": body})
    }

    /// The headers as a library gets them: where one stands twice, some frameworks give its first or last value, and some all
    /// of them, with commas between.
    fn as_frameworks_give_headers(&self) -> Vec<BTreeMap<String, String>> {
        let mut values: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, value) in &self.headers {
            values.entry(name.clone()).or_default().push(value);
        }
        let given = |give: fn(&[&str]) -> String| values.iter().map(|(name, all)| (name.clone(), give(all))).collect();
        let mut ways = vec![given(|all| all[0].to_owned())];
        if values.values().any(|all| all.len() > 1) {
            ways.push(given(|all| all[all.len() - 1].to_owned()));
            ways.push(given(|all| all.join(",")));
            ways.push(given(|all| all.join(", ")));
        }
        ways
    }

    /// The first value of a header that is there.
    pub fn value(&mut self, name: &str) -> &mut String {
        let header = self.headers.iter_mut().find(|(other, _)| other == name);
        header.map_or_else(|| panic!("{name} is not there"), |(_, value)| value)
    }

    /// The signature without what stands before it.
    pub fn signature(&mut self, sender: &Sender) -> String {
        let value = self.value(sender.header);
        let begin = if sender.label.is_empty() { 0 } else { value.rfind(sender.label).unwrap() + sender.label.len() };
        value[begin..].to_owned()
    }

    /// Puts something in the place of the signature.
    pub fn put_signature(&mut self, sender: &Sender, signature: &str) {
        let old = self.signature(sender);
        let value = self.value(sender.header);
        value.replace_range(value.len() - old.len().., signature);
    }

    /// The time of the attempt, as text; none where the sender tells none.
    pub fn stamp(&mut self, sender: &Sender) -> Option<String> {
        match sender.stamp {
            Stamp::None => None,
            Stamp::InList => {
                let (stamp, _) = self.value(sender.header).strip_prefix("t=")?.split_once(',')?;
                Some(stamp.to_owned())
            }
            Stamp::Header(name) => Some(self.value(name).clone()),
        }
    }

    /// Puts something in the place of the time of the attempt; nothing where the sender tells none.
    pub fn put_stamp(&mut self, sender: &Sender, stamp: &str) -> Option<()> {
        let old = self.stamp(sender)?;
        match sender.stamp {
            Stamp::Header(name) => stamp.clone_into(self.value(name)),
            Stamp::None | Stamp::InList => self.value(sender.header).replace_range(2..2 + old.len(), stamp),
        }
        Some(())
    }

    /// Signs what it is now as its sender would, over whatever stands in the place of its time: no library does that.
    pub fn sign_again(&mut self, sender: &Sender) {
        let stamp = self.stamp(sender).unwrap_or_default();
        let parts = [("{id}", &self.id), ("{t}", &stamp), ("{url}", &self.url), ("{body}", &self.body)];
        let text = parts.iter().fold(sender.signed.to_owned(), |text, (name, value)| text.replacen(name, value, 1));
        let signature = sender.sign(&self.secret, &text);
        self.put_signature(sender, &signature);
    }
}
