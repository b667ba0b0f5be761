//! What others copy from us: README, golden records, and subscribers in other languages.

mod golden;
mod readme;
pub mod subscribers;
