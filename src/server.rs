//! The HTTP server edge: sockets, TLS, HTTP/1.1 and HTTP/2, their clocks and bounds, and an orderly end.
//! Must not know what the requests mean: no paths, no configuration, no metrics' names.

pub mod forwarded;
