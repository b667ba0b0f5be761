//! The turn of tests that need more than their share of the machine: those that kill or freeze several processes under load.
//! Must not know them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the turn, and has it until the value is dropped. Other tests run beside.
pub fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
