//! Lists of users, read while their file is validated.
//!
//! All other options become values that sources merge, and are deserialized at the end. For 100,000
//! users with permissions these values would take hundreds of megabytes several times over. No
//! source merges lists of users, so that each user is read during validation, and the values
//! contain a number in place of the list.

use std::collections::HashSet;
use std::sync::Arc;

use figment::value::{Dict, Value as Plain};

use super::{Options, Permissions, User};
use crate::config::check::{ListReader, Unusable};
use crate::config::settle::{self, Missing};
use crate::config::table::{Block, Section as _};

/// The lists of users of a file.
#[derive(Debug, Default)]
pub(super) struct UserLists {
    lists: Vec<List>,
    /// The list being read.
    current: List,
    /// Permissions shared by several users.
    permissions: HashSet<Arc<Permissions>>,
}

/// One list of users.
#[derive(Debug, Default)]
struct List {
    users: Vec<User>,
    /// The unimplemented parts that they request.
    not_yet: Vec<Missing>,
}

impl ListReader for UserLists {
    fn reads(&self, block: &'static Block) -> bool {
        std::ptr::eq(block, User::block())
    }

    fn begin(&mut self, capacity: usize) {
        self.current = List { users: Vec::with_capacity(capacity), not_yet: Vec::new() };
    }

    fn read(&mut self, mut values: Dict, path: &str) -> Result<(), Unusable> {
        settle::not_yet(User::block(), &values, path, &mut self.current.not_yet);
        settle::settle(User::block(), &mut values);
        let user = Plain::from(values).deserialize::<User>().map_err(|_| Unusable)?;
        let permissions = user.permissions.clone().map(|permissions| self.share(permissions));
        self.current.users.push(User { permissions, ..user });
        Ok(())
    }

    fn end(&mut self) -> Plain {
        self.lists.push(std::mem::take(&mut self.current));
        Plain::from(self.lists.len() - 1)
    }
}

impl UserLists {
    fn share(&mut self, permissions: Arc<Permissions>) -> Arc<Permissions> {
        if let Some(known) = self.permissions.get(&permissions) {
            return Arc::clone(known);
        }
        self.permissions.insert(Arc::clone(&permissions));
        permissions
    }

    /// Takes the lists that `values` still refer to, and removes their numbers from the values.
    pub(super) fn take_placed(mut self, values: &mut Dict) -> PlacedUsers {
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
        PlacedUsers { listed, of_accounts }
    }
}

/// Lists of users and their paths.
#[derive(Debug, Default)]
pub(super) struct PlacedUsers {
    listed: Option<List>,
    of_accounts: Vec<(String, List)>,
}

impl PlacedUsers {
    /// Takes the unimplemented parts that users request.
    pub(super) fn not_yet(&mut self) -> Vec<Missing> {
        let of_accounts = self.of_accounts.iter_mut().map(|(_, list)| list);
        let lists = self.listed.iter_mut().chain(of_accounts);
        lists.flat_map(|list| std::mem::take(&mut list.not_yet)).collect()
    }

    /// Moves the lists into the options.
    pub(super) fn put_into(self, options: &mut Options) {
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
