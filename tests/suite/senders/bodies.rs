//! What is signed, at random: bodies of many shapes, and secrets. Must not know who signs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::support::stream::Random;

use super::sender::Form;

/// A large webhook.
const LARGE_BYTES: usize = 64 * 1024;
/// What texts are made of: of one to four bytes each in UTF-8, controls, marks, and what JSON and some readers treat specially.
const LETTERS: [&str; 24] = [
    "a",
    "Z",
    "0",
    " ",
    ".",
    ",",
    "=",
    ":",
    "\"",
    "\\",
    "/",
    "{",
    "}",
    "%20",
    "\t",
    "\u{0}",
    "é",
    "ß",
    "日",
    "\u{2028}",
    "\u{feff}",
    "e\u{301}",
    "🎈",
    "\u{10ffff}",
];

/// A body, not empty, of any shape but the large one.
pub fn body(random: &mut Random) -> String {
    match random.below(6) {
        0 => json(random, 3).to_string(),
        1 => format!("{:#}", json(random, 3)),
        2 => format!("{:#}\r\n", event(random)).replace('\n', "\r\n"),
        3 => format!("{{ \"a\" : 1, \"a\": {} ,\"\\u00e9\":1.0e+2 }}", event(random)),
        4 => text(random, 40) + ".", // no JSON
        _ => event(random).to_string(),
    }
}

/// A body of this size and a little more.
pub fn large_body(random: &mut Random) -> String {
    let mut body = event(random).to_string();
    while body.len() < LARGE_BYTES {
        body = format!("[{body},{},{body}]", json(random, 3));
    }
    body
}

/// A body that looks like an event to every sender here.
pub fn event(random: &mut Random) -> Value {
    let number = digits(random);
    json!({
        "id": format!("evt_{number}"),
        "object": "event",
        "type": "payment_intent.succeeded",
        "event": "payment.captured",
        "created": 1_700_000_000,
        "data": {"object": {"id": format!("pi_{number}"), "description": text(random, 10)}},
        "events": [{
            "id": format!("EV{number}"),
            "created_at": "2023-11-14T22:13:20.000Z",
            "resource_type": "payments",
            "action": "confirmed",
            "links": {"payment": format!("PM{number}")},
        }],
    })
}

fn json(random: &mut Random, depth: usize) -> Value {
    let kinds = if depth == 0 { 5 } else { 7 };
    match random.below(kinds) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.below(1 << 40)),
        3 => json!(-0.1),
        4 => json!(text(random, 12)),
        5 => (0..random.below(5)).map(|_| json(random, depth - 1)).collect(),
        _ => Value::Object(
            (0..random.below(5)).map(|_| (text(random, 6), json(random, depth - 1))).collect::<Map<_, _>>(),
        ),
    }
}

fn text(random: &mut Random, length_max: usize) -> String {
    (0..random.below(length_max + 1)).map(|_| LETTERS[random.below(LETTERS.len())]).collect()
}

/// Digits that do not come twice.
pub fn digits(random: &mut Random) -> String {
    base16ct::lower::encode_string(&random.bytes(12))
}

/// A secret of this form.
pub fn secret(form: Form, random: &mut Random) -> String {
    match form {
        Form::Text => match random.below(5) {
            0 => format!("whsec_{}", digits(random)),
            1 => digits(random),
            2 => STANDARD.encode(random.bytes(32)),
            3 => format!("a {} secret, of \"no\" value: {}", "déjà vu 🎈", digits(random)),
            _ => digits(random).repeat(8), // longer than the hash takes at once
        },
        Form::Whsec => {
            let length = 24 + random.below(41);
            let base64 = STANDARD.encode(random.bytes(length));
            match random.below(3) {
                0 => base64,
                1 => format!("whsec_{}", base64.trim_end_matches('=')),
                _ => format!("whsec_{base64}"),
            }
        }
    }
}
