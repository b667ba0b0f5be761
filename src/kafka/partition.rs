//! Which partition a key belongs to, as every Java client computes it: murmur2, without its sign, modulo the count.
//! Pure. Must not know what keys are.

/// The seed that Kafka's `Utils.murmur2` has.
const SEED: u32 = 0x9747_b28c;
/// The multiplier of murmur2.
const MULTIPLIER: u32 = 0x5bd1_e995;

/// The partition of `key` among `partitions`; 0 where there is none.
pub fn of(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    let count = u32::try_from(partitions).unwrap_or_default();
    positive.checked_rem(count).and_then(|partition| i32::try_from(partition).ok()).unwrap_or_default()
}

/// Kafka's `Utils.murmur2`, bit for bit.
fn murmur2(key: &[u8]) -> u32 {
    // Java's lengths have 31 bits, and so have Kafka's keys.
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, rest) = key.as_chunks::<4>();
    let mut hash = words.iter().fold(SEED ^ length, |hash, word| {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        hash.wrapping_mul(MULTIPLIER) ^ (mixed ^ (mixed >> 24)).wrapping_mul(MULTIPLIER)
    });
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_kafkas_own_tests_say() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn every_partition_is_one_of_them() {
        for (key, partitions, expected) in [("21", 0, 0), ("21", -1, 0), ("21", 1, 0), ("abc", 12, 479_470_107 % 12)] {
            assert_eq!(of(key.as_bytes(), partitions), expected, "{key} {partitions}");
        }
    }
}
