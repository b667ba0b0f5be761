//! What the answer to a call says, by one total table. When in doubt it says that nothing is clear, for then the caller
//! asks for the status: a wrong end would be told to everyone. Must not know what the caller does with it.
//!
//! | body ↓, HTTP → | 2xx | 401, 403, 404, 429 | other 4xx | 5xx | all else |
//! | --- | --- | --- | --- | --- | --- |
//! | `ok` | `Ok`; of a status without its session, or of another session: `Unclear` | `OurTrouble` | `Unclear` | `Unclear` | `Unclear` |
//! | code of our trouble | `OurTrouble` | `OurTrouble` | `OurTrouble` | `OurTrouble` | `Unclear` |
//! | code to try again | `TryAgain` | `OurTrouble` | `TryAgain` | `TryAgain` | `Unclear` |
//! | key exists | `KeyExists`; of a status: `Unclear` | `OurTrouble` | as 2xx | as 2xx | `Unclear` |
//! | listed refusal | `Refused`; of a status: `UnknownCode` | `OurTrouble` | as 2xx | `Unclear` | `Unclear` |
//! | any other code | `UnknownCode` | `OurTrouble` | `UnknownCode` | `Unclear` | `Unclear` |
//! | does not parse | `Unclear` | `OurTrouble` | `Unclear` | `Unclear` | `Unclear` |
//!
//! A 401, 403, 404 or 429 is mostly a gateway's, which does not know sessions: its body is not believed. A 5xx may come
//! after the effect, so it ends nothing; but an error that the provider itself names retryable is one with it, too.

use http::StatusCode;

use super::super::normalize::{next_action, session_status};
use super::{Operation, Reply, Sight};
use crate::provider::json::{self, Object};

/// Codes that speak of our signature, our project, or our request, and not of the session.
const OUR_TROUBLE: [&str; 4] =
    ["identification_error", "authentication_error", "authorization_error", "invalid_request"];

/// A code is a word.
const CODE_BYTES_MAX: usize = 128;
/// A description is a sentence; it becomes part of a record.
const DESCRIPTION_BYTES_MAX: usize = 1024;

/// What became of a call of `operation` on the session `session_id` that was answered with this status and body.
pub fn read(operation: Operation, session_id: &str, status: StatusCode, body: &[u8]) -> Reply {
    let class = Class::of(status);
    let said = match class {
        Class::Ours => return Reply::OurTrouble,
        Class::Strange => return Reply::Unclear,
        Class::Success | Class::Refusal | Class::Failure => Said::of(session_id, body),
    };
    match (class, said, operation) {
        (Class::Success, Said::Ok(None), Operation::Status) => Reply::Unclear,
        (Class::Success, Said::Ok(sight), _) => Reply::Ok(sight),
        (_, Said::Error(error), _) => error.reply(class, operation),
        // What is said and the HTTP status contradict each other, or nothing is said.
        (_, Said::Ok(_) | Said::Nothing, _) => Reply::Unclear,
    }
}

/// What the HTTP status alone says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Success,
    Ours,
    Refusal,
    Failure,
    Strange,
}

impl Class {
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Success,
            401 | 403 | 404 | 429 => Self::Ours,
            400..=499 => Self::Refusal,
            500..=599 => Self::Failure,
            _ => Self::Strange,
        }
    }
}

/// What the body says.
enum Said {
    /// `"status":"ok"`, with the session where it can be read.
    Ok(Option<Sight>),
    /// `"status":"error"`, with its error.
    Error(Failure),
    /// Neither, or both, or something of another session.
    Nothing,
}

/// An error in the provider's words.
struct Failure {
    code: String,
    description: String,
}

impl Said {
    fn of(session_id: &str, body: &[u8]) -> Self {
        let Ok(object) = json::parse(body) else { return Self::Nothing };
        match object.text("status").ok().flatten().as_deref() {
            Some("ok") if object.raw("error").is_none() => Self::ok(session_id, &object),
            Some("error") => Failure::of(&object).map_or(Self::Nothing, Self::Error),
            Some(_) | None => Self::Nothing,
        }
    }

    fn ok(session_id: &str, object: &Object<'_>) -> Self {
        let session = object.object("session", |session| {
            let next = next_action(session.text("next_action")?.as_deref());
            let sight =
                session.text("status")?.map(|text| Sight { status: session_status(Some(&text)), next_action: next });
            Ok((session.identifier("id")?, sight))
        });
        match session.ok().flatten() {
            // An answer to somebody else's question.
            Some((Some(id), _)) if id != session_id => Self::Nothing,
            Some((Some(_), sight)) => Self::Ok(sight),
            Some((None, _)) | None => Self::Ok(None),
        }
    }
}

impl Failure {
    fn of(object: &Object<'_>) -> Option<Self> {
        let read = |error: &Object<'_>| {
            let description = error.text("description").ok().flatten().unwrap_or_default();
            Ok(Self { code: error.required_text("code")?, description })
        };
        object.object("error", read).ok().flatten()
    }

    fn reply(self, class: Class, operation: Operation) -> Reply {
        let asks_only = operation == Operation::Status;
        match self.code.as_str() {
            code if OUR_TROUBLE.contains(&code) => Reply::OurTrouble,
            "internal_error" | "provider_timeout" | "provider_internal_error" | "capture_timeout" => Reply::TryAgain,
            // A status has no key.
            "idempotency_key_already_exists" if asks_only => Reply::Unclear,
            "idempotency_key_already_exists" => Reply::KeyExists,
            _ if class == Class::Failure => Reply::Unclear,
            "amount_less_allowed_provider" | "bank_card_expired" | "account_not_found" | "3DS_error" if !asks_only => {
                let (code, description) = self.bounded();
                Reply::Refused { code, description }
            }
            _ => {
                let (code, description) = self.bounded();
                Reply::UnknownCode { code, description }
            }
        }
    }

    fn bounded(self) -> (String, String) {
        (bounded(self.code, CODE_BYTES_MAX), bounded(self.description, DESCRIPTION_BYTES_MAX))
    }
}

fn bounded(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// Which of our troubles an answer names, for whoever has to mend it; nothing else that stands in it is repeated.
pub fn our_trouble(body: &[u8]) -> Option<&'static str> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let code = answer.get("error")?.get("code")?.as_str()?;
    OUR_TROUBLE.into_iter().find(|known| *known == code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::smart_glocal::v1::{NextAction, SessionStatus};

    const OK: &str = r#"{"status":"ok"}"#;
    const SIGHTED: &str =
        r#"{"status":"ok","session":{"id":"ps_1","status":"in_progress","next_action":"confirm","later":{}}}"#;
    const ALL_ERRORS: [&str; 14] = [
        "identification_error",
        "authentication_error",
        "authorization_error",
        "invalid_request",
        "internal_error",
        "provider_timeout",
        "provider_internal_error",
        "capture_timeout",
        "idempotency_key_already_exists",
        "amount_less_allowed_provider",
        "bank_card_expired",
        "account_not_found",
        "3DS_error",
        "later_code",
    ];

    fn error(code: &str) -> String {
        format!(r#"{{"status":"error","error":{{"code":"{code}","description":"d"}}}}"#)
    }

    fn reply(operation: Operation, status: u16, body: &str) -> Reply {
        read(operation, "ps_1", StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    fn check(statuses: &[u16], operations: &[Operation], body: &str, expect: &Reply) {
        for status in statuses {
            for operation in operations {
                assert_eq!(&reply(*operation, *status, body), expect, "{operation:?} {status} {body}");
            }
        }
    }

    fn refused(code: &str) -> Reply {
        Reply::Refused { code: code.to_owned(), description: "d".to_owned() }
    }

    fn unknown(code: &str) -> Reply {
        Reply::UnknownCode { code: code.to_owned(), description: "d".to_owned() }
    }

    const ACTIONS: [Operation; 2] = [Operation::Confirm, Operation::Cancel];
    const STATUS: [Operation; 1] = [Operation::Status];
    const SUCCESS: [u16; 3] = [200, 202, 299];
    const OURS: [u16; 4] = [401, 403, 404, 429];
    const REFUSAL: [u16; 6] = [400, 402, 405, 409, 422, 499];
    const FAILURE: [u16; 5] = [500, 502, 503, 504, 599];
    const STRANGE: [u16; 6] = [101, 300, 301, 302, 308, 600];

    #[test]
    fn what_is_not_understood_is_unclear() {
        let bodies = [
            "",
            "<html>Bad Gateway</html>",
            "null",
            "[]",
            "{}",
            r#"{"status":"okay"}"#,
            r#"{"status":1}"#,
            r#"{"status":"error"}"#,
            r#"{"status":"error","error":"internal_error"}"#,
            r#"{"status":"error","error":{"code":""}}"#,
            r#"{"status":"error","error":{"code":7}}"#,
            r#"{"error":{"code":"account_not_found"}}"#,
            r#"{"status":"ok","error":{"code":"account_not_found"}}"#,
            r#"{"status":"ok","session":{"id":"ps_2","status":"accepted"}}"#,
            &SIGHTED[..40],
        ];
        for body in bodies {
            for statuses in [&SUCCESS[..], &REFUSAL, &FAILURE] {
                check(statuses, &Operation::ALL, body, &Reply::Unclear);
            }
        }
    }

    #[test]
    fn some_statuses_are_our_trouble_and_some_nobodys_whatever_the_body_says() {
        let errors = ALL_ERRORS.map(error);
        let bodies = errors.iter().map(String::as_str).chain(["", "<html>", OK, SIGHTED]);
        for body in bodies {
            check(&OURS, &Operation::ALL, body, &Reply::OurTrouble);
            check(&STRANGE, &Operation::ALL, body, &Reply::Unclear);
        }
    }

    #[test]
    fn ok_counts_only_with_success_and_a_status_only_with_its_session() {
        let sight = Sight { status: SessionStatus::InProgress, next_action: NextAction::Confirm };
        check(&SUCCESS, &Operation::ALL, SIGHTED, &Reply::Ok(Some(sight)));
        let unreadable = [
            OK,
            r#"{"status":"ok","session":null}"#,
            r#"{"status":"ok","session":7}"#,
            r#"{"status":"ok","session":{"id":"ps_1"}}"#,
            r#"{"status":"ok","session":{"status":"accepted"}}"#,
            r#"{"status":"ok","session":{"id":"ps_1","status":1}}"#,
            r#"{"status":"ok","session":{"id":"ps_1","status":"in_progress","next_action":1}}"#,
        ];
        for body in unreadable {
            check(&SUCCESS, &ACTIONS, body, &Reply::Ok(None));
            check(&SUCCESS, &STATUS, body, &Reply::Unclear);
        }
        for body in [OK, SIGHTED] {
            check(&REFUSAL, &Operation::ALL, body, &Reply::Unclear);
            check(&FAILURE, &Operation::ALL, body, &Reply::Unclear);
        }
    }

    #[test]
    fn reads_a_session_in_every_spelling() {
        for (status, expect) in [
            ("created", SessionStatus::Created),
            ("in_progress", SessionStatus::InProgress),
            ("accepted", SessionStatus::Accepted),
            ("cancelled", SessionStatus::Cancelled),
            ("canceled", SessionStatus::Cancelled),
            ("error", SessionStatus::Error),
            ("later", SessionStatus::Unspecified),
        ] {
            for (next, next_action) in [
                ("", NextAction::Unspecified),
                (r#","next_action":null"#, NextAction::Unspecified),
                (r#","next_action":"later""#, NextAction::Unspecified),
                (r#","next_action":"capture""#, NextAction::Capture),
                (r#","next_action":"confirm""#, NextAction::Confirm),
            ] {
                let body = format!(r#"{{"status":"ok","session":{{"id":"ps_1","status":"{status}"{next}}}}}"#);
                let sight = Sight { status: expect, next_action };
                check(&[200], &Operation::ALL, &body, &Reply::Ok(Some(sight)));
            }
        }
    }

    #[test]
    fn each_code_has_its_row() {
        let both = [&SUCCESS[..], &REFUSAL].concat();
        let all = [&both[..], &FAILURE].concat();
        for code in ALL_ERRORS {
            let body = error(code);
            match code {
                "identification_error" | "authentication_error" | "authorization_error" | "invalid_request" => {
                    check(&all, &Operation::ALL, &body, &Reply::OurTrouble);
                }
                "internal_error" | "provider_timeout" | "provider_internal_error" | "capture_timeout" => {
                    check(&all, &Operation::ALL, &body, &Reply::TryAgain);
                }
                "idempotency_key_already_exists" => {
                    check(&all, &ACTIONS, &body, &Reply::KeyExists);
                    check(&all, &STATUS, &body, &Reply::Unclear);
                }
                "later_code" => {
                    check(&both, &Operation::ALL, &body, &unknown(code));
                    check(&FAILURE, &Operation::ALL, &body, &Reply::Unclear);
                }
                refusal => {
                    check(&both, &ACTIONS, &body, &refused(refusal));
                    check(&both, &STATUS, &body, &unknown(refusal));
                    check(&FAILURE, &Operation::ALL, &body, &Reply::Unclear);
                }
            }
        }
    }

    #[test]
    fn words_of_the_provider_are_bounded_at_whole_letters() {
        let body = format!(
            r#"{{"status":"error","error":{{"code":"x{}","description":"x{}"}}}}"#,
            "é".repeat(1000),
            "é".repeat(1000)
        );
        let Reply::UnknownCode { code, description } = reply(Operation::Confirm, 400, &body) else { panic!() };
        assert_eq!((code.len(), description.len()), (127, 1023));
        let odd = r#"{"status":"error","error":{"code":"3DS_error","description":{}}}"#;
        let expect = Reply::Refused { code: "3DS_error".to_owned(), description: String::new() };
        assert_eq!(reply(Operation::Confirm, 400, odd), expect);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_reply(status in 100_u16..1000, body in any::<Vec<u8>>()) {
            for operation in Operation::ALL {
                read(operation, "ps_1", StatusCode::from_u16(status).unwrap(), &body);
            }
        }

        /// Every place of a good answer may be damaged, and the code may be anything.
        #[test]
        fn only_a_listed_refusal_ends_a_session(
            status in 100_u16..1000, code in "[a-zA-Z3_]{1,30}", at in 0_usize..90, byte in any::<u8>(),
        ) {
            let mut body = error(&code).into_bytes();
            if let Some(place) = body.get_mut(at) {
                *place = byte;
            }
            for operation in Operation::ALL {
                let reply = read(operation, "ps_1", StatusCode::from_u16(status).unwrap(), &body);
                prop_assert!(!matches!(reply, Reply::Refused { .. }), "{:?}", reply);
                prop_assert!(!matches!(reply, Reply::Ok(_)), "{:?}", reply);
            }
        }
    }

    #[test]
    fn names_our_troubles_and_repeats_nothing_else() {
        for code in ALL_ERRORS {
            let ours = OUR_TROUBLE.into_iter().find(|known| *known == code);
            assert_eq!(our_trouble(error(code).as_bytes()), ours, "{code}");
        }
        for body in ["", "{}", r#"{"error":"authentication_error"}"#, r#"{"error":{"code":["authentication_error"]}}"#]
        {
            assert_eq!(our_trouble(body.as_bytes()), None, "{body}");
        }
    }
}
