//! USER.INFO: what the server knows of the requester.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use broker_core::auth::{PermissionList, Permissions};
use broker_core::system::ServiceRequest;
use serde::Serialize;

/// The answer, in the reference's order.
// NATS 2.14: events.go UserInfo.
#[derive(Clone, Debug, Serialize)]
pub(super) struct UserInfo {
    user: String,
    account: String,
    account_name: Arc<str>,
    /// The name in the user's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<ShownPermissions>,
    /// In nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

// NATS 2.14: auth.go Permissions.
#[derive(Clone, Debug, Serialize)]
struct ShownPermissions {
    publish: Lists,
    subscribe: Lists,
    #[serde(skip_serializing_if = "Option::is_none")]
    responses: Option<Responses>,
}

#[derive(Clone, Debug, Serialize)]
struct Lists {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Responses {
    /// -1 for any number.
    max: i64,
    /// In nanoseconds; -1 for ever.
    ttl: i64,
}

impl UserInfo {
    pub(super) fn new(request: &ServiceRequest<'_>) -> Self {
        let left = |end: SystemTime| end.duration_since(SystemTime::now()).unwrap_or_default();
        let info = request.client_info();
        let identity = info.identity.as_deref();
        let account_name = identity.and_then(|one| one.account_name.as_ref());
        Self {
            user: info.user.as_deref().unwrap_or_default().to_owned(),
            account: (**request.account).to_owned(),
            account_name: Arc::clone(account_name.unwrap_or(request.account)),
            user_name: identity.and_then(|one| one.name_tag.clone()),
            permissions: request.permissions().map(|one| ShownPermissions::new(&one)),
            expires: request.expires.map(|end| nanos(left(end)).unsigned_abs()),
        }
    }
}

impl ShownPermissions {
    fn new(permissions: &Permissions) -> Self {
        let list = |list| permissions.list(list).unwrap_or_default();
        let responses = permissions.allow_responses().map(|rule| Responses {
            max: rule.max_msgs().map_or(-1, |max| i64::try_from(max).unwrap_or(i64::MAX)),
            ttl: rule.expires().map_or(-1, nanos),
        });
        Self {
            publish: Lists {
                allow: list(PermissionList::PublishAllow),
                deny: list(PermissionList::PublishDeny),
            },
            subscribe: Lists {
                allow: list(PermissionList::SubscribeAllow),
                deny: list(PermissionList::SubscribeDeny),
            },
            responses,
        }
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}
