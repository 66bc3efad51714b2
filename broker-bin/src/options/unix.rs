//! The Unix socket listener.

use std::path::PathBuf;

use broker_net::UnixOptions;
use nix::unistd::{Group, User};

use super::Options;
use super::authorization::map;
use crate::config::declare::{formatted, section};
use crate::config::kind::{Format, Kind};
use crate::config::lang::{Node, Value};
use crate::config::table::Meaning;

section! {
    /// Unix socket for clients of this machine. A path in place of the block is its `path`.
    pub struct ListenUnix = Block::new("listen unix").short("a path or a map", path);

    /// Path of the socket. An existing socket without a listener is replaced; any other file is
    /// refused.
    path: Option<PathBuf> = None => formatted(Format::Path).unset("must be given");
    /// Permissions of the file, in octal digits: those who may write to it may connect.
    mode: String = "600".into() => Key::new(Kind::Spelled(Format::FileMode));
    /// Owner of the file, by name or number.
    owner: Option<String> = None => Key::new(Kind::Spelled(Format::Word)).unset("natsd's user");
    /// Group of the file, by name or number.
    group: Option<String> = None => Key::new(Kind::Spelled(Format::Word)).unset("natsd's group");
}

/// A path in place of the block.
fn path(node: &Node) -> Meaning {
    match &node.value {
        Value::String(_) => Meaning::Is(map(node, "path", node.value.clone())),
        _ => Meaning::Unknown,
    }
}

impl Options {
    /// Returns the options of the Unix socket, if any.
    ///
    /// # Errors
    ///
    /// Returns [`ListenUnixError`]. Does not access the file system.
    pub fn unix(&self) -> Result<Option<UnixOptions>, ListenUnixError> {
        let ListenUnix { path, mode, owner, group } = &self.listen_unix;
        let Some(path) = path else {
            let is_set = self.listen_unix != ListenUnix::default();
            return if is_set { Err(ListenUnixError::NoPath) } else { Ok(None) };
        };
        let mut options = UnixOptions::new(path);
        options.mode =
            u32::from_str_radix(mode, 8).map_err(|_| ListenUnixError::Mode(mode.clone()))?;
        options.owner = match owner {
            Some(name) => Some(user(name).ok_or_else(|| ListenUnixError::Owner(name.clone()))?),
            None => None,
        };
        options.group = match group {
            Some(name) => Some(group_of(name).ok_or_else(|| ListenUnixError::Group(name.clone()))?),
            None => None,
        };
        Ok(Some(options))
    }
}

fn user(name: &str) -> Option<u32> {
    let by_name = || Some(User::from_name(name).ok()??.uid.as_raw());
    name.parse().ok().or_else(by_name)
}

fn group_of(name: &str) -> Option<u32> {
    let by_name = || Some(Group::from_name(name).ok()??.gid.as_raw());
    name.parse().ok().or_else(by_name)
}

/// The options of the Unix socket are invalid.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenUnixError {
    /// The path is missing.
    #[error("listen_unix: path must be given")]
    NoPath,
    /// Invalid permissions.
    #[error("listen_unix.mode: {0:?} is not octal digits, such as 660")]
    Mode(String),
    /// Unknown user.
    #[error("listen_unix.owner: this machine has no user {0:?}")]
    Owner(String),
    /// Unknown group.
    #[error("listen_unix.group: this machine has no group {0:?}")]
    Group(String),
}

impl ListenUnixError {
    pub(super) fn path(&self) -> &'static str {
        match self {
            Self::NoPath => "listen_unix",
            Self::Mode(_) => "listen_unix.mode",
            Self::Owner(_) => "listen_unix.owner",
            Self::Group(_) => "listen_unix.group",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(listen_unix: ListenUnix) -> Options {
        Options { listen_unix, ..Options::default() }
    }

    fn path() -> Option<PathBuf> {
        Some("/run/natsd.sock".into())
    }

    #[test]
    fn there_is_no_socket_by_default_and_a_private_one_with_a_path() {
        assert_eq!(Options::default().unix(), Ok(None));
        let unix = options(ListenUnix { path: path(), ..Default::default() }).unix().unwrap();
        let unix = unix.unwrap();
        assert_eq!((unix.mode, unix.owner, unix.group), (0o600, None, None));
    }

    #[test]
    fn owner_and_group_are_names_or_numbers() {
        let all = ListenUnix {
            path: path(),
            mode: "0660".into(),
            owner: Some("root".into()),
            group: Some("1234".into()),
        };
        let unix = options(all).unix().unwrap().unwrap();
        assert_eq!((unix.mode, unix.owner, unix.group), (0o660, Some(0), Some(1234)));
    }

    #[test]
    fn unknown_owners_and_missing_paths_are_refused() {
        let unknown = Some(String::from("no such name"));
        for (listen_unix, text) in [
            (
                ListenUnix { mode: "660".into(), ..Default::default() },
                "listen_unix: path must be given",
            ),
            (
                ListenUnix { path: path(), owner: unknown.clone(), ..Default::default() },
                "listen_unix.owner: this machine has no user \"no such name\"",
            ),
            (
                ListenUnix { path: path(), group: unknown, ..Default::default() },
                "listen_unix.group: this machine has no group \"no such name\"",
            ),
            (
                ListenUnix { path: path(), mode: "rw".into(), ..Default::default() },
                "listen_unix.mode: \"rw\" is not octal digits, such as 660",
            ),
        ] {
            assert_eq!(options(listen_unix).check().unwrap_err().to_string(), text);
        }
    }
}
