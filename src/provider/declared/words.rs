//! A plan in words, for `check`, for pages, and for whoever compares it with the sender's documentation.
//! Must not show a key.

use super::plan::Plan;
use super::settings::{Algorithm, IdentityRule};

/// How webhooks are proven: `HMAC-SHA256 over "{t}.{body}", hex, from header stripe-signature entry v1, 300 s`.
pub fn describe(plan: &Plan) -> String {
    let place = plan.signature.describe();
    if plan.algorithm == Algorithm::Token {
        return format!("token, compared {place}; nothing is signed");
    }
    let templates: Vec<String> = plan.templates.iter().map(|(template, _)| format!("`{template}`")).collect();
    let time = match &plan.time {
        Some(rule) => format!("{} s around the time in {}", rule.tolerance.as_secs(), rule.place),
        None => "no signed time".to_owned(),
    };
    let identity = match plan.event.identity {
        IdentityRule::Body => "an event is known by its bytes",
        IdentityRule::Id => "an event is known by its id",
        IdentityRule::Latest => "an event is known by its bytes and type until another of the same key comes",
    };
    format!("{} over {}, {place}, {time}; {identity}", plan.algorithm.name(), templates.join(" or "))
}
