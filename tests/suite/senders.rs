//! Official libraries of well-known senders beside our sources of the same senders: what a library signs is accepted, and
//! what its verifier rejects is rejected. Must not know how a source verifies.

mod accepted;
mod bodies;
mod changes;
mod posted;
mod programs;
mod rejected;
mod sender;
mod webhook;
