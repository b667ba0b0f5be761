//! A latch: closed at first, opened once, never closed again; whoever has a copy sees it. Knows nothing of what it stands for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Closed until it is opened; copies are the same latch.
#[derive(Clone, Debug, Default)]
pub struct Latch(Arc<AtomicBool>);

impl Latch {
    /// Opens it; opening it again changes nothing.
    pub fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
