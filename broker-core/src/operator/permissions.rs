//! Permissions in claims.

use std::time::Duration;

use crate::auth::{AllowResponses, Permissions, jwt};

/// Builds the permissions of claims; `None` if there are none. Entries that are no subjects are left out, as in the
/// reference; a list of which nothing is left allows nothing.
// NATS 2.14: accounts.go buildPermissionsFromJwt, client.go setPermissions.
pub(super) fn permissions(claims: &jwt::Permissions) -> Option<Permissions> {
    let jwt::Permissions { publish, subscribe, responses, .. } = claims;
    let is_set = |list: &jwt::Permission| !list.allow.is_empty() || !list.deny.is_empty();
    if !is_set(publish) && !is_set(subscribe) && responses.is_none() {
        return None;
    }
    let is_publish =
        |entry: &&String| Permissions::builder().publish_deny([*entry]).build().is_ok();
    let is_subscribe =
        |entry: &&String| Permissions::builder().subscribe_deny([*entry]).build().is_ok();
    let mut builder = Permissions::builder()
        .publish_deny(publish.deny.iter().filter(is_publish))
        .subscribe_deny(subscribe.deny.iter().filter(is_subscribe));
    if !publish.allow.is_empty() {
        builder = builder.publish_allow(publish.allow.iter().filter(is_publish));
    }
    if !subscribe.allow.is_empty() {
        builder = builder.subscribe_allow(subscribe.allow.iter().filter(is_subscribe));
    }
    if let Some(responses) = responses {
        // A negative time is unlimited.
        let ttl = u64::try_from(responses.ttl).ok().map(Duration::from_nanos);
        builder = builder.allow_responses(AllowResponses::new(responses.max, ttl));
    }
    // Each entry was checked.
    builder.build().ok()
}
