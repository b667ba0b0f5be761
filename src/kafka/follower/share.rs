//! How many of the newest records of each partition are read, where all are too many.
//! Pure. Must not know Kafka.

/// How many records of a partition's `count` are read, where all partitions have `total`: all, or its part of `records_max`.
pub(super) fn kept(count: i64, total: i64, records_max: i64) -> i64 {
    if total <= records_max {
        return count;
    }
    let part = i128::from(count) * i128::from(records_max) / i128::from(total);
    i64::try_from(part).unwrap_or(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_give_up_records_by_their_part_of_all() {
        for (count, total, records_max, expected) in [
            (10, 10, 10, 10),
            (0, 0, 10, 0),
            (600, 1000, 1000, 600),
            (600, 1000, 100, 60),
            (i64::MAX, i64::MAX, i64::MAX - 1, i64::MAX - 1),
        ] {
            assert_eq!(kept(count, total, records_max), expected, "{count} of {total}");
        }
    }
}
