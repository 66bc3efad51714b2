//! The examples run.

macro_rules! examples {
    ($($(#[$when:meta])* $name:ident: $path:literal,)*) => {$(
        $(#[$when])*
        #[path = $path]
        mod $name;

        $(#[$when])*
        #[test]
        fn $name() {
            $name::main().unwrap();
        }
    )*};
}

examples! {
    authenticator: "../examples/authenticator.rs",
    cluster: "../examples/cluster.rs",
    cluster_failover: "../examples/cluster_failover.rs",
    #[cfg(feature = "tls-core")]
    embed_tls: "../examples/embed_tls.rs",
    #[cfg(feature = "streams")]
    exactly_once: "../examples/exactly_once.rs",
    failover: "../examples/failover.rs",
    faults: "../examples/faults.rs",
    hello: "../examples/hello.rs",
    #[cfg(feature = "streams")]
    key_value: "../examples/key_value.rs",
    mixed_cluster: "../examples/mixed_cluster.rs",
    #[cfg(feature = "streams")]
    outbox: "../examples/outbox.rs",
    own_listener: "../examples/own_listener.rs",
    patterns: "../examples/patterns.rs",
    reverse: "../examples/reverse.rs",
    shutdown_with_axum: "../examples/shutdown_with_axum.rs",
    #[cfg(feature = "streams")]
    work_queue: "../examples/work_queue.rs",
}
