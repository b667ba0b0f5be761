//! What is on the confirmation engine's topics, in words: `rule "small payouts" → confirm → provider accepted, 8 ms`. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Phrase, Tone, amount, text_at, word, word_of};

/// What became of a session.
pub(super) fn outcome(message: &Value) -> Vec<Phrase> {
    let operations = message.get("operations").and_then(amount::operations).map(Phrase::plain);
    let (tone, result) = result(message);
    let steps = [decider(message), word_of(message, "action"), Some(with_pace(message, result))];
    let steps: Vec<String> = steps.into_iter().flatten().collect();
    operations.into_iter().chain([Phrase::new(tone, steps.join(" → "))]).collect()
}

/// Another team's decision.
pub(super) fn decision(message: &Value) -> Phrase {
    let action = word_of(message, "action").unwrap_or_else(|| "an unknown action".to_owned());
    let by = text_at(message, "/decided_by").unwrap_or("somebody");
    let reason = text_at(message, "/reason").map(|reason| format!(": {reason}")).unwrap_or_default();
    Phrase::plain(format!("{by} → {action}{reason}"))
}

/// A decision that did not count.
pub(super) fn rejected_decision(message: &Value) -> Vec<Phrase> {
    let reason = word_of(message, "reason").unwrap_or_else(|| "for an unknown reason".to_owned());
    let decision = message.get("decision").map(decision);
    decision.into_iter().chain([Phrase::new(Tone::Bad, format!("does not count: {reason}"))]).collect()
}

/// What the engine remembers of a session, or who owns a partition.
pub(super) fn ledger_entry(message: &Value) -> Vec<Phrase> {
    let states = ["early", "awaiting", "decided", "done", "owner", "checking"];
    let state = states.into_iter().find_map(|state| Some((state, message.get(state)?)));
    let Some((name, state)) = state else { return vec![Phrase::new(Tone::Attention, "unknown state")] };
    let operations = state.pointer("/opening/operations").and_then(amount::operations);
    let what = match name {
        "early" => "decisions wait for the session".to_owned(),
        "awaiting" => "waits for a decision".to_owned(),
        "checking" => "the provider is asked first".to_owned(),
        "decided" => [decider(state), word_of(state, "action"), Some("provider is called".to_owned())]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" → "),
        "done" => format!("ended: {}", word_of(state, "result").unwrap_or_default()),
        _ => format!("partition of group {}", text_at(state, "/group_id").unwrap_or_default()),
    };
    operations.map(Phrase::plain).into_iter().chain([Phrase::plain(what)]).collect()
}

/// What decided, by name where it has one; nothing where nothing did.
fn decider(message: &Value) -> Option<String> {
    let kind = word("kind", message.get("decided_by_kind")?)?;
    let name = text_at(message, "/decided_by_name");
    Some(match (kind.as_str(), name) {
        ("rule", Some(name)) => format!("rule \"{name}\""),
        ("decision", Some(name)) => format!("decision of {name}"),
        ("default", _) => "no rule".to_owned(),
        (kind, _) => kind.to_owned(),
    })
}

fn result(message: &Value) -> (Tone, String) {
    let result = word_of(message, "result").unwrap_or_default();
    let said = |tone, text: &str| (tone, text.to_owned());
    match result.as_str() {
        "accepted" => said(Tone::Good, "provider accepted"),
        "already done" => said(Tone::Good, "provider had done it already"),
        "refused" => {
            let code = text_at(message, "/refusal_code").unwrap_or("without a code");
            (Tone::Bad, format!("provider refused: {code}"))
        }
        "expired" => said(Tone::Bad, "window closed"),
        "superseded" => said(Tone::Attention, "ended at the provider otherwise"),
        "dry run" => said(Tone::Attention, "dry run, nobody called"),
        _ => said(Tone::Attention, "unknown result"),
    }
}

/// The result with the time from the decision to the answer, and the number of calls where there were more than one.
fn with_pace(message: &Value, result: String) -> String {
    let at = |field: &str| message.get(field)?.as_str()?.parse::<Timestamp>().ok();
    let took = at("decided_at").zip(at("answered_at")).map(|(decided, answered)| answered.duration_since(decided));
    let took = took.filter(|took| !took.is_negative()).map(|took| format!(", {}", duration(took)));
    let calls = message.get("attempts").and_then(Value::as_u64).filter(|calls| *calls > 1);
    let calls = calls.map(|calls| format!(", {calls} calls"));
    [Some(result), took, calls].into_iter().flatten().collect()
}

/// A duration with one unit.
fn duration(time: SignedDuration) -> String {
    match (time.as_millis(), time.as_secs()) {
        (millis @ ..1000, _) => format!("{millis} ms"),
        (_, seconds @ ..120) => format!("{seconds} s"),
        (_, seconds) => format!("{} min", seconds / 60),
    }
}
