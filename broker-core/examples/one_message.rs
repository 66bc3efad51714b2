//! The way of one message through the core, for `tests/instructions` to count its instructions.
//!
//! `one_message` lists what can be counted, `one_message NAME` does it and says how often: everything
//! between is done in [`measured`], which is what callgrind is told to collect.

#[path = "../benches/common/mod.rs"]
mod common;

use std::process::ExitCode;

use common::chunk::{publish, repeated};
use common::codec::{Encoding, Parsing};
use common::in_process::{Asking, AskingHandler, Batching, Publishing};
use common::services::Requests;
use common::{Scenario, traffic, warm_up};

/// Enough that what happens once does not show in the tenth of an instruction, and whole rounds of
/// what has several turns.
const ITEMS: usize = 20_000;

type Make = fn() -> Box<dyn Scenario>;

const SCENARIOS: [(&str, Make); 34] = [
    ("parse_pub_16_bytes", || Box::new(Parsing::of(repeated(&publish("bench.subject", "", 16))))),
    ("encode_msg_16_bytes", || Box::new(Encoding::of("", "", 16))),
    ("publish_to_nobody_16_bytes", || Box::new(traffic::publish_to_nobody_16_bytes())),
    ("one_to_one_16_bytes", || Box::new(traffic::one_to_one(16))),
    ("one_to_one_of_10_to_99_bytes", || Box::new(traffic::one_to_one_of_10_to_99_bytes())),
    ("one_to_one_16_bytes_each_read_by_itself", || {
        Box::new(traffic::one_to_one_16_bytes_each_read_by_itself())
    }),
    ("one_to_one_128_bytes_with_reply", || Box::new(traffic::one_to_one_128_bytes_with_reply())),
    (
        "one_to_one_128_bytes_with_headers",
        || Box::new(traffic::one_to_one_128_bytes_with_headers()),
    ),
    ("mapped_16_bytes", || Box::new(traffic::mapped_16_bytes())),
    ("mapped_16_bytes_each_read_by_itself", || {
        Box::new(traffic::mapped_16_bytes_each_read_by_itself())
    }),
    ("mapped_by_weight_16_bytes", || Box::new(traffic::mapped_by_weight_16_bytes())),
    ("fan_out_1_to_10_128_bytes", || Box::new(traffic::fan_out(10, 128))),
    ("queue_group_of_10", || Box::new(traffic::queue_group_of_10())),
    ("ten_thousand_subjects_into_a_wildcard", || {
        Box::new(traffic::ten_thousand_subjects_into_a_wildcard())
    }),
    ("match_10k_wildcards", || Box::new(traffic::wildcard_subscriptions(10_000))),
    ("in_process_128_bytes", || Box::new(Publishing::of(128))),
    ("in_process_128_bytes_in_batches", || Box::new(Batching::of(128))),
    ("in_process_request_to_handler_128_bytes", || Box::new(AskingHandler::of(128))),
    ("in_process_request_128_bytes", || Box::new(Asking::of(128))),
    ("parse_rmsg_16_bytes", || Box::new(traffic::parse_rmsg())),
    ("parse_rmsg_with_reply_and_queue", || Box::new(traffic::parse_rmsg_with_reply_and_queue())),
    ("parse_interest_of_a_route", || Box::new(traffic::parse_interest())),
    ("client_to_route_16_bytes", || Box::new(traffic::client_to_route())),
    ("client_to_route_16_bytes_each_read_by_itself", || {
        Box::new(traffic::client_to_route_each_read_by_itself())
    }),
    ("client_to_queue_behind_route", || Box::new(traffic::client_to_queue_behind_route())),
    ("route_to_client_16_bytes", || Box::new(traffic::route_to_client())),
    ("route_to_client_16_bytes_each_read_by_itself", || {
        Box::new(traffic::route_to_client_each_read_by_itself())
    }),
    ("route_to_queue", || Box::new(traffic::route_to_queue())),
    ("ten_thousand_subjects_of_route_into_a_wildcard", || {
        Box::new(traffic::ten_thousand_subjects_of_route_into_a_wildcard())
    }),
    ("requests_100_outstanding", || Box::new(Requests::from_account("A"))),
    ("requests_100_outstanding_over_an_import", || Box::new(Requests::from_account("B"))),
    ("client_to_route_1_kib", || Box::new(traffic::client_to_route_1_kib())),
    ("route_to_client_1_kib", || Box::new(traffic::route_to_client_1_kib())),
    ("subscribe_request_unsubscribe", || Box::new(traffic::subscribe_request_unsubscribe())),
];

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        SCENARIOS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let Some((_, make)) = SCENARIOS.iter().find(|(known, _)| *known == name) else {
        eprintln!("one_message: nothing here is called {name}");
        return ExitCode::FAILURE;
    };
    let mut scenario = make();
    warm_up(&mut *scenario);
    let items = measured(&mut *scenario);
    let (expected, happened) = scenario.account();
    if expected != happened {
        eprintln!(
            "one_message: {name}: {expected} messages and deliveries due, {happened} counted"
        );
        return ExitCode::FAILURE;
    }
    println!("{items}");
    ExitCode::SUCCESS
}

#[inline(never)]
fn measured(scenario: &mut dyn Scenario) -> usize {
    let mut items = 0;
    while items < ITEMS {
        items += scenario.turn();
    }
    items
}
