//! What a session is, from its `ready_to_confirm` to its end, and what each input does to it.
//! Pure: no input or output, no clock. Must not know Kafka's records, calls, or the engine that feeds it.

pub mod clock_guard;
pub mod ended;
pub mod machine;
pub mod model;
