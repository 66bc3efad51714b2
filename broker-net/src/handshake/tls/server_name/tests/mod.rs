//! Hiding of names, and the hashes over hidden ones.

#[cfg(all(feature = "testing-tls", feature = "tls"))]
mod handshakes;

use super::*;

fn with_len(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes(), bytes].concat()
}

fn names(all: &[(u8, &[u8])]) -> Vec<u8> {
    let entries = all.iter().map(|(kind, name)| [&[*kind][..], &with_len(name)].concat());
    with_len(&entries.collect::<Vec<_>>().concat())
}

fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let extensions = extensions
        .iter()
        .map(|(number, data)| [&number.to_be_bytes()[..], &with_len(data)].concat());
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[2, 9, 9],
        &with_len(&[0x13, 1]),
        &[1, 0],
        &with_len(&extensions.collect::<Vec<_>>().concat()),
    ]
    .concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO][..], &len[1..], &body].concat()
}

fn records(message: &[u8], piece_bytes: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&[HANDSHAKE, 3, 1][..], &with_len(piece)].concat();
    message.chunks(piece_bytes).map(record).collect::<Vec<_>>().concat()
}

#[test]
fn only_names_that_rustls_refuses_and_go_accepts_are_hidden() {
    for (all, expected) in [
        (&[(0, &b"nats:4222"[..])][..], true),
        (&[(0, b"[foo.com]")], true),
        (&[(0, b"-a.b")], true),
        (&[(0, b"x y")], true),
        (&[(0, b"*.x")], true),
        (&[(0, b"[::1]")], true),
        (&[(0, b"1.2.3")], true),
        (&[(0, b"\xff\x00")], true),
        (&[(7, b"x")], true),
        (&[(7, b"x"), (0, b"localhost")], true),
        (&[(0, b"localhost")], false),
        (&[(0, b"a_b.example")], false),
        (&[(0, b"127.0.0.1")], false),
        (&[(0, b"localhost"), (7, b"x")], false),
        (&[(0, b"x y"), (0, b"x z")], false),
        (&[(0, b"")], false),
        (&[(0, b"x y.")], false),
        (&[(0, b"localhost.")], false),
        (&[], false),
    ] {
        assert_eq!(is_no_host_name(&names(all)), expected, "{all:?}");
    }
    assert!(!is_no_host_name(&names(&[(0, b"x y")])[..6]));
    assert!(!is_no_host_name(&[names(&[(0, b"x y")]), vec![0]].concat()));
}

#[test]
fn a_hidden_name_is_hashed_in_its_original_form() {
    let name = names(&[(0, b"nats:4222")]);
    let message = hello(&[(43, vec![2, 3, 4]), (SERVER_NAME, name), (41, vec![0; 40])]);
    for piece_bytes in [1, 5, 61, 1000] {
        let before = records(&message, piece_bytes);
        let mut after = before.clone();
        assert_eq!(hide(&mut after), Found::Hidden);
        let changed = before.iter().zip(&after).filter(|(one, other)| one != other).count();
        assert_eq!((after.len(), changed), (before.len(), 2));
        assert_eq!(hide(&mut after), Found::Nothing, "the name is already hidden");
        let (hidden, _) = collect(&after).unwrap();
        let unhidden = |data: &[u8]| with_hidden(true, || unhide(data).into_owned());
        assert_eq!(unhidden(&hidden), message);
        // Behind another message, and without its end.
        let other = [2, 0, 0, 3, 1, 0, 0];
        let end = message.len() - 20;
        let both = unhidden(&[&other, &hidden[..end]].concat());
        assert_eq!(both, [&other, &message[..end]].concat());
        assert_eq!(*unhide(&hidden), *hidden, "nothing is restored outside `with_hidden`");
    }
}

#[test]
fn an_incomplete_hello_is_awaited_and_other_input_is_unchanged() {
    let message = hello(&[(SERVER_NAME, names(&[(0, b"x y")]))]);
    let whole = records(&message, 50);
    for end in 0..whole.len() {
        assert_eq!(hide(&mut whole[..end].to_vec()), Found::Part, "{end}");
    }
    let mut retried = [&[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1][..], &whole].concat();
    assert_eq!(hide(&mut retried), Found::Hidden);
    for (number, text) in [(SERVER_NAME, &b"localhost"[..]), (16, b"x y")] {
        let other = hello(&[(number, names(&[(0, text)]))]);
        assert_eq!(hide(&mut records(&other, 1000)), Found::Nothing);
    }
    let taken = hello(&[(SERVER_NAME, names(&[(0, b"x y")])), (HIDDEN, Vec::new())]);
    assert_eq!(hide(&mut records(&taken, 1000)), Found::Nothing);
    for other in [&b"\x16\x03\x01\x00\x04\x09\x00\x00\x00"[..], b"\x15\x03\x01\x00\x02\x02\x50"] {
        assert_eq!(hide(&mut other.to_vec()), Found::Nothing);
    }
    // No prefix of a hello, and no reversed one, causes a panic.
    for len in 0..message.len() {
        let mut bytes = message[..len].to_vec();
        let _ = hide(&mut records(&bytes, 30));
        bytes.reverse();
        let _ = hide(&mut records(&bytes, 30));
        let _ = with_hidden(true, || unhide(&bytes).len());
    }
}

#[test]
fn a_second_server_name_is_left_for_rustls_to_refuse() {
    let odd = || (SERVER_NAME, names(&[(0, b"x y")]));
    let usual = || (SERVER_NAME, names(&[(0, b"localhost")]));
    for extensions in [[odd(), usual()], [usual(), odd()], [odd(), odd()]] {
        let mut input = records(&hello(&extensions), 1000);
        let before = input.clone();
        assert_eq!(hide(&mut input), Found::Nothing);
        assert_eq!(input, before);
    }
}

#[test]
fn bytes_after_the_list_of_extensions_are_ignored() {
    let mut message = hello(&[]);
    let extra = [&SERVER_NAME.to_be_bytes()[..], &with_len(&names(&[(0, b"x y")]))].concat();
    message.extend_from_slice(&extra);
    let len = u32::try_from(message.len() - MESSAGE_HEADER_BYTES).unwrap().to_be_bytes();
    message[1..4].copy_from_slice(&len[1..]);
    assert_eq!(hide(&mut records(&message, 1000)), Found::Nothing);
}

/// Any fragmentation of a hello into records, and any arrival of their bytes, hides the same two bytes of it.
#[test]
fn any_fragmentation_of_a_hello_changes_the_same_two_bytes() {
    let message = hello(&[(43, vec![2, 3, 4]), (SERVER_NAME, names(&[(0, b"nats:4222")]))]);
    let mut expected = None;
    for piece_bytes in 1..=message.len() {
        let whole = records(&message, piece_bytes);
        let mut come = Vec::new();
        for (at, byte) in whole.iter().enumerate() {
            come.push(*byte);
            let found = hide(&mut come);
            let is_last = at + 1 == whole.len();
            assert_eq!(found, if is_last { Found::Hidden } else { Found::Part });
        }
        let (hidden, _) = collect(&come).unwrap();
        assert_eq!(*expected.get_or_insert_with(|| hidden.clone()), hidden);
    }
}

#[test]
fn a_panic_resets_the_hidden_state_of_the_thread() {
    let panicked = std::panic::catch_unwind(|| with_hidden(true, || panic!("in a test")));
    assert!(panicked.is_err());
    assert!(!IS_HIDDEN.get());
}
