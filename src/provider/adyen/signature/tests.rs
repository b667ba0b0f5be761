//! Signatures of Adyen: the vectors of its own libraries, the colons that nothing escapes, and what is refused.
//! Must not know what an item means.

use serde_json::{Value, json};

use super::*;
use crate::provider::tests::fixtures::Files;

/// The keys of the vectors, by the library that has them.
const KEYS: Files = Files(&[
    // adyen-java-api-library: HMACValidatorTest
    ("java", "9064450A8892A093D9E97EFCC9639DE31B74F3A7803135555A3C96F5A57915D6\n"),
    // adyen-python-api-library: test/UtilTest.py
    ("python", "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"),
    // adyen-python-api-library: test/mocks/util
    ("mocks", "74F490DD33F7327BAECC88B2947C011FC02D014A473AAA33A8EC93E4DC069174"),
    // adyen-node-api-library: hmacValidator.spec.ts
    ("node", "DFB1EB5485895CFA84146406857104ABB4CBCABDC8AAF103A624C8F6A3EAAB00"),
    ("node-lower-case", "dfb1eb5485895cfa84146406857104abb4cbcabdc8aaf103a624c8f6a3eaab00"),
    ("short", "11aa"),
    ("odd", "9064450A8892A093D9E97EFCC9639DE31B74F3A7803135555A3C96F5A57915D"),
    ("bad", "BadKey"),
]);

fn key(name: &str) -> HmacKey {
    HmacKey::from_file(&KEYS, Path::new(name)).unwrap()
}

/// An item of the signed values in their order, empty ones left out; the amount's value as a number where it is one.
fn item(values: [&str; 8], signature: &str) -> Value {
    let mut item = json!({"additionalData": {"hmacSignature": signature}});
    for (name, value) in SIGNED_NAMES.iter().zip(values).filter(|(_, value)| !value.is_empty()) {
        match name.split_once('.') {
            Some((object, field)) => {
                item[object][field] = value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number));
            }
            None => item[*name] = json!(value),
        }
    }
    item
}

fn in_list(items: &[Value]) -> String {
    let wrapped: Vec<Value> = items.iter().map(|item| json!({"NotificationRequestItem": item})).collect();
    json!({"live": "false", "notificationItems": wrapped}).to_string()
}

#[track_caller]
fn check(keys: &[&str], body: &str, expect: Result<&str, Unverified>) {
    let keys: Vec<HmacKey> = keys.iter().map(|name| key(name)).collect();
    let proof = authenticate(&keys, body.as_bytes());
    assert_eq!(proof.as_ref().map(|proof| proof.signature.as_str()), expect.as_ref().copied(), "{body}");
    let told = likely_cause(&keys, body.as_bytes());
    assert_eq!(told.is_some(), proof.is_err(), "{body}: {told:?}");
    assert!(!explain(&keys, body.as_bytes()).is_empty());
}

/// Of each vector: key, the signed values, and the signature.
const VECTORS: [(&str, [&str; 8], &str); 8] = [
    (
        "java",
        ["test_REPORT_AVAILABLE", "", "Magento2Rik", "testMerchantRef1", "0", "EUR", "REPORT_AVAILABLE", "true"],
        "NuEkADFmlCC6VgX+wcoPAegIWxVPNBPCuKlM4Hzo5qc=",
    ),
    (
        "python",
        ["7914073381342284", "", "TestMerchant", "TestPayment-1407325143704", "1130", "EUR", "AUTHORISATION", "true"],
        "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0=",
    ),
    (
        "mocks",
        ["T7FD4VM4D3RZNN82", "", "AntoniStroinski", r"\\slashes are fun", "1000", "EUR", "AUTHORISATION", "true"],
        "nIgT81gaB5oJpn2jPXupDq68iRo2wUlBsuYjtYfwKqo=",
    ),
    (
        "mocks",
        ["M8NB66SBZSGLNK82", "", "AntoniStroinski", ":slashes are fun", "1000", "EUR", "AUTHORISATION", "true"],
        "2EQYm7YJpKO4EtHSPu55SQTyWf8dkW5u2nD1tJFpViA=",
    ),
    (
        "mocks",
        ["X3GWNS6KJ8NKGK82", "", "AntoniStroinski", "//slashes are fun", "1000", "EUR", "AUTHORISATION", "true"],
        "9Z0xdpG9Xi3zcmXv14t/BvMBut77O/Xq9D4CQXSDUi4=",
    ),
    (
        "mocks",
        ["ZVWN7D3WSMK2WN82", "", "AntoniStroinski", r"\:/\/slashes are fun", "1000", "EUR", "AUTHORISATION", "true"],
        "CZErGCNQaSsxbaQfZaJlakqo7KPP+mIa8a+wx3yNs9A=",
    ),
    (
        "node",
        [
            "pspReference",
            "originalReference",
            "merchantAccount",
            "reference",
            "1000",
            "EUR",
            "REPORT_AVAILABLE",
            "true",
        ],
        "ZNBPtI+oDyyRrLyD1XirkKnQgIAlFc07Vj27TeHsDRE=",
    ),
    (
        "node",
        ["pspReference", "originalReference", "merchantAccount", "reference", "1000", "EUR", "EVENT", "true"],
        "ipnxGCaUZ4l8TUW75a71/ghd2Fe5ffvX0pV4TLTntIc=",
    ),
];

#[test]
fn believes_the_vectors_of_adyens_libraries_and_signs_them() {
    for (name, values, signature) in VECTORS {
        let item = item(values, signature);
        for body in
            [in_list(std::slice::from_ref(&item)), json!({"notificationItems": [item]}).to_string(), item.to_string()]
        {
            check(&[name], &body, Ok(signature));
        }
        let text = item.to_string();
        let document = json::parse(text.as_bytes()).unwrap();
        assert_eq!(key(name).sign(&SignedValues::of(document.object()).unwrap()), signature);
        // The slashes of base64 may come escaped.
        check(&[name], &in_list(&[item]).replace('/', r"\/"), Ok(signature));
    }
}

#[test]
fn a_mac_of_plain_text_is_that_of_the_java_library() {
    let mac = key("java").keyed.chain_update(b"TestPayload").finalize().into_bytes();
    assert_eq!(STANDARD.encode(mac), "YA9/UDjldIO4Gq68X4ATYYoEaPYH4f4k2uzBBzEF1PA=");
}

#[test]
fn takes_amounts_as_text_and_success_as_a_boolean() {
    let (name, values, signature) = VECTORS[0];
    let mut item = item(values, signature);
    item["amount"]["value"] = json!("0");
    item["success"] = json!(true);
    check(&[name], &in_list(&[item]), Ok(signature));
}

#[test]
fn refuses_a_changed_or_absent_signed_value() {
    for (name, values, signature) in VECTORS {
        let whole = item(values, signature);
        for changed in 0..values.len() {
            let mut other = values;
            other[changed] = if SIGNED_NAMES[changed] == "amount.value" { "7" } else { "other" };
            check(&[name], &in_list(&[item(other, signature)]), Err(Unverified::SignatureMismatch));
        }
        // java testValidateHMACMissingOptionalField: the old signature of an item whose amount is gone
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove("amount");
        check(&[name], &in_list(&[without]), Err(Unverified::SignatureMismatch));
    }
}

#[test]
fn signs_absent_values_as_empty_ones() {
    let item =
        item(["test_REPORT_AVAILABLE", "", "Magento2Rik", "testMerchantRef1", "", "", "REPORT_AVAILABLE", "true"], "");
    let text = item.to_string();
    let document = json::parse(text.as_bytes()).unwrap();
    let signed = SignedValues::of(document.object()).unwrap();
    assert_eq!(signed.text(), "test_REPORT_AVAILABLE::Magento2Rik:testMerchantRef1:::REPORT_AVAILABLE:true");
}

/// The same text and so the same signature, cut otherwise: a reference that a buyer or a shop chose must not become an amount.
#[test]
fn refuses_a_text_that_is_cut_in_another_way() {
    // printf 'A::M:x:1:EUR:AUTHORISATION:true:5:EUR:CAPTURE:true' | openssl dgst -sha256 -mac HMAC -macopt hexkey:9064… -binary | base64
    let signature = {
        let item = item(["A", "", "M", "x:1:EUR:AUTHORISATION:true", "5", "EUR", "CAPTURE", "true"], "");
        let text = item.to_string();
        key("java").sign(&SignedValues::of(json::parse(text.as_bytes()).unwrap().object()).unwrap())
    };
    let cut = |values| in_list(&[item(values, &signature)]);
    check(&["java"], &cut(["A", "", "M", "x:1:EUR:AUTHORISATION:true", "5", "EUR", "CAPTURE", "true"]), Ok(&signature));
    for values in [
        ["A", "", "M", "x", "1", "EUR", "AUTHORISATION", "true:5:EUR:CAPTURE:true"],
        ["A", "", "M", "x", "1", "EUR", "AUTHORISATION:true:5:EUR:CAPTURE", "true"],
        ["A", "", "M", "x", "1", "EUR:AUTHORISATION:true:5:EUR", "CAPTURE", "true"],
        ["A", "", "M", "x", "1:EUR:AUTHORISATION:true:5", "EUR", "CAPTURE", "true"],
        ["A", "", "M:x", "1:EUR:AUTHORISATION:true", "5", "EUR", "CAPTURE", "true"],
        ["A:", "M", "x", "1:EUR:AUTHORISATION:true", "5", "EUR", "CAPTURE", "true"],
    ] {
        check(&["java"], &cut(values), Err(Unverified::SignatureMalformed));
    }
}

#[test]
fn refuses_a_signature_that_is_absent_malformed_or_of_another_length() {
    let (name, values, signature) = VECTORS[6];
    let with = |value: Value| {
        let mut item = item(values, signature);
        item["additionalData"]["hmacSignature"] = value;
        in_list(&[item])
    };
    for value in [json!(""), json!(null), json!(7), json!([signature]), json!("notValidSign!"), json!("?")] {
        check(&[name], &with(value), Err(Unverified::SignatureMalformed));
    }
    let unpadded = signature.trim_end_matches('=');
    check(&[name], &with(json!(unpadded)), Err(Unverified::SignatureMalformed));
    // node has both: `notValidSign` is base64 of 9 bytes, and 44 times A of 33
    for value in ["notValidSign".to_owned(), "A".repeat(44), STANDARD.encode([0; 31]), "11aa".to_owned()] {
        check(&[name], &with(json!(value)), Err(Unverified::SignatureMismatch));
    }
    for additional in [json!(null), json!([]), json!("x"), json!({})] {
        let mut item = item(values, signature);
        item["additionalData"] = additional;
        check(&[name], &in_list(&[item]), Err(Unverified::SignatureMalformed));
    }
}

#[test]
fn refuses_a_body_of_another_shape() {
    for body in
        ["", "x", "[]", "{}", "7", r#"{"notificationItems":[]}"#, r#"{"notificationItems":null}"#, r#"{"type":"x"}"#]
    {
        check(&["node"], body, Err(Unverified::SignatureMalformed));
    }
}

#[test]
fn one_item_that_is_not_proven_refuses_all() {
    let signed: Vec<Value> = VECTORS[6..].iter().map(|(_, values, signature)| item(*values, signature)).collect();
    let [first, second] = [signed[0].clone(), signed[1].clone()];
    check(&["node"], &in_list(&[first.clone(), second.clone()]), Ok(VECTORS[6].2));
    check(&["node"], &in_list(&[second.clone(), first.clone()]), Ok(VECTORS[7].2));
    let (_, values, signature) = VECTORS[1];
    let foreign = item(values, signature);
    check(&["node"], &in_list(&[first.clone(), foreign]), Err(Unverified::SignatureMismatch));
    check(&["node"], &in_list(&[first.clone(), item(VECTORS[7].1, "")]), Err(Unverified::SignatureMalformed));
    check(&["node"], &json!({"notificationItems": [first, 7]}).to_string(), Err(Unverified::SignatureMalformed));
}

#[test]
fn tries_every_key_and_records_which() {
    let (name, values, signature) = VECTORS[6];
    let body = in_list(&[item(values, signature)]);
    check(&["java", name], &body, Ok(signature));
    check(&["node-lower-case"], &body, Ok(signature));
    check(&["java", "mocks"], &body, Err(Unverified::SignatureMismatch));
    let proof = authenticate(&[key("java"), key(name)], body.as_bytes()).unwrap();
    // printf DFB1… | xxd -r -p | sha256sum
    assert_eq!(proof.key_id, key(name).id);
    assert_eq!(proof.scheme, Scheme::AdyenHmacSha256);
    let parts = proof.signed_parts.unwrap();
    assert_eq!(
        parts.template,
        "{pspReference}:{originalReference}:{merchantAccountCode}:{merchantReference}:{amount.value}:{amount.currency}:\
         {eventCode}:{success}"
    );
    assert!(!parts.body_signed && parts.type_signed);
}

#[test]
fn refuses_a_file_that_has_no_whole_key() {
    for (name, expect) in [
        ("bad", "holds other text, but needs the webhook's HMAC key in hex digits"),
        ("odd", "needs the webhook's HMAC key in hex digits"),
        ("short", "must have a whole HMAC key: 64 hex digits"),
        ("absent", "cannot be read"),
    ] {
        let error = HmacKey::from_file(&KEYS, Path::new(name)).err().map(|error| error.to_string());
        assert!(error.as_ref().is_some_and(|error| error.contains(expect)), "{name}: {error:?}");
    }
}

#[test]
fn says_what_is_likely_wrong_and_never_a_value_of_a_stranger() {
    let (_, values, _) = VECTORS[6];
    let cause = |code: &str, signature: &str| {
        let mut values = values;
        values[6] = code;
        likely_cause(&[key("node")], in_list(&[item(values, signature)]).as_bytes()).unwrap()
    };
    for code in ["PENDING", "EXPIRE", "ORDER_CLOSED", "DONATION"] {
        assert!(cause(code, "").contains(&format!("event code {code} has no hmacSignature")));
    }
    assert!(cause("anything", "").starts_with("an item has no hmacSignature"));
    assert!(cause("EVENT", "AAAA").starts_with("no configured key"));
    assert!(cause("A:B", "AAAA").contains("colon"));
    let other = likely_cause(&[key("node")], br#"{"type":"recurring.token.created","data":{}}"#).unwrap();
    assert!(other.contains("no standard webhook"), "{other}");
    let lines =
        explain(&[key("node")], in_list(&[item(values, VECTORS[6].2), item(values, "AAAA")]).as_bytes()).join("\n");
    for part in
        ["items: 2", "item 0: event code \"REPORT_AVAILABLE\": signed text of 87 bytes", "right by key", "no key gives"]
    {
        assert!(lines.contains(part), "no {part} in {lines}");
    }
    assert!(!lines.contains(VECTORS[6].2) && !lines.contains("reference:1000"), "{lines}");
}
