//! What an official library signs, our source of its sender accepts: bodies and secrets of many shapes.

use crate::support::stream::Random;

use super::bodies;
use super::sender::SENDERS;
use super::webhook::{Webhook, judged_by_libraries, sign};

/// Webhooks that each library signs, beside a large one and an empty one: 360 of the nine.
const WEBHOOKS: usize = 40;

#[test]
fn what_a_library_signs_is_accepted() {
    let mut random = Random::printed();
    let mut webhooks = Vec::new();
    for sender in &SENDERS {
        for library in sender.libraries {
            let mut bodies: Vec<String> = (0..WEBHOOKS).map(|_| bodies::body(&mut random)).collect();
            bodies.push(bodies::large_body(&mut random));
            bodies.extend(sender.empty_body.then(String::new));
            let of = |body| (sender, *library, Webhook::unsigned(sender, body, &mut random));
            webhooks.extend(bodies.into_iter().map(of));
        }
    }
    sign(&mut webhooks);
    let signed: Vec<_> = webhooks.iter().map(|(sender, _, webhook)| (*sender, webhook)).collect();
    let taken = judged_by_libraries(&signed);
    for ((sender, library, webhook), libraries) in webhooks.iter().zip(taken) {
        assert!(!libraries.is_empty(), "{library:?} does not verify what it signs: {webhook:?}");
        let other = bodies::secret(sender.secret, &mut random);
        for secrets in [&[][..], &[other.as_str()]] {
            let judged = webhook.judged_by_us(sender, secrets);
            assert!(judged.is_ok(), "{library:?}, behind the secrets {secrets:?}: {:?}: {webhook:?}", judged.err());
        }
    }
}
