//! The examples do what they say.

macro_rules! examples {
    ($($name:ident: $path:literal,)*) => {$(
        #[path = $path]
        mod $name;

        #[test]
        fn $name() {
            $name::main().unwrap();
        }
    )*};
}

examples! {
    authenticator: "../examples/authenticator.rs",
    failover: "../examples/failover.rs",
    faults: "../examples/faults.rs",
    hello: "../examples/hello.rs",
    patterns: "../examples/patterns.rs",
    rider: "../examples/rider/main.rs",
    service: "../examples/service.rs",
    shutdown_with_axum: "../examples/shutdown_with_axum.rs",
}
