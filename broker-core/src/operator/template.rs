//! Templates in the permissions of a scoped signing key.

use std::ops::Range;

use crate::auth::jwt::{AccountClaims, UserClaims, UserLimits};
use crate::subject::SubjectFilter;

/// The most subjects that one list may become.
// NATS 2.14: auth.go maxPermTemplateSubjectExpansions.
const MAX_EXPANSIONS: usize = 4096;

/// The reason why a template cannot be applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BadTemplate;

/// Replaces the templates in the limits of a scope for one user.
// NATS 2.14: auth.go processUserPermissionsTemplate.
pub(super) fn apply(
    template: &UserLimits,
    user: &UserClaims,
    account: &AccountClaims,
) -> Result<UserLimits, BadTemplate> {
    let values = Values { user, account };
    let mut limits = template.clone();
    let permissions = &mut limits.permissions;
    for list in [&mut permissions.subscribe, &mut permissions.publish] {
        let had_allow = !list.allow.is_empty();
        list.allow = values.expand(&list.allow, false)?;
        list.deny = values.expand(&list.deny, true)?;
        // A list of which nothing is left must allow nothing.
        if had_allow && list.allow.is_empty() && !list.deny.iter().any(|entry| entry == ">") {
            list.deny.push(">".to_owned());
        }
    }
    Ok(limits)
}

struct Values<'a> {
    user: &'a UserClaims,
    account: &'a AccountClaims,
}

impl Values<'_> {
    /// Expands a list. An entry that becomes no subject is left out of what is allowed, and an error in what is denied.
    fn expand(&self, list: &[String], must_be_valid: bool) -> Result<Vec<String>, BadTemplate> {
        if list.iter().all(|entry| templates(entry).next().is_none()) {
            return Ok(list.to_vec());
        }
        let mut expanded = Vec::new();
        for entry in list {
            let mut entries = vec![entry.clone()];
            for at in templates(entry) {
                let text = &entry[at];
                let values = self.of(text[2..text.len() - 2].trim())?;
                if values.is_empty() && must_be_valid {
                    return Err(BadTemplate);
                }
                if entries.len().saturating_mul(values.len()) > MAX_EXPANSIONS {
                    return Err(BadTemplate);
                }
                let replace = |entry: &String| {
                    let of = |value: &String| entry.replace(text, value);
                    values.iter().map(of).collect::<Vec<_>>()
                };
                entries = entries.iter().flat_map(replace).collect();
            }
            if expanded.len() + entries.len() > MAX_EXPANSIONS {
                return Err(BadTemplate);
            }
            for entry in entries {
                match SubjectFilter::parse(&*entry) {
                    Ok(_) => expanded.push(entry),
                    Err(_) if must_be_valid => return Err(BadTemplate),
                    Err(_) => {}
                }
            }
        }
        Ok(expanded)
    }

    /// Returns the values of a template; none for a tag that is not there.
    fn of(&self, operation: &str) -> Result<Vec<String>, BadTemplate> {
        let is = |name: &str| operation.eq_ignore_ascii_case(name);
        if is("name()") {
            return Ok(vec![self.user.name.clone()]);
        }
        if is("subject()") {
            return Ok(vec![self.user.subject.clone()]);
        }
        if is("account-name()") {
            return Ok(vec![self.account.name.clone()]);
        }
        if is("account-subject()") {
            return Ok(vec![self.user.nats.issuer_account.clone()]);
        }
        let (name, tags) = if let Some(name) = argument(operation, "tag(") {
            (name, &self.user.nats.generic.tags)
        } else if let Some(name) = argument(operation, "account-tag(") {
            (name, &self.account.nats.generic.tags)
        } else {
            return Err(BadTemplate);
        };
        let prefix = format!("{}:", name.to_lowercase());
        Ok(tags.iter().filter_map(|tag| tag.strip_prefix(&*prefix)).map(str::to_owned).collect())
    }
}

/// Returns the text between `opening` and the closing parenthesis. The opening matches in any case, but only in lower
/// case it is taken off, as in the reference.
fn argument<'a>(operation: &'a str, opening: &str) -> Option<&'a str> {
    let begins =
        operation.get(..opening.len()).is_some_and(|text| text.eq_ignore_ascii_case(opening));
    let inner = operation.strip_suffix(')').filter(|_| begins)?;
    Some(inner.strip_prefix(opening).unwrap_or(inner))
}

/// Returns the templates in a text: `{{…}}`, with the shortest content.
// NATS 2.14: auth.go mustacheRE, `{{2}([^}]+)}{2}`.
fn templates(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text.get(from..)?.find("{{")?;
            let content = start + 2;
            let end = content + text.get(content..)?.find('}')?;
            if end > content && text[end..].starts_with("}}") {
                from = end + 2;
                return Some(start..from);
            }
            from = start + 1;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::jwt::Claims;
    use crate::auth::nkey::{KeyKind, KeyPair};

    fn expand(list: &[&str], must_be_valid: bool) -> Result<Vec<String>, BadTemplate> {
        let key = |kind| KeyPair::from_random(kind, [1; 32]).public();
        let mut user: UserClaims = Claims::new(key(KeyKind::User));
        user.name = "joe".into();
        user.nats.issuer_account = "ACC".into();
        user.nats.generic.tags = ["dept:a", "dept:b", "zone:x", "odd:a b"].map(Into::into).into();
        let mut account: AccountClaims = Claims::new(key(KeyKind::Account));
        account.name = "acme".into();
        account.nats.generic.tags = vec!["region:eu".into()];
        let list: Vec<String> = list.iter().map(|entry| (*entry).to_owned()).collect();
        Values { user: &user, account: &account }.expand(&list, must_be_valid)
    }

    #[test]
    fn each_template_has_its_values() {
        let subject = KeyPair::from_random(KeyKind::User, [1; 32]).public();
        for (entry, expected) in [
            ("a.{{name()}}", vec!["a.joe".to_owned()]),
            ("a.{{ NAME() }}.{{name()}}", vec!["a.joe.joe".to_owned()]),
            ("{{subject()}}.>", vec![format!("{subject}.>")]),
            ("{{account-name()}}.{{account-subject()}}", vec!["acme.ACC".to_owned()]),
            ("{{tag(dept)}}.x", vec!["a.x".to_owned(), "b.x".to_owned()]),
            ("{{tag(DEPT)}}.{{tag(zone)}}", vec!["a.x".to_owned(), "b.x".to_owned()]),
            ("{{account-tag(region)}}.*", vec!["eu.*".to_owned()]),
            ("{{tag(none)}}.x", vec![]),
            ("{{tag(odd)}}", vec![]),
            ("plain.{x}", vec!["plain.{x}".to_owned()]),
        ] {
            assert_eq!(expand(&[entry], false), Ok(expected), "{entry}");
        }
    }

    #[test]
    fn what_is_denied_must_be_valid() {
        assert_eq!(expand(&["{{tag(none)}}.x"], true), Err(BadTemplate));
        assert_eq!(expand(&["{{tag(odd)}}"], true), Err(BadTemplate));
        assert_eq!(expand(&["{{tag(dept)}}", "y"], true).unwrap(), ["a", "b", "y"]);
    }

    #[test]
    fn unknown_operations_are_refused() {
        for entry in ["{{other()}}", "{{tag(x}}", "{{tag}}", "{{ }}", "{{{name()}}"] {
            assert_eq!(expand(&[entry], false), Err(BadTemplate), "{entry}");
        }
        assert_eq!(
            expand(&["{{}}", "{{a}b}}"], false).unwrap(),
            ["{{}}", "{{a}b}}"],
            "no templates"
        );
    }

    #[test]
    fn the_number_of_subjects_is_bounded() {
        // Equal templates multiply too, as in the reference.
        let times = |count: usize| vec!["{{tag(dept)}}"; count].join(".");
        assert_eq!(expand(&[&times(12)], false).unwrap().len(), MAX_EXPANSIONS);
        assert_eq!(expand(&[&times(13)], false), Err(BadTemplate));
        let key = KeyPair::from_random(KeyKind::User, [1; 32]).public();
        let mut user: UserClaims = Claims::new(key);
        user.nats.generic.tags =
            (0..65).flat_map(|n| [format!("a:{n}"), format!("b:{n}")]).collect();
        let account = AccountClaims::default();
        let values = Values { user: &user, account: &account };
        let expand = |entry: &str| values.expand(&[entry.to_owned()], false);
        assert_eq!(expand("{{tag(a)}}.{{tag(b)}}"), Err(BadTemplate));
        assert_eq!(expand("{{tag(a)}}").unwrap().len(), 65);
    }
}
