//! Each row and column of the table, and every form in which HTTP and JSON allow an answer to come.

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
const NOT_PROCESSED: [u16; 4] = [401, 403, 404, 429];
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
        r#"{"status":"error","error":{"code":null}}"#,
        r#"{"status":"error","error":{"code":["account_not_found"]}}"#,
        r#"{"status":"error","error":[]}"#,
        r#"{"status":"error","error":[{"code":"account_not_found"},{"code":"internal_error"}]}"#,
        r#"{"code":"account_not_found"}"#,
        r#"{"error":"account_not_found"}"#,
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
fn some_statuses_say_that_nothing_was_processed_and_some_say_nothing_whatever_the_body_says() {
    let errors = ALL_ERRORS.map(error);
    let bodies = errors.iter().map(String::as_str).chain(["", "<html>", OK, SIGHTED]);
    for body in bodies {
        check(&NOT_PROCESSED, &Operation::ALL, body, &Reply::NotProcessed);
        check(&STRANGE, &Operation::ALL, body, &Reply::Unclear);
    }
}

#[test]
fn ok_counts_only_with_success_and_a_status_only_with_its_session() {
    let view = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Confirm };
    check(&SUCCESS, &Operation::ALL, SIGHTED, &Reply::Ok(Some(view)));
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
            let view = SessionView { status: expect, next_action };
            check(&[200], &Operation::ALL, &body, &Reply::Ok(Some(view)));
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
                check(&all, &Operation::ALL, &body, &Reply::NotProcessed);
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

/// Most of the provider's examples have an error without `status`, and its client reads the HTTP status and the code alone.
#[test]
fn an_http_error_with_a_code_is_that_error_whatever_status_says() {
    for before in ["", r#""status":"error","#, r#""status":"ERROR","#, r#""status":"ok","#, r#""status":7,"#] {
        let body = |code: &str| format!(r#"{{{before}"error":{{"code":"{code}","description":"d","more":[{{}}]}}}}"#);
        check(&REFUSAL, &ACTIONS, &body("bank_card_expired"), &refused("bank_card_expired"));
        check(&REFUSAL, &STATUS, &body("bank_card_expired"), &unknown("bank_card_expired"));
        check(&FAILURE, &Operation::ALL, &body("bank_card_expired"), &Reply::Unclear);
        check(&REFUSAL, &Operation::ALL, &body("authorization_error"), &Reply::NotProcessed);
        check(&REFUSAL, &Operation::ALL, &body("internal_error"), &Reply::TryAgain);
        check(&FAILURE, &Operation::ALL, &body("internal_error"), &Reply::TryAgain);
        check(&NOT_PROCESSED, &Operation::ALL, &body("bank_card_expired"), &Reply::NotProcessed);
    }
    for body in [r#"{"error":{"code":"account_not_found"}}"#, r#"{"status":"ok","error":{"code":"account_not_found"}}"#]
    {
        check(&SUCCESS, &Operation::ALL, body, &Reply::Unclear);
    }
}

#[test]
fn an_answer_is_read_in_every_form_that_json_allows() {
    let view = SessionView { status: SessionStatus::InProgress, next_action: NextAction::Confirm };
    for body in [
        SIGHTED.to_owned(),
        format!("\u{feff}{SIGHTED}"),
        format!(" \r\n\t{SIGHTED}\n"),
        SIGHTED.replace(r#""ok""#, r#""OK""#),
        SIGHTED.replace(r#""ok""#, r#""o\u006b","error":null"#),
        SIGHTED.replace(r#""ok""#, r#""ok","error":{}"#),
        SIGHTED.replace(r#""ok""#, r#""ok","error":[]"#),
        SIGHTED.replace(r#""ok""#, r#""error","status":"ok""#),
        SIGHTED.replace("{}", r#"{"status":"error","error":{"code":"account_not_found"},"list":[[{"id":1}]]}"#),
        SIGHTED.replace("{}", r#""\ud83d a lone half""#),
    ] {
        check(&SUCCESS, &Operation::ALL, &body, &Reply::Ok(Some(view)));
    }
    for (error, code, description) in [
        (r#"{"code":"later","description":"d"}"#, "later", "d"),
        (r#"{"code":"l\u0061ter","description":"\u0064"}"#, "later", "d"),
        (r#"{"code":7,"description":-1.50}"#, "7", "-1.50"),
        (r#"{"code":"later","description":null}"#, "later", ""),
        (r#"{"code":"later"}"#, "later", ""),
        (r#"{"code":"later","description":{"ru":"x"}}"#, "later", ""),
        (r#"{"code":"later","description":"\ud83d\ude00"}"#, "later", "\u{1f600}"),
        (r#"{"code":"first","code":"later","description":"d"}"#, "later", "d"),
        (r#"[{"code":"later","description":"d"}]"#, "later", "d"),
    ] {
        let expect = Reply::UnknownCode { code: code.to_owned(), description: description.to_owned() };
        for mark in ["", "\u{feff}"] {
            check(&[400], &Operation::ALL, &format!(r#"{mark}{{"error":{error}}}"#), &expect);
        }
    }
}

#[test]
fn what_is_no_text_becomes_the_replacement_character_and_the_code_counts() {
    for body in [
        br#"{"error":{"code":"bank_card_expired","description":"a\ud800b"}}"#.to_vec(),
        b"{\"error\":{\"code\":\"bank_card_expired\",\"description\":\"a\xe9b\"}}".to_vec(),
    ] {
        let reply = read(Operation::Confirm, "ps_1", StatusCode::BAD_REQUEST, &body);
        let Reply::Refused { code, description } = reply else { panic!("{reply:?}") };
        assert_eq!(code, "bank_card_expired");
        assert!(description.starts_with("a\u{fffd}") && description.ends_with('b'), "{description}");
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
fn names_what_kept_a_call_from_being_processed_and_repeats_nothing_else() {
    for code in ALL_ERRORS {
        let expected = NOT_PROCESSED_CODES.into_iter().find(|known| *known == code);
        assert_eq!(not_processed_code(error(code).as_bytes()), expected, "{code}");
    }
    for body in ["", "{}", r#"{"error":"authentication_error"}"#, r#"{"error":{"code":["authentication_error"]}}"#] {
        assert_eq!(not_processed_code(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn tells_what_may_be_of_one_session_alone() {
    for (status, code, expect) in [
        (400, "authorization_error", FailureScope::Session),
        (403, "authorization_error", FailureScope::Session),
        (400, "invalid_request", FailureScope::Session),
        (404, "authorization_error", FailureScope::Session),
        (404, "later_code", FailureScope::Session),
        (404, "authentication_error", FailureScope::Source),
        (429, "authorization_error", FailureScope::Source),
        (400, "authentication_error", FailureScope::Source),
        (401, "identification_error", FailureScope::Source),
        (401, "later_code", FailureScope::Source),
        (500, "later_code", FailureScope::Source),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(failure_scope(status, error(code).as_bytes()), expect, "{status} {code}");
    }
    assert_eq!(failure_scope(StatusCode::NOT_FOUND, b"<html>"), FailureScope::Session);
    assert_eq!(failure_scope(StatusCode::UNAUTHORIZED, b""), FailureScope::Source);
}
