//! How fields are read in every form that they come in, and which paths are noted.
//! Must not know any provider.

use super::*;
use crate::provider::json;

/// Reads one field `a` of this JSON; what is read, and what is noted.
fn read<T>(value: &str, read: impl FnOnce(&Reader<'_, '_>) -> T) -> (T, Vec<String>) {
    let body = format!(r#"{{"a":{value}}}"#);
    let document = json::parse(body.as_bytes()).unwrap();
    let unread = Unread::default();
    let read = read(&Reader::new(document.object(), &unread));
    (read, unread.into_paths())
}

/// Every value is read as expected, and noted exactly where it is not read and not null.
#[track_caller]
fn check<T: PartialEq + fmt::Debug>(by: impl Fn(&Reader<'_, '_>) -> Option<T>, cases: &[(&str, Option<T>)]) {
    for (value, expect) in cases {
        let (seen, unread) = read(value, &by);
        assert_eq!(seen, *expect, "{value}");
        let noted: &[&str] = if expect.is_none() && *value != "null" { &["a"] } else { &[] };
        assert_eq!(unread, noted, "{value}");
    }
}

#[test]
fn reads_texts_and_numbers_as_texts() {
    let text = |text: &str| Some(text.to_owned());
    check(
        |reader| reader.text("a"),
        &[
            ("{}", None),
            ("[]", None),
            ("true", None),
            ("null", None),
            (r#""""#, text("")),
            (r#""x""#, text("x")),
            ("77", text("77")),
            ("-1.50e3", text("-1.50e3")),
            (r#""Gift \ud83d""#, text("Gift \u{fffd}")),
            (r#""\ud83d\ude00 \udc00\ud800""#, text("😀 \u{fffd}\u{fffd}")),
        ],
    );
    check(|reader| reader.word("a"), &[("true", text("true")), (r#""false""#, text("false")), ("[1]", None)]);
}

#[test]
fn reads_whole_numbers_in_every_form() {
    check(
        |reader| reader.integer("a"),
        &[
            (r#""""#, None),
            (r#""x""#, None),
            (r#"" 1""#, None),
            (r#""100.00""#, None),
            (r#""1e4""#, None),
            ("1.5", None),
            ("true", None),
            ("[1]", None),
            ("9223372036854775808", None),
            ("321", Some(321)),
            (r#""321""#, Some(321)),
            ("10000.0", Some(10_000)),
            ("1e4", Some(10_000)),
            (r#""-7""#, Some(-7)),
        ],
    );
}

#[test]
fn reads_booleans() {
    check(
        |reader| reader.boolean("a"),
        &[("1", None), (r#""yes""#, None), ("{}", None), ("false", Some(false)), (r#""true""#, Some(true))],
    );
}

#[test]
fn reads_instants_with_an_offset_in_any_form() {
    let at = Some("2024-05-27T02:03:00Z".parse::<Timestamp>().unwrap());
    check(
        |reader| reader.time("a"),
        &[
            (r#""""#, None),
            (r#""0000-00-00 00:00:00""#, None),
            (r#""2024-05-27 02:03:00""#, None),
            (r#""2024-05-27""#, None),
            ("1716775380", None),
            (r#""27/05/2024""#, None),
            // No message can tell it: the clocks of protobuf begin with year 1.
            (r#""0000-12-31T23:59:59Z""#, None),
            (r#""-009999-01-02T01:59:59Z""#, None),
            (r#""2024-05-27T02:03:00Z""#, at),
            (r#""2024-05-27 02:03:00Z""#, at),
            (r#""2024-05-27T02:03:00.000000Z""#, at),
            (r#""2024-05-27T04:03:00+0200""#, at),
            (r#""2024-05-27 04:03:00+02:00""#, at),
            (r#""2024-05-27T04:03:00+02""#, at),
        ],
    );
}

#[test]
fn reads_times_without_an_offset_where_the_zone_is_known() {
    let mexico = jiff::tz::TimeZoneDatabase::bundled().get("America/Mexico_City").unwrap();
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    // TZ=UTC date -d 'TZ="America/Mexico_City" 2022-07-15 12:00:00'; summer time ended for good in October 2022
    check(
        |reader| reader.time_in("a", &mexico),
        &[
            (r#""""#, None),
            (r#""2024-07-15""#, None),
            (r#""0000-00-00 00:00:00""#, None),
            (r#""2024-02-30 12:34:56""#, None),
            (r#""2024-07-15 24:00:00""#, None),
            (r#""2024-07-15 12:34:56[America/New_York]""#, None),
            (r#""9999-12-31 23:59:59-20:00""#, None),
            ("1721068496", None),
            (r#""0000-07-15 12:00:00""#, None),
            (r#""2022-07-15 12:00:00""#, at("2022-07-15T17:00:00Z")),
            (r#""2024-07-15 12:34:56""#, at("2024-07-15T18:34:56Z")),
            (r#""2024-07-15T12:34:56""#, at("2024-07-15T18:34:56Z")),
            (r#""2024-07-15T12:34:56Z""#, at("2024-07-15T12:34:56Z")),
            (r#""2021-10-31 01:30:00""#, at("2021-10-31T06:30:00Z")),
            (r#""2021-04-04 02:30:00""#, at("2021-04-04T08:30:00Z")),
        ],
    );
}

#[test]
fn reads_objects_and_lists_as_php_writes_them() {
    let ids = |reader: &Reader<'_, '_>| reader.list("a", |item| item.text("id").unwrap_or_default());
    for (value, expect, unread) in [
        ("null", vec![], vec![]),
        ("[]", vec![], vec![]),
        ("{}", vec![], vec![]),
        (r#"[{"id":"x"},{"id":2}]"#, vec!["x", "2"], vec![]),
        (r#"{"1":{"id":"x"},"7":{"id":"y"}}"#, vec!["x", "y"], vec![]),
        (r#"[{"id":"x"},3,{"id":{}}]"#, vec!["x", ""], vec!["a[1]", "a[2].id"]),
        (r#"{"id":"x"}"#, vec![], vec!["a"]),
        ("7", vec![], vec!["a"]),
    ] {
        assert_eq!(
            read(value, ids),
            (expect.into_iter().map(str::to_owned).collect(), unread.into_iter().map(str::to_owned).collect()),
            "{value}"
        );
    }
    check(
        |reader| reader.object("a", |object| object.text("b")),
        &[
            ("7", None),
            ("[1]", None),
            ("{}", Some(None)),
            ("[]", Some(None)),
            (r#"{"b":1}"#, Some(Some("1".to_owned()))),
        ],
    );
    let (map, unread) = read(r#"{"x":"1","y":[2]}"#, |reader| reader.text_map("a"));
    assert_eq!((map["x"].as_str(), map["y"].as_str(), unread.len()), ("1", "[2]", 0));
}

#[test]
fn notes_each_path_once_and_not_more_than_so_many() {
    let list = format!("[{}]", vec![r#"{"b":[]}"#; 100].join(","));
    let ((), unread) = read(&list, |reader| {
        reader.list("a", |item| (item.text("b"), item.text("b")));
    });
    assert_eq!((unread.len(), unread[0].as_str(), unread[64].as_str()), (65, "a[0].b", "…"));
}
