//! Whose every partition of the ledger is, before the engine joins its group: a member that is given a new partition alone would
//! find nothing there that says how many there were. Must not decide what is done with another's ledger.

use std::ops::ControlFlow;
use std::time::Duration;

use rdkafka::ClientConfig;

use super::engine_settings::PartitionedSettings;
use crate::confirmation::codec::ledger::{self, ForeignLedger, LedgerRecord, OWNER_KEY};
use crate::error_chain;
use crate::kafka::scan::scan;

/// How long it may take. An owner stands where its partition was assigned last; 200,000 entries are read in a second.
const WITHIN: Duration = Duration::from_secs(15);

/// Looks at the owner that each partition of the ledger names. What cannot be read is read again when it is assigned.
///
/// # Errors
/// One of them is somebody else's.
pub(super) fn check_owners(settings: &PartitionedSettings, client: &ClientConfig) -> Result<(), ForeignLedger> {
    let topic = settings.records.ledger_topic();
    let mut other = None;
    let scanned = scan(client, topic, WITHIN, &mut |partition, key, value| match value {
        Some(value) if key == OWNER_KEY.as_bytes() => {
            if let Ok(LedgerRecord::Owner(found)) = ledger::decode(key, value) {
                other = other.take().or(settings.check_owner(partition, found).err());
            }
            // The owner is written again at each assignment: later ones of this partition say the same.
            ControlFlow::Break(())
        }
        Some(_) | None => ControlFlow::Continue(()),
    });
    let unread = match scanned {
        Ok(scanned) if scanned.unread.is_empty() => None,
        Ok(scanned) => Some(format!("partitions {:?} were not read in time", scanned.unread)),
        Err(error) => Some(error_chain::joined(&error)),
    };
    if let Some(reason) = unread {
        tracing::warn!(
            topic = &**topic,
            reason,
            "the owners of the ledger's partitions are not known yet; each is read again when it is assigned"
        );
    }
    other.map_or(Ok(()), Err)
}
