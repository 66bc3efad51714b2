//! Places of values and errors.

use super::*;

fn place(span: &Span) -> String {
    span.to_string()
}

#[test]
fn an_error_is_shown_with_file_line_and_column() {
    let error = error("a = 1\nb = [,]\n");
    assert!(error.starts_with("main.conf:2:6: Parse error: "), "{error}");
}

#[test]
fn columns_are_counted_in_characters() {
    let error = error("größe = \"日本\" x");
    assert!(error.starts_with("main.conf:1:14: "), "{error}");
}

#[test]
fn an_unclosed_construct_is_reported_at_its_beginning() {
    let error = error("a = 1\nm {\n  b = 1\n\n\n");
    assert!(error.starts_with("main.conf:2:3: "), "{error}");
}

#[test]
fn a_key_and_its_value_have_places() {
    let root = read("a = 1\n  \"b\" : {c: [x]}").root;
    let b = root.get("b").unwrap();
    assert_eq!(place(&b.span), "main.conf:2:3");
    assert_eq!(place(&b.node.span), "main.conf:2:9");
    let Value::Map(map) = &b.node.value else { panic!() };
    let c = map.get("c").unwrap();
    assert_eq!(place(&c.span), "main.conf:2:10");
    assert_eq!(place(&c.node.span), "main.conf:2:13");
    let Value::Array(nodes) = &c.node.value else { panic!() };
    assert_eq!(place(&nodes[0].span), "main.conf:2:14");
}

#[test]
fn the_place_of_a_variables_value_is_that_of_its_use() {
    let root = read("P = 1\na = $P").root;
    assert_eq!(place(&root.get("a").unwrap().node.span), "main.conf:2:5");
}

#[test]
fn a_key_that_was_used_as_a_variable_is_marked() {
    let root = read("P = 1\nQ = 2\nm { R = 3, a = [$P , $R] }").root;
    assert!(root.get("P").unwrap().is_variable);
    assert!(!root.get("Q").unwrap().is_variable);
    let Value::Map(map) = &root.get("m").unwrap().node.value else { panic!() };
    assert!(map.get("R").unwrap().is_variable);
    assert!(!map.get("a").unwrap().is_variable);
}

#[test]
fn a_key_set_again_after_its_use_is_no_variable() {
    assert!(!read("P = 1\na = $P\nP = 2").root.get("P").unwrap().is_variable);
}

#[test]
fn included_values_have_places_in_their_own_file() {
    let world = World::default().file("sub/part.conf", "\n a = 1").file("sub/bad.conf", "\n\n [");
    let document = world.parse("include sub/part.conf").unwrap();
    assert_eq!(place(&document.root.get("a").unwrap().span), "sub/part.conf:2:2");
    let error = world.parse("include sub/bad.conf").unwrap_err().to_string();
    assert!(error.starts_with("sub/bad.conf:3:2: Parse error: "), "{error}");
}

#[test]
fn a_carriage_return_ends_a_line_without_counting_as_one() {
    let error = error("a = 1\r\nb =\r\n");
    assert!(error.starts_with("main.conf:2:4: "), "{error}");
}
