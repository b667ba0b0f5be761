//! The records of the engine: what its inputs say, and what it writes.
//! Pure: bytes in, values out, and back. Must not know how records travel, nor what is done about them.

pub mod decision;
pub mod evidence;
pub mod inputs;
pub mod ledger;
pub mod records;
