//! What a template gives, leaves out and refuses.

use http::HeaderValue;

use super::*;
use crate::provider::tests::fixtures::raw;

fn filled(template: &str, webhook: &RawWebhook, time: Option<&str>) -> Result<String, Unverified> {
    let template = Template::parse(template).unwrap();
    let pieces = template.fill(&Given { webhook, time, url: "https://bridge.example.com/x" })?;
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect();
    Ok(String::from_utf8(bytes).unwrap())
}

fn webhook(body: &str, headers: &[(&'static str, &str)], query: &str) -> RawWebhook {
    let mut webhook = raw("", body.to_owned());
    for (name, value) in headers {
        webhook.headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    webhook.query = query.to_owned();
    webhook
}

#[test]
fn fills_what_it_names() {
    let given = webhook(r#"{"a":{"b":"text"}}"#, &[("x-id", "17")], "data.id=ABC");
    for (template, expected) in [
        ("{body}", r#"{"a":{"b":"text"}}"#),
        ("v0:{t}:{body}", r#"v0:1700:{"a":{"b":"text"}}"#),
        ("{url}{body}", r#"https://bridge.example.com/x{"a":{"b":"text"}}"#),
        ("id:{query:data.id|lower};", "id:abc;"),
        ("id:{query:data.id};[request-id:{header:x-request-id};]ts:{t};", "id:ABC;ts:1700;"),
        ("[id:{header:x-id};]ts:{t};", "id:17;ts:1700;"),
        ("{text:/a/b}", "text"),
        ("{{{t}}}[[]]", "{1700}[]"),
    ] {
        assert_eq!(filled(template, &given, Some("1700")).unwrap(), expected, "{template}");
    }
}

#[test]
fn leaves_out_what_is_absent_and_not_what_is_empty() {
    let template = "[id:{query:id};]ts:{t};";
    assert_eq!(filled(template, &webhook("", &[], ""), Some("1")).unwrap(), "ts:1;");
    assert_eq!(filled(template, &webhook("", &[], "id="), Some("1")).unwrap(), "id:;ts:1;");
    let missing = filled("{header:x-id}.{body}", &webhook("", &[], ""), None);
    assert_eq!(missing, Err(Unverified::HeaderMissing));
}

#[test]
fn refuses_a_value_that_stands_twice() {
    let twice = webhook("", &[("x-id", "1"), ("x-id", "1")], "id=1&id=2");
    for template in ["{header:x-id}", "[a{header:x-id}]x", "{query:id}", "[a{query:id}]x"] {
        assert_eq!(filled(template, &twice, None), Err(Unverified::HeaderMissing), "{template}");
    }
}

#[test]
fn refuses_a_value_that_has_the_text_behind_it() {
    for (template, id, body, time) in [
        ("{header:x-id}.{t}.{body}", "a.b", "{}", "1"),
        ("{t}.{body}", "", "{}", "1.2"),
        ("{t}{body}", "", "7", "1"),
        ("{body}.{header:x-id}", "a.b", "{}", "1"),
        ("{header:x-id}{t}", "1a", "{}", "1"),
        ("{header:x-id}{t}{body}", r#"L2026-03-01T00:00:00Z{"n":""#, "{}", "2026-03-03T00:00:00Z"),
    ] {
        let outcome = filled(template, &webhook(body, &[("x-id", id)], ""), Some(time));
        assert_eq!(outcome, Err(Unverified::SignatureMalformed), "{template}");
    }
    let fine = webhook("1.2.3", &[("x-id", "a")], "");
    assert_eq!(filled("{header:x-id}.{t}.{body}", &fine, Some("1")).unwrap(), "a.1.1.2.3");
    assert_eq!(filled("{body}.{header:x-id}", &fine, None).unwrap(), "1.2.3.a");
}

#[test]
fn says_what_is_wrong_with_a_template() {
    for (template, expected) in [
        ("", "is empty"),
        ("{body", "has a { without its }"),
        ("body}", "has a } that closes nothing"),
        ("[{body}", "has a [ without its ]"),
        ("{body}]", "has a ] that closes nothing"),
        ("[[{t}][x]", "has a ] that closes nothing"),
        ("[a[b]]", "has brackets inside brackets"),
        ("{boby}", "has an unknown name in braces"),
        ("{header:a b}", "names no header"),
        ("{query:}", "names no parameter"),
        ("{text:a}", "has a pointer without a slash"),
        ("{body}{body}", "names the body twice"),
        ("{header:a}{body}", "has two values side by side"),
        ("{header:a}[.{header:b}]{t}", "has a value behind brackets"),
        ("[{header:a}.]{header:b}", "has brackets that do not hold one value behind a text"),
        ("x[;{header:a}{header:b}]", "has brackets that do not hold one value behind a text"),
        ("x[;{body}]", "has brackets that do not hold one value behind a text"),
    ] {
        let problem = Template::parse(template).unwrap_err();
        assert!(problem.starts_with(expected), "{template}: {problem}");
    }
    assert!(Template::parse("{header:x-login}{t}{body}").is_ok());
}
