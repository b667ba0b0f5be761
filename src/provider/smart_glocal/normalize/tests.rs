//! Bodies in every shape: what is read, what is named as unreadable, and what an id leaves out.

use super::*;

#[test]
fn cuts_nothing_out_of_a_body_that_is_no_json_object() {
    let id = |updated_at: &str, end: &str| {
        let body = format!(r#"{{"session":{{"updated_at":"{updated_at}"}}{end}"#);
        normalize("s", body.as_bytes()).identity
    };
    for broken in ["", "} x"] {
        assert_ne!(id("1", broken), id("2", broken), "{broken:?}");
    }
    assert_eq!(id("1", "}"), id("2", "}"));
}

fn session_of(body: &str) -> (Session, Vec<String>) {
    let normalized = normalize("s", body.as_bytes());
    let Content::Event(encoded) = normalized.content else { panic!("{body}") };
    let event = <ReadyToConfirm as prost::Message>::decode(encoded.fields.as_slice()).unwrap();
    (event.session.unwrap(), normalized.unread_fields)
}

#[test]
fn reads_odd_fields_and_names_what_cannot_be_read() {
    let check = |field: &str, unread: &[&str], is_read: fn(&Operation) -> bool| {
        let body = format!(
            r#"{{"type":"ready_to_confirm","session":{{"id":"ps_1","payout_list":[{{"id":"po_1",{field}}}]}}}}"#
        );
        let (session, named) = session_of(&body);
        let unread: Vec<String> = unread.iter().map(|name| format!("session.payout_list[0].{name}")).collect();
        assert_eq!(named, unread, "{field}");
        assert!(is_read(&session.operations[0]), "{field}: {session:?}");
    };
    let whole = |operation: &Operation| operation.amount.as_ref().is_some_and(|amount| amount.minor_units == 10_000);
    for amount in [r#""10000""#, "10000.0", "1e4", "10000"] {
        check(&format!(r#""amount_details":{{"amount":{amount},"currency":"usd"}}"#), &[], whole);
    }
    let no_amount = |operation: &Operation| operation.amount.is_none();
    for amount in [r#""""#, "100.5", "true", r#""1,000""#, "[]", "{}"] {
        let field = format!(r#""amount_details":{{"amount":{amount},"currency":"usd"}}"#);
        check(&field, &["amount_details.amount"], no_amount);
    }
    let empty = |operation: &Operation| operation.transaction_info == Some(TransactionInfo::default());
    check(r#""transaction_info":[]"#, &[], empty);
    check(r#""error":[]"#, &[], |operation| operation.error.is_some());
    check(r#""customer":[]"#, &[], |operation| operation.customer == Some(Customer::default()));
    check(r#""customer":"user-1""#, &["customer"], |operation| operation.customer.is_none());
    check(r#""customer":{"contacts":{}}"#, &[], |operation| operation.customer.is_some());
    check(r#""customer":{"reference":77}"#, &[], |operation| {
        operation.customer.as_ref().unwrap().reference.as_deref() == Some("77")
    });
    check(r#""payout_details":[]"#, &[], |operation| operation.instrument.is_some());
    check(r#""finished_at":"""#, &["finished_at"], |operation| operation.finished_at.is_none());
    check(r#""finished_at":"0000-00-00 00:00:00""#, &["finished_at"], |operation| operation.finished_at.is_none());
    check(r#""finished_at":1716775380"#, &["finished_at"], |operation| operation.finished_at.is_none());
    check(r#""finished_at":"2024-05-27 02:03:00+0000""#, &[], |operation| operation.finished_at.is_some());
    check(r#""error":{"description":"Gift \ud83d"}"#, &[], |operation| {
        operation.error.as_ref().unwrap().description.as_deref() == Some("Gift \u{fffd}")
    });
    check(r#""refunds":{"1":{"id":"r","is_chargeback":"true"}}"#, &[], |operation| {
        operation.refunds[0].is_chargeback == Some(true)
    });
    check(r#""refunds":[{"id":"r"},null,7]"#, &["refunds[1]", "refunds[2]"], |operation| operation.refunds.len() == 1);
}

#[test]
fn reads_either_name_of_an_instrument_in_either_list() {
    for list in ["payout_list", "payments", "payment_list", "acquiring_payments"] {
        for name in INSTRUMENTS {
            let body = format!(
                r#"{{"type":"ready_to_confirm","session":{{"id":"ps_1","{list}":[{{"id":"o","{name}":{{"type":"card"}}}}]}}}}"#
            );
            let (session, _) = session_of(&body);
            assert!(session.operations[0].instrument.is_some(), "{list} {name}");
        }
    }
}

/// PHP writes an absent instrument as an empty list beside the real one.
#[test]
fn an_empty_instrument_hides_no_other_and_two_that_differ_are_named() {
    let read = |fields: &str| {
        let body = format!(
            r#"{{"type":"ready_to_confirm","session":{{"id":"ps_1","payout_list":[{{"id":"po_1",{fields}}}]}}}}"#
        );
        let (session, unread) = session_of(&body);
        let instrument = session.operations[0].instrument.clone().unwrap();
        (instrument.card.and_then(|card| card.bin), unread)
    };
    let card = |name: &str, bin: u32| format!(r#""{name}":{{"type":"card","card":{{"bin":{bin}}}}}"#);
    let one = (Some("424242".to_owned()), Vec::<String>::new());
    assert_eq!(read(&format!(r#""payout_details":[],{}"#, card("payment_method", 424_242))), one);
    assert_eq!(read(&format!("{},{}", card("payout_details", 424_242), card("payment_method", 424_242))), one);
    let (bin, unread) = read(&format!("{},{}", card("payout_details", 424_242), card("payment_method", 510_510)));
    assert_eq!((bin.as_deref(), unread), (Some("424242"), vec!["session.payout_list[0].payment_method".to_owned()]));
    assert_eq!(read(r#""payout_details":{}"#), (None, Vec::new()));
}

#[test]
fn what_stands_in_place_of_an_operation_is_told_as_an_unknown_amount() {
    for (list, unread, unknown) in [
        (r#""payments":{"1":{"id":"a"}}"#, vec![], vec![]),
        (r#""payments":[{"id":"a"},7]"#, vec!["session.payments[1]"], vec!["payments[1]"]),
        (r#""payments":"none""#, vec!["session.payments"], vec!["payments"]),
        (r#""payments":{"id":"a"}"#, vec!["session.payments"], vec!["payments"]),
    ] {
        let body = format!(r#"{{"type":"ready_to_confirm","session":{{"id":"ps_1",{list}}}}}"#);
        let (session, named) = session_of(&body);
        assert_eq!(
            (named, session.unknown_amount_lists),
            (unread.into_iter().map(str::to_owned).collect(), unknown.into_iter().map(str::to_owned).collect()),
            "{list}"
        );
    }
}

/// Rules that compare with another text are warned about.
#[test]
fn every_text_that_means_something_is_listed() {
    let sessions = SESSION_STATUSES.map(|text| session_status(Some(text)));
    let actions = NEXT_ACTIONS.map(|text| next_action(Some(text)));
    let operations = OPERATION_STATUSES.map(|text| operation_status(Some(text)));
    let meanings = |numbers: &[i32]| numbers.iter().copied().collect::<std::collections::BTreeSet<i32>>();
    // Each has a number of its own from 1 on, and 0 is unspecified.
    assert_eq!(meanings(&sessions.map(i32::from)), meanings(&[1, 2, 3, 4, 5]));
    assert_eq!(meanings(&actions.map(i32::from)), meanings(&[1, 2]));
    assert_eq!(meanings(&operations.map(i32::from)), meanings(&[1, 2, 3, 4]));
    assert!(
        SessionStatus::try_from(6).is_err()
            && NextAction::try_from(3).is_err()
            && OperationStatus::try_from(5).is_err()
    );
}
