//! Users that are read on the spot, beside the values of their file.
//!
//! All other options go through values that sources merge into each other, and are read from those at the
//! end. A hundred thousand users with their permissions would be hundreds of megabytes of them, several times
//! over. No source merges lists of users, so that each user is read while its file is checked, and the values
//! have a number in place of the list.

use std::collections::HashSet;
use std::sync::Arc;

use figment::value::{Dict, Value as Plain};

use super::settle::{self, Missing};
use super::table::{Block, Section as _};
use crate::options::{Options, Permissions, User};

/// What was read from a file.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    lists: Vec<List>,
    /// What several users may do, in the same words.
    permissions: HashSet<Arc<Permissions>>,
}

/// One list of users.
#[derive(Debug, Default)]
pub(crate) struct List {
    users: Vec<User>,
    /// What they ask for that does not exist yet.
    not_yet: Vec<Missing>,
}

/// What was checked fits the options, or the table is wrong. What the deserializer says of it is kept back: it
/// quotes values.
#[derive(Debug, thiserror::Error)]
#[error("the configuration does not fit natsd's own table of options: this is a bug of natsd")]
pub(crate) struct Unusable;

impl Aside {
    /// Is this what it reads?
    pub(crate) fn is_for(block: &'static Block) -> bool {
        std::ptr::eq(block, User::block())
    }

    /// An empty list.
    pub(crate) fn begin(&self, capacity: usize) -> List {
        List { users: Vec::with_capacity(capacity), not_yet: Vec::new() }
    }

    /// Adds a user, whose values are right, to `list`.
    pub(crate) fn read(
        &mut self,
        mut values: Dict,
        path: &str,
        list: &mut List,
    ) -> Result<(), Unusable> {
        settle::not_yet(User::block(), &values, path, &mut list.not_yet);
        settle::settle(User::block(), &mut values);
        let user = Plain::from(values).deserialize::<User>().map_err(|_| Unusable)?;
        let permissions = user.permissions.clone().map(|permissions| self.share(permissions));
        list.users.push(User { permissions, ..user });
        Ok(())
    }

    fn share(&mut self, permissions: Arc<Permissions>) -> Arc<Permissions> {
        if let Some(known) = self.permissions.get(&permissions) {
            return Arc::clone(known);
        }
        self.permissions.insert(Arc::clone(&permissions));
        permissions
    }

    /// Keeps a list. Returns what stands for it among the values.
    pub(crate) fn keep(&mut self, list: List) -> Plain {
        self.lists.push(list);
        Plain::from(self.lists.len() - 1)
    }

    /// Finds the lists that `values` still have, and takes out what stands for them.
    pub(crate) fn take_placed(mut self, values: &mut Dict) -> Placed {
        let block = |values: &mut Dict, name: &str, lists: &mut Vec<List>| {
            let Some(Plain::Dict(_, block)) = values.get_mut(name) else { return None };
            let at = usize::try_from(settle::number(block.get("users")?)?).ok()?;
            let list = std::mem::take(lists.get_mut(at)?);
            block.remove("users");
            Some(list)
        };
        let listed = block(values, "authorization", &mut self.lists);
        let mut of_accounts = Vec::new();
        if let Some(Plain::Dict(_, accounts)) = values.get_mut("accounts") {
            let names: Vec<String> = accounts.keys().cloned().collect();
            for name in names {
                let list = block(accounts, &name, &mut self.lists);
                of_accounts.extend(list.map(|list| (name, list)));
            }
        }
        Placed { listed, of_accounts }
    }
}

/// Lists of users, and where they belong.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    listed: Option<List>,
    of_accounts: Vec<(String, List)>,
}

impl Placed {
    /// What users ask for that does not exist yet.
    pub(crate) fn not_yet(&mut self) -> Vec<Missing> {
        let of_accounts = self.of_accounts.iter_mut().map(|(_, list)| list);
        let lists = self.listed.iter_mut().chain(of_accounts);
        lists.flat_map(|list| std::mem::take(&mut list.not_yet)).collect()
    }

    /// Puts the lists where they belong.
    pub(crate) fn put_into(self, options: &mut Options) {
        if let Some(list) = self.listed {
            options.authorization.users = Some(list.users);
        }
        for (name, list) in self.of_accounts {
            if let Some(account) = options.accounts.get_mut(&name) {
                account.users = list.users;
            }
        }
    }
}
