//! A naive model of permissions for tests: lists of tokens, searched linearly.

pub(super) type Tokens = Vec<&'static str>;

pub(super) struct Entry {
    pub(super) subject: Tokens,
    pub(super) queue: Option<Tokens>,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) publish_allow: Option<Vec<Entry>>,
    pub(super) publish_deny: Vec<Entry>,
    pub(super) subscribe_allow: Option<Vec<Entry>>,
    pub(super) subscribe_deny: Vec<Entry>,
}

impl Model {
    pub(super) fn may_publish(&self, subject: &[&str]) -> bool {
        let on = |list: &Vec<Entry>| list.iter().any(|entry| matches(&entry.subject, subject));
        self.publish_allow.as_ref().is_none_or(on) && !on(&self.publish_deny)
    }

    pub(super) fn may_subscribe(&self, filter: &[&str], queue: Option<&[&str]>) -> bool {
        let allowed = self.subscribe_allow.as_ref().is_none_or(|list| {
            let relevant = || list.iter().filter(|entry| matches(&entry.subject, filter));
            match queue {
                Some(queue) if relevant().any(|entry| entry.queue.is_some()) => {
                    relevant().any(|entry| entry.names(queue))
                }
                _ => relevant().any(|entry| entry.queue.is_none()),
            }
        });
        allowed && !on_list(&self.subscribe_deny, filter, queue)
    }

    pub(super) fn may_deliver(&self, subject: &[&str], queue: Option<&[&str]>) -> bool {
        let allow = self.subscribe_allow.as_ref();
        allow.is_none_or(|list| on_list(list, subject, queue))
            && !on_list(&self.subscribe_deny, subject, queue)
    }
}

fn on_list(list: &[Entry], subject: &[&str], queue: Option<&[&str]>) -> bool {
    list.iter()
        .filter(|entry| matches(&entry.subject, subject))
        .any(|entry| entry.queue.is_none() || queue.is_some_and(|queue| entry.names(queue)))
}

impl Entry {
    fn names(&self, queue: &[&str]) -> bool {
        self.queue.as_ref().is_some_and(|ours| ours == queue || includes(ours, queue))
    }
}

/// Returns true if `filter` matches. Wildcards in `subject` count as literal tokens.
pub(super) fn matches(filter: &[&str], subject: &[&str]) -> bool {
    match (filter, subject) {
        (_, subject) if subject.contains(&"") => false,
        ([], []) | ([">"], [_, ..]) => true,
        (["*", filter @ ..], [_, subject @ ..]) => matches(filter, subject),
        ([a, filter @ ..], [b, subject @ ..]) => a == b && matches(filter, subject),
        _ => false,
    }
}

/// Returns true if `whole` matches every subject that `part` matches.
fn includes(whole: &[&str], part: &[&str]) -> bool {
    match (whole, part) {
        ([], []) | ([">"], [_, ..]) => true,
        (["*", whole @ ..], [token, part @ ..]) if *token != ">" => includes(whole, part),
        ([a, whole @ ..], [b, part @ ..]) => a == b && *b != ">" && includes(whole, part),
        _ => false,
    }
}
