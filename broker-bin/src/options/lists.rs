//! Lists of users, imports and exports, read while their file is validated.
//!
//! All other options become values that sources merge, and are deserialized at the end. For 100,000
//! users with permissions these values would take hundreds of megabytes several times over. No
//! source merges these lists, so that each item is read during validation, and the values
//! contain a number in place of the list.

use std::collections::HashSet;
use std::sync::Arc;

use figment::value::{Dict, Value as Plain};
use foldhash::fast::RandomState;
use serde::de::DeserializeOwned;

use super::{Account, Export, Import, Options, Permissions, User};
use crate::config::check::{ListReader, Unusable, plain_dict};
use crate::config::deserialize::deserialize;
use crate::config::path::Path;
use crate::config::settle::{self, Missing};
use crate::config::table::{Block, Section};

/// The lists of a file.
#[derive(Debug, Default)]
pub(super) struct Lists {
    lists: Vec<List>,
    /// The list being read.
    current: List,
    /// Permissions shared by several users.
    permissions: HashSet<Arc<Permissions>, RandomState>,
}

/// One list.
#[derive(Debug, Default)]
struct List {
    items: Items,
    /// The unimplemented parts that they request.
    not_yet: Vec<Missing>,
}

#[derive(Debug)]
enum Items {
    Users(Vec<User>),
    Imports(Vec<Import>),
    Exports(Vec<Export>),
}

impl Default for Items {
    fn default() -> Self {
        Self::Users(Vec::new())
    }
}

fn is(block: &'static Block, other: &'static Block) -> bool {
    std::ptr::eq(block, other)
}

impl ListReader for Lists {
    fn reads(&self, block: &'static Block) -> bool {
        [User::block(), Import::block(), Export::block()].into_iter().any(|one| is(one, block))
    }

    fn begin(&mut self, block: &'static Block, capacity: usize) {
        let items = if is(block, Import::block()) {
            Items::Imports(Vec::with_capacity(capacity))
        } else if is(block, Export::block()) {
            Items::Exports(Vec::with_capacity(capacity))
        } else {
            Items::Users(Vec::with_capacity(capacity))
        };
        self.current = List { items, not_yet: Vec::new() };
    }

    fn read(&mut self, values: Dict, path: Path<'_>) -> Result<(), Unusable> {
        let List { items, not_yet } = &mut self.current;
        match items {
            Items::Users(users) => {
                let user: User = read(values, path, not_yet)?;
                let permissions = user.permissions.clone();
                let permissions = permissions.map(|one| share(&mut self.permissions, one));
                users.push(User { permissions, ..user });
            }
            Items::Imports(imports) => imports.push(read(values, path, not_yet)?),
            Items::Exports(exports) => exports.push(read(values, path, not_yet)?),
        }
        Ok(())
    }

    fn end(&mut self) -> Plain {
        self.lists.push(std::mem::take(&mut self.current));
        Plain::from(self.lists.len() - 1)
    }
}

fn read<S: Section + DeserializeOwned>(
    mut values: Dict,
    path: Path<'_>,
    not_yet: &mut Vec<Missing>,
) -> Result<S, Unusable> {
    settle::not_yet(S::block(), &values, path, not_yet);
    settle::settle(S::block(), &mut values);
    deserialize(&plain_dict(values))
}

fn share(
    known: &mut HashSet<Arc<Permissions>, RandomState>,
    one: Arc<Permissions>,
) -> Arc<Permissions> {
    if let Some(known) = known.get(&one) {
        return Arc::clone(known);
    }
    known.insert(Arc::clone(&one));
    one
}

impl Lists {
    /// Takes the lists that `values` still refer to, and removes their numbers from the values.
    pub(super) fn take_placed(mut self, values: &mut Dict) -> PlacedLists {
        let listed = values.get_mut("authorization").and_then(|block| self.take(block, "users"));
        let mut of_accounts = Vec::new();
        if let Some(Plain::Dict(_, accounts)) = values.get_mut("accounts") {
            for (name, account) in accounts {
                for list in ["users", "imports", "exports"] {
                    let list = self.take(account, list);
                    of_accounts.extend(list.map(|list| (name.clone(), list)));
                }
            }
        }
        PlacedLists { listed, of_accounts }
    }

    fn take(&mut self, block: &mut Plain, name: &str) -> Option<List> {
        let Plain::Dict(_, block) = block else { return None };
        let at = usize::try_from(settle::number(block.get(name)?)?).ok()?;
        let list = std::mem::take(self.lists.get_mut(at)?);
        block.remove(name);
        Some(list)
    }
}

/// Lists and their places.
#[derive(Debug)]
pub(super) struct PlacedLists {
    listed: Option<List>,
    of_accounts: Vec<(String, List)>,
}

impl PlacedLists {
    /// Takes the unimplemented parts that the items request.
    pub(super) fn not_yet(&mut self) -> Vec<Missing> {
        let of_accounts = self.of_accounts.iter_mut().map(|(_, list)| list);
        let lists = self.listed.iter_mut().chain(of_accounts);
        lists.flat_map(|list| std::mem::take(&mut list.not_yet)).collect()
    }

    /// Moves the lists into the options.
    pub(super) fn put_into(self, options: &mut Options) {
        if let Some(List { items: Items::Users(users), .. }) = self.listed {
            options.authorization.users = Some(users);
        }
        for (name, List { items, .. }) in self.of_accounts {
            if let Some(account) = options.accounts.get_mut(&name) {
                items.put_into(account);
            }
        }
    }
}

impl Items {
    fn put_into(self, account: &mut Account) {
        match self {
            Self::Users(users) => account.users = users,
            Self::Imports(imports) => account.imports = imports,
            Self::Exports(exports) => account.exports = exports,
        }
    }
}
