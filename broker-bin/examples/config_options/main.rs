//! Prints the options that natsd derives from configuration files, one line each: "ok" and the
//! values that differ from the defaults, as JSON, or "refused" and the reason, separated by tabs.
//! Without a file, prints the defaults. Passwords are included.
//!
//! `cargo run -p broker-bin --example config_options -- FILE…`

mod normal_form;

use broker_bin::Options;
use broker_bin::options::{Request, load};

fn main() {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        println!("ok\t{}", normal_form::of(&Options::default()));
    }
    let environment: std::collections::BTreeMap<_, _> = std::env::vars().collect();
    for file in files {
        let file = Some(file.into());
        match load(&Request { file, environment: environment.clone(), ..Request::default() }) {
            Ok(loaded) => println!("ok\t{}", normal_form::difference(&loaded.options)),
            Err(error) => println!("refused\t{:?}", error.to_string()),
        }
    }
}
