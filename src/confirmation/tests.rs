//! What several modules' tests have in common.

pub mod arbitrary;
