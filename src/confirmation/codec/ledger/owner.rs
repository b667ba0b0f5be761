//! Whose ledger an engine may go on with.
//! Pure; must not know how a ledger is read.

use std::fmt;

use super::LedgerOwner;

/// A ledger that this engine must not go on with.
#[derive(Debug, thiserror::Error)]
#[error(
    "partition {partition} of the ledger belongs to {found}, and this engine is {expected}: go on with the same group and \
     mode and the same number of partitions, or give the engine a kafka.topic_prefix of its own"
)]
pub struct ForeignLedger {
    partition: i32,
    found: Described,
    expected: Described,
}

impl ForeignLedger {
    /// Whose it is and who was to go on with it, without the partition and without what to do.
    pub fn difference(&self) -> String {
        format!("the ledger belongs to {}, and this engine is {}", self.found, self.expected)
    }

    /// Compares the owner that a partition of the ledger names with who is to go on with it. `former_group_id` is what the
    /// group may have been called before.
    ///
    /// # Errors
    /// It is somebody else's.
    pub fn check(
        partition: i32,
        found: LedgerOwner,
        expected: LedgerOwner,
        former_group_id: Option<&str>,
    ) -> Result<(), ForeignLedger> {
        let is_former = former_group_id.is_some_and(|former| former == found.group_id);
        let renamed = LedgerOwner { group_id: expected.group_id.clone(), ..found.clone() };
        if found == expected || (is_former && renamed == expected) {
            return Ok(());
        }
        Err(Self { partition, found: Described(found), expected: Described(expected) })
    }
}

/// An owner in words.
#[derive(Debug)]
struct Described(LedgerOwner);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LedgerOwner { group_id, partitions, dry_run } = &self.0;
        let mode = if *dry_run { ", a dry run" } else { "" };
        write!(f, "group {group_id} with {partitions} partitions{mode}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_own_ledger_and_one_of_its_groups_former_name_only() {
        let owner =
            |group_id: &str, partitions, dry_run| LedgerOwner { group_id: group_id.to_owned(), partitions, dry_run };
        let expected = owner("p.group", 3, false);
        for (found, former, is_ours) in [
            (owner("p.group", 3, false), None, true),
            (owner("group", 3, false), Some("group"), true),
            (owner("group", 3, false), None, false),
            (owner("q.group", 3, false), Some("group"), false),
            (owner("group", 4, false), Some("group"), false),
            (owner("group", 3, true), Some("group"), false),
            (owner("p.group", 3, true), Some("group"), false),
            (owner("p.group", 4, false), Some("group"), false),
        ] {
            let checked = ForeignLedger::check(2, found.clone(), expected.clone(), former);
            assert_eq!(checked.is_ok(), is_ours, "{found:?} {former:?}");
        }
        let told = ForeignLedger::check(2, owner("group", 4, true), expected, None).unwrap_err().to_string();
        assert!(
            told.starts_with(
                "partition 2 of the ledger belongs to group group with 4 partitions, a dry run, and this engine is group p.group \
                 with 3 partitions: go on"
            ),
            "{told}"
        );
    }
}
