//! Parsing terminates for every text, in bounded memory.

use super::*;
use limits::{MAX_BYTES, MAX_DEPTH, MAX_INCLUDE_DEPTH, MAX_INCLUDES, MAX_VARIABLE_DEPTH};

fn arrays(levels: usize, within: &str) -> String {
    format!("{}{within}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn nesting_is_limited() {
    read(&format!("a = {}", arrays(MAX_DEPTH, "")));
    let world = World::default();
    assert_eq!(world.fault(&format!("a = {}", arrays(MAX_DEPTH + 1, ""))), Fault::TooDeep);
    assert_eq!(world.fault(&"a {".repeat(MAX_DEPTH + 1)), Fault::TooDeep);
    assert_eq!(world.fault(&"{".repeat(MAX_DEPTH + 1)), Fault::TooDeep);
    assert_eq!(world.fault(&format!("a = {}", "[".repeat(1 << 20))), Fault::TooDeep);
}

#[test]
fn nesting_within_variables_counts() {
    let half = arrays(MAX_DEPTH / 2, "");
    read(&format!("P = {half}\na = {}", arrays(MAX_DEPTH / 2, "$P")));
    let deeper = format!("P = {half}\na = {}", arrays(MAX_DEPTH / 2 + 1, "$P"));
    assert_eq!(World::default().fault(&deeper), Fault::TooDeep);
}

#[test]
fn nesting_within_includes_and_the_environment_counts() {
    let world = World::default()
        .file("part.conf", format!("a = {}", arrays(MAX_DEPTH, "")))
        .var("V", arrays(MAX_DEPTH, ""));
    world.parse("include part.conf").unwrap();
    assert_eq!(world.fault("m { include part.conf }"), Fault::TooDeep);
    world.parse("a = $V").unwrap();
    let Fault::InVariable { fault, .. } = world.fault("a = [$V]") else { panic!() };
    assert_eq!(*fault, Fault::TooDeep);
}

#[test]
fn variables_that_double_repeatedly_reach_the_limit() {
    let mut text = "V0 = x\n".to_owned();
    for level in 1..60 {
        let below = level - 1;
        text += &format!("V{level} = [$V{below}, $V{below}]\n");
    }
    assert_eq!(World::default().fault(&text), Fault::TooManyValues);
}

#[test]
fn a_long_string_that_a_variable_repeats_counts_each_time() {
    let repeated = "$V, ".repeat(100);
    let text = format!("V = \"{}\"\na = [{repeated}]\n", "x".repeat(MAX_BYTES / 99));
    assert_eq!(World::default().fault(&text), Fault::TooLong);
}

#[test]
fn environment_variables_that_double_repeatedly_reach_the_limit() {
    let env = |name: &str| {
        let next = name.parse::<usize>().ok()? + 1;
        Some(format!("[{}{{a: ${next} }}]", format!("${next} , ").repeat(20)))
    };
    assert!(parse("a = $1", "main.conf", &env).is_err());
}

#[test]
fn chains_of_environment_variables_are_limited() {
    let env = |name: &str| {
        let left = name.parse::<usize>().ok()?;
        Some(if left == 1 { "x".to_owned() } else { format!("${}", left - 1) })
    };
    parse(format!("a = ${MAX_VARIABLE_DEPTH}"), "main.conf", &env).unwrap();
    let error = parse(format!("a = ${}", MAX_VARIABLE_DEPTH + 1), "main.conf", &env).unwrap_err();
    assert!(error.to_string().contains("environment variables that name each other"), "{error}");
}

/// Loads a chain of files in which `1.conf` includes `2.conf` and so on, `times` long.
fn chain(times: usize, last: usize) -> Result<Document, Error> {
    let open = |path: &Path| -> io::Result<Box<dyn io::Read>> {
        let number: usize = path.file_stem().unwrap().to_str().unwrap()[1..].parse().unwrap();
        let line = format!("include n{}.conf\n", number + 1);
        let text = if number < last { line.repeat(times) } else { String::new() };
        Ok(Box::new(io::Cursor::new(text)))
    };
    load_with(Path::new("n1.conf"), &Surroundings { env: &|_| None, open: &open })
}

#[test]
fn chains_of_includes_are_limited() {
    chain(1, MAX_INCLUDE_DEPTH).unwrap();
    let error = chain(1, MAX_INCLUDE_DEPTH + 1).unwrap_err();
    assert!(error.to_string().contains("files that include each other"), "{error}");
}

#[test]
fn includes_that_double_repeatedly_reach_the_limit() {
    let error = chain(2, MAX_INCLUDE_DEPTH).unwrap_err();
    assert!(error.to_string().contains(&format!("more than {MAX_INCLUDES}")), "{error}");
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let open = |_: &Path| -> io::Result<Box<dyn io::Read>> { Ok(Box::new(io::repeat(b'#'))) };
    let surroundings = Surroundings { env: &|_| None, open: &open };
    let error = load_with(Path::new("main.conf"), &surroundings).unwrap_err();
    assert!(matches!(error, Error::Parse { fault: Fault::TooLong, .. }), "{error}");
}

#[test]
fn a_map_of_very_many_keys_is_read() {
    // A linear search per key would take minutes.
    let text: String = (0..100_000).map(|key| format!("k{key} = $k0 \n")).collect();
    let document = World::default().var("k0", "1").parse(&text).unwrap();
    assert_eq!(document.root.entries.len(), 100_000);
}
