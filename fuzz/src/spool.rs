//! Target `spool`: a file of the disk spool, of any bytes; and one that was written well and is damaged afterwards.
//!
//! An input is taken as a file. It is also taken as records, a line each, an empty line, and damage: three bytes each, a place (two
//! bytes, little-endian) and what the byte there is changed by.

use std::collections::BTreeSet;

use bytes::Bytes;
use paybridge::kafka::record::Record;
use paybridge::provider::EventId;
use paybridge::spool::batch::{Damage, SpooledRecord, decode, encode, index};

use crate::request;

/// Checks one input.
pub fn check(input: &[u8]) {
    check_any(input);
    if let Some((lines, damage)) = request::split_once(input, b"\n\n") {
        check_damaged(lines, damage);
    }
}

/// Whatever it is, what is read of it can be written and read again.
fn check_any(file: &[u8]) {
    let decoded = decode(file);
    let places: BTreeSet<u32> = decoded.records.iter().map(|(place, _)| *place).collect();
    assert_eq!(places.len(), decoded.records.len(), "a place is there twice");
    let records: Vec<SpooledRecord> = decoded.records.into_iter().map(|(_, record)| record).collect();
    let again = decode(&encode(1, &records));
    assert_eq!((again.damage, again.records.len()), (Vec::new(), records.len()));
    assert!(again.records.iter().map(|(_, record)| record).eq(&records));
    if let Some(found) = index(file) {
        let told = decoded.damage.iter().filter(|damage| damage.records() > 0).count();
        let is_other_version = decoded.damage.iter().any(|damage| matches!(damage, Damage::Version(_)));
        assert!(is_other_version || found.entries.len() == records.len() + told, "a record is neither read nor told");
    }
}

/// A record of a damaged file is as it was, or it is told.
fn check_damaged(lines: &[u8], damage: &[u8]) {
    let records: Vec<SpooledRecord> = lines.split(|byte| *byte == b'\n').map(record).collect();
    let mut file = encode(1, &records);
    let intact = file.clone();
    for change in damage.chunks(3) {
        let [low, high, change] = change else { break };
        let place = usize::from(u16::from_le_bytes([*low, *high])) % file.len();
        if let Some(byte) = file.get_mut(place) {
            *byte ^= change;
        }
    }
    let decoded = decode(&file);
    assert!(file == intact || !decoded.damage.is_empty(), "damage is not told");
    assert!(file != intact || decoded.records.iter().map(|(_, record)| record).eq(&records), "not what was written");
    for (place, record) in &decoded.records {
        // Four bytes of checksum can be met by chance, and by an engine that learns them.
        let original = usize::try_from(*place).ok().and_then(|place| records.get(place));
        assert!(original == Some(record) || !decoded.damage.is_empty(), "not what was written: {record:?}");
    }
}

/// The record of a line.
pub fn record(line: &[u8]) -> SpooledRecord {
    let text = String::from_utf8_lossy(line).into_owned();
    let event_id = line.first_chunk().map(|bytes: &[u8; 16]| EventId::from_bytes(*bytes));
    let headers = vec![("ce_id".into(), Bytes::copy_from_slice(line))];
    let record = Record { topic: "payments.shop.paid.v1".into(), key: text, value: line.to_vec(), headers };
    // Zeroes stand for none.
    SpooledRecord { record, event_id: event_id.filter(|id| *id.as_bytes() != [0; 16]) }
}
