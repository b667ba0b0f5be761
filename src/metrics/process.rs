//! What the operating system says of this process, by the names that Prometheus's client libraries give it.
//! Must not know what the process does.

use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use metrics_process::collector;

use super::catalogue;

/// Memory, processor time, file descriptors and threads.
pub struct ProcessMetrics {
    cpu: Counter,
    memory: Gauge,
    virtual_memory: Gauge,
    fds: Gauge,
    fds_max: Gauge,
    threads: Gauge,
    start: Gauge,
}

impl ProcessMetrics {
    pub(super) fn new() -> Self {
        Self {
            cpu: counter!(catalogue::PROCESS_CPU),
            memory: gauge!(catalogue::PROCESS_MEMORY),
            virtual_memory: gauge!(catalogue::PROCESS_VIRTUAL_MEMORY),
            fds: gauge!(catalogue::PROCESS_FDS),
            fds_max: gauge!(catalogue::PROCESS_FDS_MAX),
            threads: gauge!(catalogue::PROCESS_THREADS),
            start: gauge!(catalogue::PROCESS_START),
        }
    }

    /// Reads them anew. What the system does not tell stays as it was.
    pub(super) fn collect(&self) {
        let now = collector::collect();
        let cpu = now.cpu_seconds_total.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if let Some(cpu) = cpu {
            self.cpu.absolute(cpu.as_secs());
        }
        for (gauge, value) in [
            (&self.memory, now.resident_memory_bytes),
            (&self.virtual_memory, now.virtual_memory_bytes),
            (&self.fds, now.open_fds),
            (&self.fds_max, now.max_fds),
            (&self.threads, now.threads),
            (&self.start, now.start_time_seconds),
        ] {
            if let Some(value) = value {
                gauge.set(Duration::from_secs(value).as_secs_f64());
            }
        }
    }
}
