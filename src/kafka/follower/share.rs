//! Where each partition is read from, where all together may have more records than are wanted.
//! Pure. Must not talk to Kafka.

use std::collections::BTreeMap;

use crate::kafka::present_records::{OffsetSpan, PartitionSpans};

/// The first offset to read of each partition: the beginning of its span, or later where all spans together have more than
/// `records_max` records. Then each gives up records by its part of all.
pub(super) fn starts(spans: &PartitionSpans, records_max: usize) -> BTreeMap<i32, i64> {
    let records_max = u64::try_from(records_max).unwrap_or(u64::MAX);
    let all = spans.values().map(OffsetSpan::records).fold(0, u64::saturating_add);
    let start = |end: i64, kept: u64| end.saturating_sub(i64::try_from(kept).unwrap_or(i64::MAX));
    spans
        .iter()
        .map(|(partition, span)| (*partition, start(span.end, kept(span.records(), all, records_max))))
        .collect()
}

/// How many of the newest records of a partition are read, which has `count` of `all`.
fn kept(count: u64, all: u64, records_max: u64) -> u64 {
    if all <= records_max {
        return count;
    }
    let part = u128::from(count) * u128::from(records_max) / u128::from(all);
    u64::try_from(part).unwrap_or(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_give_up_records_by_their_part_of_all() {
        for (count, all, records_max, expected) in [
            (10, 10, 10, 10),
            (0, 0, 10, 0),
            (600, 1000, 1000, 600),
            (600, 1000, 100, 60),
            (u64::MAX, u64::MAX, u64::MAX - 1, u64::MAX - 1),
        ] {
            assert_eq!(kept(count, all, records_max), expected, "{count} of {all}");
        }
    }

    #[test]
    fn a_partition_without_a_young_record_begins_at_its_end() {
        let spans = [(0, OffsetSpan { start: 40, end: 100 }), (1, OffsetSpan { start: 7, end: 7 })].into();
        assert_eq!(starts(&spans, 60), BTreeMap::from([(0, 40), (1, 7)]));
        assert_eq!(starts(&spans, 20), BTreeMap::from([(0, 80), (1, 7)]));
    }
}
