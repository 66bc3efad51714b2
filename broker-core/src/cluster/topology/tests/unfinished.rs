//! Connections that become routes after the options have changed.

use super::*;

/// Opens a dialled connection and an accepted one, both of which are no routes yet when the options change. Returns the
/// INFO that each has sent before.
fn opened(a: &mut Topology) -> [Option<RouteInfo>; 2] {
    let dial = a.order("b", true);
    a.open(1, Record::dialed(&dial, ip(1)));
    a.open(2, Record::accepted(ip(1)));
    let first = (!a.delays_info(1)).then(|| a.opening_info(1, String::new()));
    [first, Some(a.opening_info(2, String::new()))]
}

fn sent(effects: &[Effect], to: RouteId) -> Vec<Option<SubjectPermission>> {
    let infos = effects.iter().filter_map(|effect| match effect {
        Effect::Send(id, info) if *id == to => Some(info.export.clone()),
        _ => None,
    });
    infos.collect()
}

#[test]
fn a_server_is_told_permissions_that_change_before_the_connection_is_a_route() {
    let allow = SubjectPermission { allow: vec!["a".into()], deny: Vec::new() };
    let permissions = Some(RoutePermissions { import: None, export: Some(allow.clone()) });
    for pool_size in [None, Some(3)] {
        let before = ClusterOptions { routes: vec![address("b")], pool_size, ..options() };
        let after = ClusterOptions { permissions: permissions.clone(), ..before.clone() };
        let size = pool_size.map_or(0, i64::from);
        let mut a = server("A", before);
        let [first, other] = opened(&mut a);
        assert!(first.iter().chain(&other).all(|info| info.export.is_none()));
        let effects = a.apply(Arc::new(after), &system(), String::new());
        assert!(closed(&effects).is_empty());
        assert_eq!(sent(&effects, 1), [], "not before INFO has made it a route");

        let (joined, effects) = a.handle_info(1, told("B", size, 0), String::new());
        let Joined::Registered(place) = joined else { panic!("{joined:?}") };
        let in_place = place.info.map(|info| info.export);
        assert_eq!(in_place.is_some(), first.is_none(), "one that has waited with its INFO");
        let told_now = in_place.into_iter().chain(sent(&effects, 1));
        assert_eq!(told_now.collect::<Vec<_>>(), [Some(allow.clone())]);

        let (_, effects) = a.handle_info(2, told("C", size, 1.min(size)), String::new());
        assert_eq!(sent(&effects, 2), [Some(allow.clone())]);
    }
}

#[test]
fn a_server_that_got_its_first_info_after_the_change_is_told_once() {
    let allow = SubjectPermission { allow: vec!["a".into()], deny: Vec::new() };
    let permissions = Some(RoutePermissions { import: None, export: Some(allow.clone()) });
    let mut a = server("A", options());
    a.open(1, Record::accepted(ip(1)));
    a.apply(Arc::new(ClusterOptions { permissions, ..options() }), &system(), String::new());
    assert_eq!(a.opening_info(1, String::new()).export, Some(allow));
    let (_, effects) = a.handle_info(1, told("B", 3, 0), String::new());
    assert_eq!(sent(&effects, 1), []);
}

/// The other server knows the size of before, or waits for an INFO that this one would not send any more.
#[test]
fn a_connection_that_began_by_another_pool_or_compression_is_made_again() {
    let before = ClusterOptions { routes: vec![address("b")], pool_size: Some(3), ..options() };
    let mut compressed = before.clone();
    compressed.compression.mode = CompressionMode::S2Fast;
    let changes = [
        (ClusterOptions { pool_size: None, ..before.clone() }, true),
        (ClusterOptions { pool_size: Some(5), ..before.clone() }, true),
        (compressed, false),
    ];
    for (after, is_dialed_at_once) in changes {
        let mut a = server("A", before.clone());
        opened(&mut a);
        let gossiped = a.order("c", false);
        a.open(3, Record::dialed(&gossiped, ip(3)));
        let effects = a.apply(Arc::new(after), &system(), String::new());
        assert_eq!(closed(&effects), [1, 2, 3]);
        let to_b = ("b".to_owned(), None, true);
        assert_eq!(dialed(&effects).contains(&to_b), is_dialed_at_once);
        let again = dialed(&a.handle_lost(1, 0));
        assert_eq!(again.contains(&to_b), !is_dialed_at_once, "once in any case");
        assert_eq!(dialed(&a.handle_lost(2, 0)), [], "the other server dials");
        assert_eq!(dialed(&a.handle_lost(3, 0)), [("c".into(), None, false)]);
    }
}
