//! Paths of options, such as `accounts.A.users[3].user`.

use std::fmt;

/// The path of an option, as a list that ends at the root of the configuration.
///
/// It becomes text only for an error or a warning: a file may set a million options, and a text for each of them would
/// take a tenth of the time to load it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    /// A path that exists as text; empty for the whole configuration.
    Text(&'a str),
    /// An option of a block, or a value under a name that the user chose.
    Name(&'a Path<'a>, &'a str),
    /// An item of a list.
    Item(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The whole configuration.
    pub(crate) const ROOT: Path<'static> = Path::Text("");

    /// Returns the path of the option `name` of this block.
    pub(crate) fn name(&'a self, name: &'a str) -> Self {
        Self::Name(self, name)
    }

    /// Returns the path of an item of this list.
    pub(crate) fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// Returns the path of another option of the same block.
    pub(crate) fn sibling(&self, name: &str) -> String {
        let block = match self {
            Self::Text(text) => Path::Text(text.rsplit_once('.').map_or("", |(block, _)| block)),
            Self::Name(block, _) | Self::Item(block, _) => **block,
        };
        block.name(name).to_string()
    }

    /// Returns the name of the option within its block.
    pub(crate) fn last(&self) -> &'a str {
        match *self {
            Self::Text(text) => text.rsplit('.').next().unwrap_or(text),
            Self::Name(_, name) => name,
            Self::Item(list, _) => list.last(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Name(Self::Text(""), name) => f.write_str(name),
            Self::Name(block, name) => write!(f, "{block}.{name}"),
            Self::Item(list, index) => write!(f, "{list}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_form_of_messages() {
        let users = Path::ROOT.name("accounts");
        let users = users.name("A");
        let users = users.name("users");
        let user = users.item(3);
        let name = user.name("user");
        assert_eq!(name.to_string(), "accounts.A.users[3].user");
        assert_eq!(Path::ROOT.to_string(), "");
        assert_eq!(Path::Text("a.b").name("c").to_string(), "a.b.c");
    }

    #[test]
    fn a_sibling_is_an_option_of_the_same_block() {
        assert_eq!(Path::Text("cluster.listen").sibling("port"), "cluster.port");
        assert_eq!(Path::Text("listen").sibling("port"), "port");
        let cluster = Path::ROOT.name("cluster");
        assert_eq!(cluster.name("listen").sibling("port"), "cluster.port");
        assert_eq!(cluster.sibling("port"), "port");
    }

    #[test]
    fn the_last_name_is_that_of_the_option() {
        assert_eq!(Path::Text("authorization.timeout").last(), "timeout");
        assert_eq!(Path::Text("timeout").last(), "timeout");
        assert_eq!(Path::ROOT.name("a").name("b").last(), "b");
        assert_eq!(Path::ROOT.name("list").item(2).last(), "list");
    }
}
