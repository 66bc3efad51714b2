//! Prints natsd's reading of configuration files, one line each: "ok", the digest and the values as
//! JSON, or "refused" and the reason, separated by tabs. Passwords are included.
//!
//! `cargo run -p broker-bin --example config_json -- FILE…`

use std::path::Path;

use broker_bin::config::lang;

fn main() {
    let env = |name: &str| std::env::var(name).ok();
    for file in std::env::args().skip(1) {
        match lang::load(Path::new(&file), &env) {
            Ok(read) => println!("ok\t{}\t{}", read.digest, lang::to_json(&read.root)),
            Err(error) => println!("refused\t{:?}", error.to_string()),
        }
    }
}
