//! The live page at `/`, and what it is made of.
//!
//! Files as they are written, compiled in: no build step, and nothing from elsewhere. The page asks the
//! endpoints that everybody else asks, so that there is nothing here that knows what it shows.
//!
//! | what | where |
//! | --- | --- |
//! | what is there without JavaScript: links to the endpoints | `index.html` |
//! | start, navigation, what is shown now | `app.js` |
//! | asking the server, within bounds; a server that is lost | `source.js` |
//! | elements, numbers, plots, tables | `dom.js`, `format.js`, `plot.js`, `table.js` |
//! | one file a view | `overview.js`, `connections.js` (`details.js`), `accounts.js`, `routes.js`, `server.js` |
//!
//! All text that comes from the server is put in as text. The policy ([`POLICY`]) lets the page load and
//! ask nothing but this server, and refuses every way to make markup of a string.

use std::borrow::Cow;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::VERSION;

/// What the page may do.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct File {
    pub(super) kind: &'static str,
    pub(super) body: Cow<'static, str>,
    /// Changes with the body.
    pub(super) tag: String,
}

impl File {
    fn new(kind: &'static str, body: Cow<'static, str>) -> Self {
        let digest = Sha256::digest(body.as_bytes());
        let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self { kind, body, tag: format!("\"{hex}\"") }
    }
}

macro_rules! files {
    ($($name:literal $kind:ident),* $(,)?) => {
        [$(($name, File::new($kind, Cow::Borrowed(include_str!($name))))),*]
    };
}

/// What stands beside the page, by name.
static FILES: LazyLock<[(&str, File); 14]> = LazyLock::new(|| {
    files![
        "style.css" CSS,
        "icon.svg" SVG,
        "app.js" SCRIPT,
        "source.js" SCRIPT,
        "dom.js" SCRIPT,
        "details.js" SCRIPT,
        "format.js" SCRIPT,
        "plot.js" SCRIPT,
        "table.js" SCRIPT,
        "overview.js" SCRIPT,
        "connections.js" SCRIPT,
        "accounts.js" SCRIPT,
        "routes.js" SCRIPT,
        "server.js" SCRIPT,
    ]
});

/// The file of that name.
pub(super) fn file(name: &str) -> Option<&'static File> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, file)| file)
}

/// The page itself, of a server of this name.
pub(super) fn index(server_name: &str, base_path: &str) -> File {
    // Links are relative, so that they hold behind a proxy that puts more before the path. The page has no
    // slash at its end unless it is the root: they start at its last part.
    let base = match base_path.rsplit('/').next() {
        Some(last) if !last.is_empty() => format!("./{last}/"),
        _ => "./".to_owned(),
    };
    let body = include_str!("index.html")
        .replace("{{version}}", VERSION)
        .replace("{{base}}", &escape(&base))
        // Last: nothing that stands in it is replaced.
        .replace("{{name}}", &escape(server_name));
    File::new(HTML, Cow::Owned(body))
}

/// For text that becomes part of a page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;")
}
