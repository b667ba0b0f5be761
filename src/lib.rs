//! paybridge: payment providers' webhooks in, typed, ordered, replayable events on Kafka out.
//!
//! # The way of a webhook
//!
//! ```text
//! server ──▶ Ingress::take ──▶ body ──▶ provider::AuthenticWebhook ──▶ Source::normalize ──▶ ingress::sending ──▶ publisher
//! (sockets,   (which source,   (bounded  (the only proof that it        (one event, one       (window: known       (Kafka's
//!  HTTP, TLS)  may it send)     bytes)    is the provider's)             unknown, one odd)     before? else encode) acks=all)
//! ```
//!
//! What quarantine gets skips the window: a redelivery after a fix must get through. [`ingress::Ingress`] holds all branches
//! of it; what it calls is small and mostly pure. Read it first, then one provider, [`provider::smart_glocal`] say.
//!
//! # The way of a session that waits for confirmation
//!
//! ```text
//! kafka::group ──▶ codec ────▶ rules ─────▶ session::machine ──▶ codec ──────────▶ kafka::transaction ──▶ calls ──▶ the provider
//! (ready events,   (what they  (what they   (the one pure        (records and      (records and input     (HTTP, only      │
//!  decisions,       mean)       say of a     function that        ledger entries    offsets together,      after the       │
//!  finished)                    session)     decides)             to be written)    or nothing)            commit)         │
//!       ▲                                         ▲                                                                        │
//!       └── engine::ledger_restore: what was done └──────────────────────── its answer ◀───────────────────────────────────┘
//! ```
//!
//! [`confirmation::engine::Engine`] runs this loop on a thread of its own; what a step does to a session stands in
//! [`confirmation::session::machine`] and nowhere else. A decision is in the ledger before anybody is called, and the ledger's change,
//! the outcome and the input's offsets are one transaction: so whoever owns a partition next finds all that may have happened.
//!
//! # What each part does not do
//!
//! - [`provider`] does no input or output and reads no clock, so it cannot fail but by its input: any bytes are classified.
//!   Only authentication makes an [`provider::AuthenticWebhook`], and only that can be normalized.
//! - [`encode`] makes the record of a webhook, for the ingress and for a release: it does no input or output and reads no clock.
//! - [`ingress`] knows no provider. It and [`confirmation`] do not know each other: they meet on topics alone.
//! - [`confirmation`] is one provider's: of single providers it knows one's session API, [`provider::smart_glocal::api`], and no more.
//! - [`confirmation::session`], [`confirmation::codec`] and [`confirmation::rules`] do no input or output and read no clock;
//!   [`confirmation::engine`] decides nothing.
//! - [`kafka`] knows no webhook: a record is a topic, a key, bytes and headers. Only [`kafka::topics`], the catalogue, knows
//!   the event types of providers.
//! - [`release`] takes webhooks out of quarantine again: what the records say, what would become of them, and doing it. It
//!   knows neither [`ingress`] nor [`confirmation`].
//! - [`spool`] stands between [`ingress`] and [`kafka`] where the configuration says so: a folder of records that Kafka does not take.
//!   It knows no webhook; beside [`config`] it alone reads and writes files.
//! - [`server`] knows no path, no configuration and no metric's name: it gives heads and bodies whose framing leaves no doubt.
//! - [`https`] is the other edge of HTTP: connections from here, of which it knows no more.
//! - [`settings`] says how keys are read and what is wrong with them, and knows none; so [`config`] and [`provider`] do not meet there.
//! - [`config`] alone reads configuration and key files, and the environment; [`metrics`] alone names metrics.
//! - [`app`] starts the daemon's long-lived tasks, and the first of them to end ends the process. Who else starts tasks stands
//!   in `tests/suite/tidy.rs`, each with its reason.
//! - [`simulator`] plays a provider's session API, for the demonstration and the tests: nothing else may lean on it.
//! - [`cli`] talks to people; what a command does stands elsewhere.
//! - [`admin`] serves `/livez`, `/readyz` and `/metrics`; [`latch`] is what readiness waits for: opened once, never closed again.
//! - [`log_limit`] keeps what happens often from filling the log.
//! - [`error_chain`] writes an error with its causes on one line; [`finding`] is what a check found, with what to do about it.
//! - [`short_line`] says in a few words what a record says, for people.
//! - [`message`] has the Rust types of `proto/`, and their descriptors.
//!
//! # Where to change what
//!
//! - When a call is repeated: `confirmation::session::machine::retry`; when none is made for a while:
//!   [`confirmation::calls::breaker`].
//! - A configuration key: [`config`], `config/default.toml`, the chart's values and their schema, and who reads it, such as
//!   `app::webhooks`.
//! - A metric: [`metrics::catalogue`] and a panel in `helm/paybridge/files/dashboards`.
//! - An answer to a webhook: [`ingress::answer`], the table of `docs/answers.md`, the alerts in `helm/paybridge/files/alerts`.
//! - A provider: the list at the head of [`provider`].

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod confirmation;
pub mod encode;
pub mod error_chain;
pub mod finding;
pub mod https;
pub mod ingress;
pub mod kafka;
pub mod latch;
pub mod log_limit;
pub mod message;
pub mod metrics;
pub mod provider;
pub mod release;
pub mod server;
pub mod settings;
pub mod short_line;
pub mod simulator;
pub mod spool;
