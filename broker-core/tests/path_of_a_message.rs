//! One message walks the eight stages, in order.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use broker_core::auth::{Permissions, User, Users};
use broker_core::proto::{Op, Parsed, Parser, ParserLimits};

use common::World;

#[test]
fn one_message_goes_through_all_stages_in_order() {
    let may = Permissions::builder().publish_allow(["orders.>"]).build().unwrap();
    let users = [User::new("shop", "pw").permissions(may), User::new("desk", "pw")];
    let mut world = World::with_auth(Users::builder().users(users).build().unwrap());
    let connect = |user: &str| {
        format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"pw\"}}\r\n")
    };
    let mut shop = world.join_as(&connect("shop"));
    let mut desks: Vec<_> = (0..3).map(|_| world.join_as(&connect("desk"))).collect();
    for (desk, subscribe) in
        desks.iter_mut().zip(["SUB orders.* 1", "SUB > team 2", "SUB orders.eu team 3"])
    {
        world.send(desk, format!("{subscribe}\r\n"));
    }
    desks[0].write_handle.set_room(Some(0));

    // Stage 1, the connection's reader, is outside of the core. These are the bytes that it has
    // read.
    let read = b"PUB orders.eu 5\r\nhello\r\n";

    // Stage 2: the bytes are parsed as an operation that borrows from them.
    let Ok(Parsed::Op { op: Op::Publish(message), .. }) =
        Parser::default().parse(read, &ParserLimits::default())
    else {
        panic!("not a message");
    };
    assert!(read.as_ptr_range().contains(&message.payload().as_ptr()));

    // Stage 3: the session handles it in the state set by CONNECT.
    let received = shop.session.receive(world.now, read, None, &mut world.scratch);
    assert_eq!((received.used, world.broker.stats().in_messages), (read.len(), 1));

    // Stage 4: this user may publish there; elsewhere a publish is refused with an error.
    world.send(&mut shop, "PUB elsewhere 0\r\n\r\n");
    assert_eq!(shop.read(), "-ERR 'Permissions Violation for Publish to \"elsewhere\"'\r\n");

    // Stage 5: all three subscriptions match.
    assert_eq!(world.broker.stats().subscriptions, 3);

    // Stage 6: the message goes to the plain subscription and to one of the group.
    assert_eq!(world.broker.stats().out_messages, 2);

    // Stage 7: for the client whose socket is full it waits, and is counted.
    let waiting = "MSG orders.eu 1 5\r\nhello\r\n";
    assert_eq!(world.broker.stats().pending_bytes, waiting.len());

    // Stage 8, writing to the socket, is outside too: when there is room, the connection has the
    // byte queue write.
    desks[0].write_handle.set_room(None);
    desks[0].session.byte_queue().drain(world.now, true, &mut world.scratch);
    assert_eq!(desks[0].read(), waiting);
}

/// `rg "Stage . of 8"` prints the path.
#[test]
fn the_files_on_the_path_name_their_stages() {
    let files = [
        (2, "proto/parser/mod.rs"),
        (3, "session/client/mod.rs"),
        (4, "auth/permissions.rs"),
        (5, "interest/mod.rs"),
        (6, "routing/deliver.rs"),
        (7, "endpoint/destination.rs"),
    ];
    for (stage, file) in files {
        let path = format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with(&format!("//! Stage {stage} of 8: ")), "{file}");
    }
}
