use super::*;

#[test]
fn an_empty_text_is_an_empty_map() {
    assert_eq!(parse("", "t", &|_| None).unwrap().root, Map::default());
}
