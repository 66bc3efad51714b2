//! What natsd would run with, given configuration files: for each a line with "ok" and the values that are not
//! the defaults, as JSON, or with "refused" and why, separated by tabs; without a file, the defaults. Passwords
//! are printed too.
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
