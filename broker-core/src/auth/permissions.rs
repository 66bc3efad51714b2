//! Stage 4 of 8: decides if a session may publish to a subject, subscribe to it, or receive a message.
//!
//! Between [stage 3](crate::session), which has parsed and checked the operation, and stage 5, which finds
//! the subscriptions. Every path uses this decision; no other file decides on permissions.
//!
//! Lists of subjects are read as nats-server 2.14 reads them:
//!
//! - Without an allow list everything is allowed; a deny list takes precedence.
//! - A subscription's wildcards are looked up as if they were literal tokens: `foo.*` on the allow
//!   list covers `SUB foo.*` and `SUB foo.a`, `foo.*` on the deny list does not refuse `SUB *.a`.
//!   Denied messages that match such a subscription are filtered at delivery.
//! - An entry of the subscribe lists may name queue groups after the subject, as in `foo v1.*`. On
//!   the deny list it applies to those groups only. On the allow list it allows those groups and, where it
//!   matches the subject, no other queue group, even if an entry without one matches too.
//!
//! One rule differs: a `*` on the allow list matches the `>` of `SUB foo.>`, so that nats-server
//! accepts it under `foo.*` and then delivers `foo.a.b`. We accept it too, but deliver only subjects
//! that the list allows.

use std::fmt;

use super::entries::{Entries, Entry, Wildcards};
use super::replies::AllowResponses;
use crate::subject::{SubjectError, SubjectFilter};

/// The subjects that a user may publish and subscribe to. Immutable once built; shared in an `Arc`.
///
/// ```
/// use broker_core::auth::{AllowResponses, Permissions};
///
/// let permissions = Permissions::builder()
///     .publish_allow(["orders.>"])
///     .publish_deny(["orders.internal.>"])
///     .subscribe_allow(["_INBOX.>", "orders.* workers"])
///     .allow_responses(AllowResponses::default())
///     .build()?;
/// assert!(permissions.allow_responses().is_some());
/// # Ok::<(), broker_core::auth::PermissionsError>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Permissions {
    publish: Lists,
    subscribe: Lists,
    responses: Option<AllowResponses>,
}

/// The verdict on a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subscribe {
    /// Refuses the subscription.
    Deny,
    /// Accepts the subscription, and every delivery to it.
    Allow,
    /// Accepts the subscription; [`Permissions::may_deliver`] decides each delivery.
    AllowAndFilter,
}

#[derive(Clone, Eq, PartialEq)]
struct Lists {
    /// `None` allows everything, an empty list nothing.
    allow: Option<Entries>,
    deny: Entries,
}

impl Permissions {
    /// Starts without lists: everything is allowed.
    pub fn builder() -> PermissionsBuilder {
        PermissionsBuilder::default()
    }

    /// Allows everything.
    #[cfg(feature = "jwt")]
    pub(super) fn unrestricted() -> Self {
        let everything = || Lists { allow: None, deny: Entries::default() };
        Self { publish: everything(), subscribe: everything(), responses: None }
    }

    /// Adds a subject that the user may not publish to.
    #[cfg(feature = "jwt")]
    pub(super) fn denying_publish(mut self, subject: &SubjectFilter) -> Self {
        self.publish.deny.insert(subject);
        self
    }

    /// Returns the rule by which the user may answer requests to subjects that it may not publish to otherwise.
    pub fn allow_responses(&self) -> Option<AllowResponses> {
        self.responses
    }

    /// Returns the entries of one list, in order, as [`PermissionsBuilder`] takes them; `None` for an allow list that
    /// was not given, which allows everything.
    pub fn list(&self, list: PermissionList) -> Option<Vec<String>> {
        match list {
            PermissionList::PublishAllow => self.publish.allow.as_ref().map(Entries::to_texts),
            PermissionList::PublishDeny => Some(self.publish.deny.to_texts()),
            PermissionList::SubscribeAllow => self.subscribe.allow.as_ref().map(Entries::to_texts),
            PermissionList::SubscribeDeny => Some(self.subscribe.deny.to_texts()),
        }
    }
}

impl Permissions {
    /// Returns true if the user may publish to `subject`, which need not be valid.
    ///
    /// Does not cover answers to requests: see [`super::replies::Replies`].
    // NATS 2.14: client.go pubAllowedFullCheck. A subject with an empty token is on no list.
    pub(crate) fn may_publish(&self, subject: &[u8]) -> bool {
        let Lists { allow, deny } = &self.publish;
        let listed = |list: &Entries| list.find(subject, None, Wildcards::Literal).plain;
        allow.as_ref().is_none_or(listed) && !listed(deny)
    }

    /// Returns true if the user may not subscribe to `filter`, as a member of `queue` if there is one. Invalid
    /// filters are looked up too: a denial takes precedence over the invalid form.
    // NATS 2.14: client.go canSubscribeInternal.
    pub(crate) fn is_subscribe_denied(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        let queue = queue.filter(|queue| !queue.is_empty());
        let Lists { allow, deny } = &self.subscribe;
        let is_allowed = allow.as_ref().is_none_or(|allow| {
            let found = allow.find(filter, queue, Wildcards::Literal);
            let by_queue = queue.is_some() && found.queue_listed;
            if by_queue { found.queue_matched } else { found.plain }
        });
        let found = deny.find(filter, queue, Wildcards::Literal);
        !is_allowed || found.plain || found.queue_matched
    }

    /// Returns the verdict on a subscription to `filter`, as a member of `queue` if there is one.
    // NATS 2.14: client.go canSubscribeInternal, loadMsgDenyFilterIfNeeded.
    pub(crate) fn may_subscribe(&self, filter: &SubjectFilter, queue: Option<&[u8]>) -> Subscribe {
        if self.is_subscribe_denied(filter.as_bytes(), queue) {
            return Subscribe::Deny;
        }
        let queue = queue.filter(|queue| !queue.is_empty());
        let Lists { allow, deny } = &self.subscribe;
        let covered = allow.as_ref().is_none_or(|allow| {
            let found = allow.find(filter.as_bytes(), queue, Wildcards::Covered);
            found.plain || found.queue_matched
        });
        if covered && !deny.overlaps(filter, queue) {
            Subscribe::Allow
        } else {
            Subscribe::AllowAndFilter
        }
    }

    /// Returns true if a message to `subject` may be delivered to a subscription of the user, as a member of
    /// `queue` if there is one.
    ///
    /// Called for subscriptions that [`Self::may_subscribe`] accepted.
    // NATS 2.14: client.go checkDenySub. An entry that allowed the subscription allows the delivery too,
    // even if there is a stricter entry for subscriptions without a queue group, as in the reference.
    pub(crate) fn may_deliver(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        let queue = queue.filter(|queue| !queue.is_empty());
        let Lists { allow, deny } = &self.subscribe;
        let listed = |list: &Entries| {
            let found = list.find(subject, queue, Wildcards::Literal);
            found.plain || found.queue_matched
        };
        !listed(deny) && allow.as_ref().is_none_or(listed)
    }
}

/// Prints the lengths of the lists only: they may hold thousands of entries.
impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permissions")
            .field("publish_allow", &self.publish.allow.as_ref().map(Entries::len))
            .field("publish_deny", &self.publish.deny.len())
            .field("subscribe_allow", &self.subscribe.allow.as_ref().map(Entries::len))
            .field("subscribe_deny", &self.subscribe.deny.len())
            .field("allow_responses", &self.responses)
            .finish()
    }
}

/// Builds [`Permissions`].
///
/// An allow list that was given and is empty allows nothing. (In nats-server's configuration files
/// an empty list is the same as none; a reader of such files must not pass it on.)
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PermissionsBuilder {
    publish_allow: Option<Vec<String>>,
    publish_deny: Vec<String>,
    subscribe_allow: Option<Vec<String>>,
    subscribe_deny: Vec<String>,
    responses: Option<AllowResponses>,
}

impl PermissionsBuilder {
    /// Adds subjects, wildcards allowed, that the user may publish to. All others are then refused.
    pub fn publish_allow(mut self, subjects: impl IntoIterator<Item: Into<String>>) -> Self {
        let list = self.publish_allow.get_or_insert_default();
        list.extend(subjects.into_iter().map(Into::into));
        self
    }

    /// Adds subjects, wildcards allowed, that the user may not publish to.
    pub fn publish_deny(mut self, subjects: impl IntoIterator<Item: Into<String>>) -> Self {
        self.publish_deny.extend(subjects.into_iter().map(Into::into));
        self
    }

    /// Adds subjects, wildcards allowed, that the user may subscribe to. All others are then refused.
    ///
    /// `"jobs workers"` applies to members of the queue group `workers` only; wildcards are allowed in
    /// the name of the group too.
    pub fn subscribe_allow(mut self, subjects: impl IntoIterator<Item: Into<String>>) -> Self {
        let list = self.subscribe_allow.get_or_insert_default();
        list.extend(subjects.into_iter().map(Into::into));
        self
    }

    /// Adds subjects, wildcards and queue groups allowed, that the user may not subscribe to. A wider
    /// subscription does not receive them either.
    pub fn subscribe_deny(mut self, subjects: impl IntoIterator<Item: Into<String>>) -> Self {
        self.subscribe_deny.extend(subjects.into_iter().map(Into::into));
        self
    }

    /// Allows answers to received requests. Without a list of subjects to publish to, nothing else may be
    /// published.
    pub fn allow_responses(mut self, responses: AllowResponses) -> Self {
        self.responses = Some(responses);
        self
    }

    /// Checks the lists.
    ///
    /// # Errors
    ///
    /// [`PermissionsError`] names the first entry with an invalid subject or queue group.
    pub fn build(self) -> Result<Permissions, PermissionsError> {
        let Self { mut publish_allow, publish_deny, subscribe_allow, subscribe_deny, responses } =
            self;
        if responses.is_some() {
            // NATS 2.14: auth.go validateResponsePermissions.
            publish_allow.get_or_insert_default();
        }
        let parse = |list, entries: Vec<String>| {
            let entries = entries.into_iter().map(|entry| parse_entry(list, entry));
            entries.collect::<Result<Entries, _>>()
        };
        let parse_if_any = |list, entries: Option<Vec<String>>| {
            entries.map(|entries| parse(list, entries)).transpose()
        };
        Ok(Permissions {
            publish: Lists {
                allow: parse_if_any(PermissionList::PublishAllow, publish_allow)?,
                deny: parse(PermissionList::PublishDeny, publish_deny)?,
            },
            subscribe: Lists {
                allow: parse_if_any(PermissionList::SubscribeAllow, subscribe_allow)?,
                deny: parse(PermissionList::SubscribeDeny, subscribe_deny)?,
            },
            responses,
        })
    }
}

/// Parses `subject` or, in the subscribe lists, `subject queue`.
// NATS 2.14: opts.go checkPermSubjectArray, client.go splitSubjectQueue.
fn parse_entry(list: PermissionList, entry: String) -> Result<Entry, PermissionsError> {
    let queues_allowed =
        matches!(list, PermissionList::SubscribeAllow | PermissionList::SubscribeDeny);
    let mut words = entry.split_whitespace();
    let (subject, queue) = match (words.next(), words.next(), words.next()) {
        (Some(subject), Some(queue), None) if queues_allowed => (subject, Some(queue)),
        _ => (&*entry, None),
    };
    if let Err(source) = SubjectFilter::check(subject.as_bytes()) {
        return Err(PermissionsError::Subject { list, entry, source });
    }
    let Some(queue) = queue else { return Ok(Entry::of(entry)) };
    if let Err(source) = SubjectFilter::check(queue.as_bytes()) {
        return Err(PermissionsError::Queue { list, entry, source });
    }
    Ok(Entry::with_queue(subject.as_bytes(), queue.as_bytes()))
}

/// One of the four lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PermissionList {
    /// Subjects that the user may publish to.
    PublishAllow,
    /// Subjects that the user may not publish to.
    PublishDeny,
    /// Subjects that the user may subscribe to.
    SubscribeAllow,
    /// Subjects that the user may not subscribe to.
    SubscribeDeny,
}

impl fmt::Display for PermissionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PublishAllow => "publish allow",
            Self::PublishDeny => "publish deny",
            Self::SubscribeAllow => "subscribe allow",
            Self::SubscribeDeny => "subscribe deny",
        })
    }
}

/// The reason why a list of permissions was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PermissionsError {
    /// An entry is not a subject.
    #[error("{list}: {entry:?} is not a subject")]
    Subject {
        /// The list of the entry.
        list: PermissionList,
        /// The entry as written.
        entry: String,
        /// The fault of the subject.
        source: SubjectError,
    },
    /// An entry has an invalid queue group.
    #[error("{list}: {entry:?} names something that is not a queue group")]
    Queue {
        /// The list of the entry.
        list: PermissionList,
        /// The entry as written.
        entry: String,
        /// The fault of the queue group.
        source: SubjectError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> SubjectFilter {
        SubjectFilter::parse(text).unwrap()
    }

    fn subscribe(permissions: &Permissions, subscription: &str) -> Subscribe {
        let (subject, queue) = match subscription.split_once(' ') {
            Some((subject, queue)) => (subject, Some(queue.as_bytes())),
            None => (subscription, None),
        };
        permissions.may_subscribe(&filter(subject), queue)
    }

    #[test]
    fn without_lists_everything_is_allowed() {
        let permissions = Permissions::builder().build().unwrap();
        for subject in [&b"a"[..], b">", b"a..b", b"", b"\xff"] {
            assert!(permissions.may_publish(subject));
            assert!(permissions.may_deliver(subject, None));
        }
        assert_eq!(subscribe(&permissions, "> q"), Subscribe::Allow);
    }

    #[test]
    fn an_allow_list_without_entries_allows_nothing() {
        let none: [&str; 0] = [];
        let lists = Permissions::builder().publish_allow(none).subscribe_allow(none);
        let permissions = lists.build().unwrap();
        assert!(!permissions.may_publish(b"a"));
        assert_eq!(subscribe(&permissions, "a"), Subscribe::Deny);
        assert!(!permissions.may_deliver(b"a", None));
    }

    #[test]
    fn empty_deny_lists_deny_nothing() {
        let none: [&str; 0] = [];
        let lists = Permissions::builder().publish_deny(none).subscribe_deny(none);
        assert_eq!(lists.build(), Permissions::builder().build());
    }

    #[test]
    fn deny_takes_precedence_over_allow() {
        let lists = Permissions::builder().publish_allow(["a.>"]).publish_deny(["a.*.secret"]);
        let permissions = lists.build().unwrap();
        for (subject, expected) in [
            ("a.b", true),
            ("a.b.c", true),
            ("a.b.secret", false),
            ("a.b.secret.c", true),
            ("a", false),
            ("b", false),
            ("a.*.secret", false),
            ("a.>", true),
        ] {
            assert_eq!(permissions.may_publish(subject.as_bytes()), expected, "{subject}");
        }
    }

    /// Measured on nats-server 2.14.5: the subject is on no list, so that only an allow list refuses it.
    #[test]
    fn a_subject_with_an_empty_token_is_on_no_list() {
        let allow = Permissions::builder().publish_allow([">"]).build().unwrap();
        let deny = Permissions::builder().publish_deny([">"]).build().unwrap();
        for subject in [&b""[..], b".", b"a.", b".a", b"a..b"] {
            assert!(!allow.may_publish(subject));
            assert!(deny.may_publish(subject));
        }
    }

    #[test]
    fn allow_responses_ends_the_default_permission_to_publish() {
        let responses = AllowResponses::default();
        let only = Permissions::builder().allow_responses(responses).build().unwrap();
        assert!(!only.may_publish(b"a"));
        let deny = Permissions::builder().publish_deny(["b"]).allow_responses(responses);
        assert!(!deny.build().unwrap().may_publish(b"a"));
        let allow = Permissions::builder().allow_responses(responses).publish_allow(["a"]);
        assert!(allow.build().unwrap().may_publish(b"a"));
        assert_eq!(only.allow_responses(), Some(responses));
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn an_allow_list_looks_a_subscription_up_as_if_it_were_literal() {
        let permissions = Permissions::builder().subscribe_allow(["foo.*", "*"]).build().unwrap();
        for (subscription, expected) in [
            ("foo.*", Subscribe::Allow),
            ("foo.a", Subscribe::Allow),
            ("*", Subscribe::Allow),
            ("foo", Subscribe::Allow),
            ("foo.>", Subscribe::AllowAndFilter),
            (">", Subscribe::AllowAndFilter),
            ("*.*", Subscribe::Deny),
            ("foo.*.*", Subscribe::Deny),
        ] {
            assert_eq!(subscribe(&permissions, subscription), expected, "{subscription}");
        }
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn an_invalid_filter_is_denied_like_a_valid_one() {
        let allow = Permissions::builder().subscribe_allow(["e", "foo.>"]).build().unwrap();
        let deny = Permissions::builder().subscribe_deny(["foo.>"]).build().unwrap();
        for (filter, by_allow, by_deny) in [
            (&b"e.g."[..], true, false),
            (b"foo..bar", true, false),
            (b"foo.>.bar", false, true),
            (b">.foo", true, false),
            (b".", true, false),
        ] {
            let text = filter.escape_ascii();
            assert_eq!(allow.is_subscribe_denied(filter, None), by_allow, "{text}");
            assert_eq!(deny.is_subscribe_denied(filter, None), by_deny, "{text}");
        }
    }

    /// nats-server 2.14.5 delivers both.
    #[test]
    fn a_subscription_wider_than_the_allow_list_receives_allowed_subjects_only() {
        let permissions = Permissions::builder().subscribe_allow(["foo.*"]).build().unwrap();
        assert_eq!(subscribe(&permissions, "foo.>"), Subscribe::AllowAndFilter);
        assert!(permissions.may_deliver(b"foo.a", None));
        assert!(!permissions.may_deliver(b"foo.a.b", None));
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn denied_subjects_are_filtered_from_wider_subscriptions() {
        let permissions = Permissions::builder().subscribe_deny(["foo.*"]).build().unwrap();
        for (subscription, expected) in [
            ("foo.*", Subscribe::Deny),
            ("foo.a", Subscribe::Deny),
            ("foo.a q", Subscribe::Deny),
            ("foo.>", Subscribe::Deny),
            (">", Subscribe::AllowAndFilter),
            ("*.*", Subscribe::AllowAndFilter),
            ("*.a q", Subscribe::AllowAndFilter),
            ("*.a.b", Subscribe::Allow),
            ("foo.a.>", Subscribe::Allow),
            ("bar.>", Subscribe::Allow),
        ] {
            assert_eq!(subscribe(&permissions, subscription), expected, "{subscription}");
        }
        assert!(!permissions.may_deliver(b"foo.a", None));
        assert!(!permissions.may_deliver(b"foo.a", Some(b"q")));
        assert!(permissions.may_deliver(b"foo.a.b", None));
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn queue_groups_on_the_allow_list() {
        let permissions = Permissions::builder()
            .subscribe_allow(["foo", "foo v1.*", "bar *.prod"])
            .subscribe_deny(["foo v1.bad", "foo w.>"])
            .build()
            .unwrap();
        for (subscription, expected) in [
            ("foo", Subscribe::Allow),
            ("foo v1", Subscribe::Deny),
            ("foo v1.a", Subscribe::Allow),
            ("foo v1.*", Subscribe::Allow),
            ("foo v1.>", Subscribe::Deny),
            ("foo v1.bad", Subscribe::Deny),
            ("foo w.a", Subscribe::Deny),
            ("bar", Subscribe::Deny),
            ("bar a.prod", Subscribe::Allow),
            ("bar prod", Subscribe::Deny),
        ] {
            assert_eq!(subscribe(&permissions, subscription), expected, "{subscription}");
        }
    }

    /// Measured on nats-server 2.14.5.
    #[test]
    fn queue_groups_on_the_deny_list_are_the_only_ones_filtered() {
        let lists = Permissions::builder().subscribe_deny(["foo.bar", "x.> q"]);
        let permissions = lists.build().unwrap();
        assert_eq!(subscribe(&permissions, "x.y"), Subscribe::Allow);
        assert_eq!(subscribe(&permissions, "x.y q"), Subscribe::Deny);
        assert_eq!(subscribe(&permissions, "x.*"), Subscribe::Allow);
        assert_eq!(subscribe(&permissions, "*.y q"), Subscribe::AllowAndFilter);
        assert_eq!(subscribe(&permissions, "*.y z"), Subscribe::Allow);
        for (queue, expected) in [(None, true), (Some(&b"q"[..]), false), (Some(b"z"), true)] {
            assert_eq!(permissions.may_deliver(b"x.y", queue), expected);
            assert!(!permissions.may_deliver(b"foo.bar", queue));
        }
    }

    #[test]
    fn entries_are_refused_where_the_reference_refuses_them() {
        let refused = |builder: PermissionsBuilder| builder.build().unwrap_err().to_string();
        for entry in ["", "a..b", "a b", " a", ">.a"] {
            let text = format!("publish allow: {entry:?} is not a subject");
            assert_eq!(refused(Permissions::builder().publish_allow([entry])), text);
        }
        for entry in ["", " a", "a ", "a b c", "a. b"] {
            let text = format!("subscribe deny: {entry:?} is not a subject");
            assert_eq!(refused(Permissions::builder().subscribe_deny([entry])), text);
        }
        let text = "subscribe allow: \"a b..c\" names something that is not a queue group";
        assert_eq!(refused(Permissions::builder().subscribe_allow(["a b..c"])), text);
        let spaced = Permissions::builder().subscribe_allow([" a \t q "]).build().unwrap();
        assert_eq!(subscribe(&spaced, "a q"), Subscribe::Allow);
    }

    #[test]
    fn lists_given_in_parts_add_up() {
        let parts = Permissions::builder().publish_allow(["a"]).publish_allow(vec!["b".to_owned()]);
        assert_eq!(parts.build(), Permissions::builder().publish_allow(["a", "b"]).build());
    }

    #[test]
    fn printed_permissions_are_short() {
        let entries = (0..1000).map(|i| format!("a.{i}"));
        let permissions = Permissions::builder().publish_allow(entries).build().unwrap();
        let shown = format!("{permissions:?}");
        assert!(shown.contains("publish_allow: Some(1000)"), "{shown}");
        assert!(shown.len() < 200, "{shown}");
    }
}
