//! The live page at `/`.
//!
//! Plain files, compiled in: no build step, no external resources. The page uses the monitoring
//! endpoints that other clients use, so that the server needs no code for what it shows.
//!
//! | what | where |
//! | --- | --- |
//! | contents without JavaScript: links to the endpoints | `index.html` |
//! | start, navigation, current view | `app.js` |
//! | bounded requests to the server, loss of connection | `source.js` |
//! | elements, numbers, plots, tables | `dom.js`, `format.js`, `plot.js`, `table.js` |
//! | one file per view | `overview.js`, `connections.js` (`details.js`), `accounts.js`, `streams.js` (`stream.js`), `routes.js`, `server.js` |
//!
//! All text from the server is inserted as text. The policy ([`POLICY`]) restricts the page to this
//! server and forbids turning strings into markup.

use std::borrow::Cow;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::VERSION;

/// The content security policy of the page.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct File {
    pub(super) kind: &'static str,
    pub(super) body: Cow<'static, str>,
    /// The ETag, derived from the body.
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

/// The other files of the page, by name.
static FILES: LazyLock<[(&str, File); 16]> = LazyLock::new(|| {
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
        "streams.js" SCRIPT,
        "stream.js" SCRIPT,
        "routes.js" SCRIPT,
        "server.js" SCRIPT,
    ]
});

/// Returns the file of that name.
pub(super) fn file(name: &str) -> Option<&'static File> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, file)| file)
}

/// Returns the page for a server of this name.
pub(super) fn index(server_name: &str, base_path: &str) -> File {
    // Links are relative, so that they work behind a proxy that adds a path prefix. The page's path
    // has no trailing slash unless it is the root, so that links begin at its last part.
    let base = match base_path.rsplit('/').next() {
        Some(last) if !last.is_empty() => format!("./{last}/"),
        _ => "./".to_owned(),
    };
    let body = include_str!("index.html")
        .replace("{{version}}", VERSION)
        .replace("{{base}}", &escape(&base))
        // Replaced last, so that placeholders within the name are not replaced.
        .replace("{{name}}", &escape(server_name));
    File::new(HTML, Cow::Owned(body))
}

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;")
}
