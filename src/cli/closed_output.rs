//! Knows when nobody reads standard output any more: `paybridge tail | head -1` is to end with `head`, not with the next record.
//! Must not know what is written there.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether the reader of standard output, where it is a pipe or a socket, has closed it.
pub fn nobody_reads() -> bool {
    let output = io::stdout();
    // Nothing is asked for: what is told unasked is an error, or a pipe without a reader.
    let mut fds = [PollFd::new(&output, PollFlags::empty())];
    let told = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    let [fd] = fds;
    told.is_ok() && fd.revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
