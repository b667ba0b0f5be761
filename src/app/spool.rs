//! The disk spool as a part of the daemon.
//! Must not know what is in it.

use std::sync::Arc;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{named, thread};
use crate::config::Config;
use crate::ingress::budget::Budget;
use crate::ingress::sending::KnownEvents;
use crate::kafka::publisher::Publisher;
use crate::metrics::Metrics;
use crate::provider::EventId;
use crate::spool::{DiskSpool, SpoolOwner, SpoolSettings};

/// Opens the spool, where the configuration has one; its events are known from now on.
///
/// # Errors
/// Its folder cannot be a spool's.
pub fn open(
    config: &Config,
    publisher: &Arc<Publisher>,
    dedup: Option<&KnownEvents>,
    budget: Budget,
    metrics: &Metrics,
) -> anyhow::Result<Option<Arc<DiskSpool>>> {
    if !config.spool.enabled {
        return Ok(None);
    }
    let settings = SpoolSettings {
        directory: config.spool.directory.clone(),
        bytes_max: config.spool.bytes_max,
        files_max: config.spool.files_max,
        engage_after: config.spool.engage_after(),
    };
    let half = usize::try_from(config.ingress.in_flight_bytes_max / 2)?;
    let (draining, losing) = (dedup.cloned(), dedup.cloned());
    let owner = SpoolOwner {
        drained: Box::new(move |id: EventId| draining.iter().for_each(|known| known.drained(id))),
        lost: Box::new(move |id: EventId| {
            let _was_there = losing.iter().any(|known| known.window.unspool(id));
        }),
        memory_is_half_taken: Box::new(move || budget.taken() >= half),
    };
    let opened = DiskSpool::open(settings, Arc::clone(publisher), owner, metrics.spool());
    let (spool, events) = opened.context("the spool cannot be opened: see spool.directory")?;
    if let Some(known) = dedup {
        known.window.spooled(events);
    }
    Ok(Some(Arc::new(spool)))
}

/// Starts its three threads. The writer ends when the spool is closed, the others soon after `stop`.
pub fn start(spool: &Arc<DiskSpool>, tasks: &mut JoinSet<&'static str>, stop: &CancellationToken) {
    let [watching, writing, draining] = [(); 3].map(|()| Arc::clone(spool));
    let [watch_ends, drain_ends] = [(); 2].map(|()| stop.clone());
    let watch = move || watching.watch(&watch_ends);
    let drain = move || draining.drain(&drain_ends);
    tasks.spawn(named("spool watch", thread::run("spool watch", stop.clone(), watch)));
    tasks.spawn(named("spool writer", thread::run("spool writer", stop.clone(), move || writing.write())));
    tasks.spawn(named("spool drain", thread::run("spool drain", stop.clone(), drain)));
}
