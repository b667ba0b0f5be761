//! The confirmation engine: one decision for each session that waits for confirmation, carried out once, published once.
//! Must not know the ingress, nor name a metric.

pub mod calls;
pub mod codec;
pub mod engine;
pub mod rules;
pub mod session;

#[cfg(test)]
mod tests;
