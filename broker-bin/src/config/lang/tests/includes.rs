//! `include`

use super::*;

fn part() -> World {
    World::default().file("part.conf", "a = 1\nb = 2")
}

#[test]
fn included_keys_replace_earlier_ones_and_are_replaced_by_later_ones() {
    let root = part().parse("a = 0\nc = 0\ninclude part.conf\nb = 3").unwrap().root;
    assert_eq!(to_json(&root), r#"{"a":1,"b":3,"c":0}"#);
}

#[test]
fn paths_are_joined_as_in_nats_server() {
    for (file, name, expected) in [
        ("main.conf", "x.conf", "x.conf"),
        ("main.conf", "./x.conf", "x.conf"),
        ("/etc/nats/main.conf", "x.conf", "/etc/nats/x.conf"),
        ("/etc/nats/main.conf", "../x.conf", "/etc/x.conf"),
        ("/etc/main.conf", "../../../x.conf", "/x.conf"),
        ("/etc/nats/main.conf", "/x.conf", "/etc/nats/x.conf"),
        ("main.conf", "../x.conf", "../x.conf"),
        ("a/../b/main.conf", "c/../x.conf", "b/x.conf"),
        ("../main.conf", "../x.conf", "../../x.conf"),
        ("", "x.conf", "x.conf"),
        ("main.conf", ".", "."),
    ] {
        assert_eq!(include::beside(file, name), Path::new(expected), "{file} + {name}");
    }
}

#[test]
fn an_included_file_does_not_see_the_variables_of_the_including_one() {
    let world = World::default().file("part.conf", "a = $P");
    assert_eq!(world.fault("P = 1\ninclude part.conf"), Fault::VariableNotSet);
}

#[test]
fn a_variable_that_was_included_is_marked_when_used() {
    let root = part().parse("include part.conf\nc = $a").unwrap().root;
    assert!(root.get("a").unwrap().is_variable);
    assert!(!root.get("b").unwrap().is_variable);
}

#[test]
fn a_missing_file_is_reported_with_the_path_that_was_tried() {
    let error = part().parse("m {\n  include ../nowhere.conf }").unwrap_err().to_string();
    let expected = "main.conf:2:11: cannot read the included file ../nowhere.conf: ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn files_that_include_each_other_are_refused() {
    let world = World::default()
        .file("a.conf", "include sub/b.conf")
        .file("sub/b.conf", "include ../a.conf");
    assert_eq!(world.fault("include a.conf"), Fault::IncludeCycle);
    assert_eq!(world.fault("include main.conf"), Fault::IncludeCycle);
}

#[test]
fn a_file_may_be_included_twice() {
    assert_eq!(
        part().json("m { include part.conf }\nn { include part.conf }"),
        r#"{"m":{"a":1,"b":2},"n":{"a":1,"b":2}}"#
    );
}
