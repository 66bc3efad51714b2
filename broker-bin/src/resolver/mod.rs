//! Resolvers: where the JWTs of accounts come from.

pub(crate) mod store;
