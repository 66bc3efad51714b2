//! Variables from the environment, and single values.

use super::*;

fn value(text: &str) -> Result<Value, Error> {
    parse_value(text, "$NAME", &|_| None)
}

#[test]
fn a_lone_value_is_read_like_one_in_a_file() {
    assert_eq!(value("64MiB").unwrap(), Value::Integer(64 << 20));
    assert_eq!(value(" yes \n").unwrap(), Value::Bool(true));
    assert_eq!(value("").unwrap(), Value::String(String::new()));
    assert_eq!(value("'a b'").unwrap(), Value::String("a b".to_owned()));
    assert!(matches!(value("{a: 1, b [x]}").unwrap(), Value::Map(_)));
}

#[test]
fn nothing_may_follow_a_lone_value() {
    for text in ["a;b", "a,b", "a b", "a #b", "a\nb = c", "1}", "'a'b", "[1 ],"] {
        let error = value(text).unwrap_err();
        assert!(
            matches!(error, Error::Parse { fault: Fault::LoneValueGoesOn, .. }),
            "{text}: {error}"
        );
    }
}

#[test]
fn an_error_in_a_lone_value_names_the_value() {
    let error = value("[a").unwrap_err().to_string();
    assert!(error.starts_with("$NAME:1:1: Parse error: "), "{error}");
}

#[test]
fn an_error_in_a_variable_is_reported_at_its_use() {
    let world = World::default().var("V", "[x, 'hunter2");
    let error = world.parse("a = 1\nb = $V").unwrap_err().to_string();
    assert!(error.starts_with("main.conf:2:5: Parse error: "), "{error}");
    assert!(error.contains("column 5") && !error.contains("hunter2"), "{error}");
}

#[test]
fn variables_of_the_environment_do_not_see_the_file() {
    let world = World::default().var("V", "$P");
    assert_eq!(
        world.fault("P = 1\na = $V"),
        Fault::InVariable { column: 1, fault: Box::new(Fault::VariableNotSet) }
    );
}

#[test]
fn keys_of_a_map_in_the_environment_are_variables_within_it() {
    assert_eq!(World::default().var("V", "{a: 1, b: $a}").json("m = $V"), r#"{"m":{"a":1,"b":1}}"#);
}

#[test]
fn a_variable_may_be_used_again_but_not_within_itself() {
    let world = World::default().var("V", "[$W, $W]").var("W", "x").var("L", "$M").var("M", "$L");
    assert_eq!(world.json("a = $V"), r#"{"a":["x","x"]}"#);
    let Fault::InVariable { fault, .. } = world.fault("a = $L") else { panic!() };
    let Fault::InVariable { fault, .. } = *fault else { panic!() };
    assert_eq!(*fault, Fault::VariableCycle);
}

#[test]
fn the_name_of_a_variable_is_not_printed_because_it_may_be_an_unquoted_password() {
    let error = error("password = $hunter2");
    assert!(error.contains("quotes") && !error.contains("hunter2"), "{error}");
}
