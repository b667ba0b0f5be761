//! Batches that are read as they were written, damaged, torn, and of another version.

use std::collections::BTreeMap;

use super::*;

fn spooled(number: u8) -> SpooledRecord {
    let id = (number % 3 != 2).then(|| EventId::from_bytes([number + 1; ID_BYTES]));
    let headers = vec![("ce_id".into(), Bytes::from(format!("id {number}"))), ("empty".into(), Bytes::new())];
    let topic = ["payments.shop.paid.v1", "payments.quarantine.v1"][usize::from(number % 2)];
    let (key, value) = (format!("ключ {number}"), vec![number; usize::from(number) * 3]);
    SpooledRecord { record: Record { topic: topic.into(), key, value, headers }, event_id: id }
}

fn batch() -> (Vec<SpooledRecord>, Vec<u8>) {
    let records: Vec<SpooledRecord> = (0..5).map(spooled).collect();
    let file = encode(7, &records);
    (records, file)
}

#[test]
fn gives_back_what_was_written() {
    let (records, file) = batch();
    let decoded = decode(&file);
    assert_eq!(decoded.damage, []);
    assert_eq!(decoded.records, (0..).zip(records.clone()).collect::<Vec<_>>());
    let found = index(&file).unwrap();
    assert_eq!(found.topics, topics_of(&records));
    let ids: Vec<_> = found.entries.iter().map(|entry| entry.event_id).collect();
    assert_eq!(ids, records.iter().map(|spooled| spooled.event_id).collect::<Vec<_>>());
    assert_eq!(decode(&encode(1, &[])), DecodedBatch::default());
}

/// As a machine that lost its power may leave a file.
#[test]
fn what_became_zeroes_is_no_record_and_is_told() {
    let (records, file) = batch();
    for begin in HEADER_BYTES..file.len() {
        let mut damaged = file.clone();
        damaged[begin..].fill(0);
        let decoded = decode(&damaged);
        let lost: u32 = decoded.damage.iter().map(Damage::records).sum();
        assert_eq!(decoded.records.len() + usize::try_from(lost).unwrap(), records.len(), "from byte {begin} on");
        assert!(decoded.records.iter().all(|(place, record)| *record == records[usize::try_from(*place).unwrap()]));
    }
}

/// Each record is there as it was, or it is told; and what is told is one record at most.
#[test]
fn a_flipped_bit_harms_one_record_at_most_and_is_always_told() {
    let (records, file) = batch();
    let mut by_damage: BTreeMap<String, usize> = BTreeMap::new();
    for place in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[place] ^= 1 << bit;
            let decoded = decode(&damaged);
            assert!(!decoded.damage.is_empty(), "byte {place}, bit {bit}: nothing is told");
            let lost: u32 = decoded.damage.iter().map(Damage::records).sum();
            assert!(lost <= 1, "byte {place}, bit {bit}: {:?}", decoded.damage);
            assert_eq!(
                decoded.records.len() + usize::try_from(lost).unwrap(),
                records.len(),
                "byte {place}, bit {bit}"
            );
            for (number, record) in &decoded.records {
                assert_eq!(record, &records[usize::try_from(*number).unwrap()]);
            }
            for damage in decoded.damage {
                if let Damage::Record { place, event_id } = damage {
                    assert_eq!(
                        event_id,
                        records[usize::try_from(place).unwrap()].event_id,
                        "the footer tells the event"
                    );
                }
                *by_damage
                    .entry(damage.to_string().chars().filter(|letter| !letter.is_ascii_digit()).collect())
                    .or_default() += 1;
            }
        }
    }
    assert!(by_damage.len() >= 4, "header, footer, lengths and records are all damaged once: {by_damage:?}");
}

#[test]
fn a_torn_file_gives_what_it_has_and_tells_the_rest() {
    let (records, file) = batch();
    for length in 0..file.len() {
        let decoded = decode(&file[..length]);
        assert!(!decoded.damage.is_empty(), "{length} bytes: nothing is told");
        for (number, (place, record)) in (0..).zip(&decoded.records) {
            assert_eq!((number, record), (*place, &records[usize::try_from(*place).unwrap()]), "{length} bytes");
        }
        let lost: u32 = decoded.damage.iter().map(Damage::records).sum();
        assert!(lost >= 1 || decoded.records.len() == records.len(), "{length} bytes: records are lost and not told");
        if length >= HEADER_BYTES {
            assert_eq!(decoded.records.len() + usize::try_from(lost).unwrap(), records.len(), "{length} bytes");
        }
        assert!(index(&file[..length]).is_none());
    }
}

#[test]
fn the_footer_leads_past_damage_that_lengths_cannot() {
    let (records, mut file) = batch();
    // The length of the first record is far too large.
    file[HEADER_BYTES + 3] = 0xff;
    let decoded = decode(&file);
    assert_eq!((decoded.records.len(), decoded.damage), (records.len(), vec![Damage::Length(0)]));
}

#[test]
fn a_later_versions_file_is_left_alone() {
    let mut file = Vec::new();
    file.put_slice(&MAGIC);
    file.put_u32_le(VERSION + 1);
    file.put_u32_le(1);
    file.put_u64_le(1);
    file.put_u32_le(crc32c::crc32c(&file));
    let decoded = decode(&file);
    assert_eq!((decoded.records, decoded.damage), (vec![], vec![Damage::Version(2)]));
}
