//! Arbitrary text as a configuration file, as a file that it includes, and as environment
//! variables.

#![no_main]

use std::io::{self, Cursor, Read};
use std::path::Path;

use lang::{Document, Error, Node, Span, Surroundings, Value, limits};
use libfuzzer_sys::fuzz_target;

// Included as source: it needs nothing of the program, which takes minutes to build.
#[allow(dead_code, unused_imports, reason = "the program uses more of it")]
#[path = "../../../broker-bin/src/config/lang/mod.rs"]
mod lang;

fuzz_target!(|data: &[u8]| {
    // A file with a zero byte is refused, so it separates the main file, the file `a`, and the
    // variables `V` and `W`.
    let mut parts = data.splitn(4, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (main, file) = (part(), part());
    let (v, w) = (String::from_utf8_lossy(part()), String::from_utf8_lossy(part()));
    let open = |path: &Path| -> io::Result<Box<dyn Read>> {
        if path.ends_with("a") {
            Ok(Box::new(Cursor::new(file.to_vec())))
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    };
    let env = |name: &str| match name {
        "V" => Some(v.to_string()),
        "W" => Some(w.to_string()),
        _ => None,
    };
    let surroundings = Surroundings { env: &env, open: &open };
    let texts = [("main", main), ("a", file)];

    match lang::parse_with(main, "main", &surroundings) {
        Ok(document) => check(&document, main, &surroundings, &texts),
        Err(Error::Parse { span, fault }) => {
            check_span(&span, &texts);
            assert!(!fault.to_string().is_empty());
        }
        Err(Error::Include { span, .. }) => check_span(&span, &texts),
        Err(error) => panic!("nothing else was read: {error}"),
    }
    if let Ok(value) = lang::parse_value(main, "main", &env) {
        assert!(depth(&value) <= limits::MAX_DEPTH);
    }
});

fn check(document: &Document, main: &[u8], surroundings: &Surroundings<'_>, texts: &Texts<'_>) {
    let again = lang::parse_with(main, "main", surroundings);
    assert_eq!(again.as_ref().map(|again| &again.digest).ok(), Some(&document.digest));
    assert_eq!(document.digest.len(), "sha256:".len() + 64);
    let json = lang::to_json(&document.root);
    serde_json::from_str::<serde_json::Value>(&json).expect("it is JSON");
    let root = Value::Map(document.root.clone());
    assert!(depth(&root) <= limits::MAX_DEPTH + 1);
    check_places(&root, texts);
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(nodes) => 1 + nodes.iter().map(|node| depth(&node.value)).max().unwrap_or(0),
        Value::Map(map) => {
            1 + map.entries.iter().map(|entry| depth(&entry.node.value)).max().unwrap_or(0)
        }
        _ => 0,
    }
}

fn check_places(value: &Value, texts: &Texts<'_>) {
    let check_node = |node: &Node| {
        check_span(&node.span, texts);
        check_places(&node.value, texts);
    };
    match value {
        Value::Array(nodes) => nodes.iter().for_each(check_node),
        Value::Map(map) => {
            for entry in &map.entries {
                check_span(&entry.span, texts);
                check_node(&entry.node);
                assert!(std::ptr::eq(map.get(&entry.key).unwrap(), entry), "each key once");
            }
        }
        _ => {}
    }
}

type Texts<'a> = [(&'a str, &'a [u8])];

/// The span is in one of the files, or in a variable, which has no name.
fn check_span(span: &Span, texts: &Texts<'_>) {
    let Some((_, text)) = texts.iter().find(|(name, _)| span.file.ends_with(name)) else {
        assert!(span.file.is_empty(), "{span}");
        return;
    };
    let line = text.split(|byte| *byte == b'\n').nth(span.line as usize - 1).expect("such a line");
    assert!(span.column >= 1 && span.column as usize <= line.len() + 1, "{span}");
}
