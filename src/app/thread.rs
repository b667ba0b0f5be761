//! Work that blocks, as one of the daemon's tasks: on a thread of its own, so that the end of the process does not wait for one that
//! waits for Kafka or a disk.
//! Must not know what is done.

use std::thread::Builder;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Runs `body`, which ends soon after `stop`, if nothing blocks it. Ends when that ended before; after `stop`, never.
pub async fn run(name: &'static str, stop: CancellationToken, body: impl FnOnce() + Send + 'static) {
    let (running, has_ended) = oneshot::channel::<()>();
    let body = move || {
        body();
        drop(running);
    };
    if let Err(error) = Builder::new().name(name.to_owned()).spawn(body) {
        return tracing::error!(%error, thread = name, "thread cannot be started; the daemon stops");
    }
    // Never sent: it is dropped, after a panic too.
    let _dropped = has_ended.await;
    if stop.is_cancelled() {
        std::future::pending::<()>().await;
    }
    tracing::error!(thread = name, "bug: thread panicked; the daemon stops");
}
