//! Configurations of streams and consumers, as the API carries them.

pub mod check;
mod consumer;
pub mod limits;
pub mod shapes;
mod stream;
mod time;
pub mod version;

pub use consumer::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy, ReplayPolicy};
pub use stream::{
    Compression, ConsumerLimits, Discard, ExternalStream, PersistMode, Placement, Republish,
    Retention, SourceConsumer, StorageType, StreamConfig, StreamSource, TransformConfig,
};
pub use time::Time;

/// Returns true for the value that JSON leaves out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
