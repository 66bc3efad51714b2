//! The API of streams: requests and responses as JSON over subjects below `$JS.API`.

pub mod request;
