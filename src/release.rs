//! Released from quarantine: webhooks that became no event are looked at, judged again, and published after a fix.
//! For commands, for the daemon's reader of requests, and for others that look on. Must not know the confirmation engine,
//! nor how webhooks come in.

pub mod filter;
pub mod held;
pub mod judge;
pub mod marker;
pub mod pending;
pub mod reading;
pub mod requests;
pub mod run;
pub mod verdict;
