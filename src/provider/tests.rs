//! What every provider is held to, and the webhooks and keys that tests share. For tests alone.

pub mod fixtures;
mod laws;
mod vectors;
