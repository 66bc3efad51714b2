//! Routing: from a message and its matches to destinations.

mod audience;
mod deliver;
mod peers;
mod services;
mod traced;
#[cfg(feature = "testing")]
mod watched;

pub(crate) use audience::Audience;
pub(crate) use deliver::{end, flush_touched, hand_over, queue_of_only};
pub(crate) use services::{
    Requesting, ServiceState, deliver_with_services, expire_responses, pass_responses,
    pass_to_services, tell_answered_there,
};
#[cfg(feature = "testing")]
pub(crate) use watched::deliver_held;

use crate::account::Account;
use crate::endpoint::{Run, Scratch, Sender, Subscription};
use crate::interest::Matches;
use crate::proto::Publish;
use crate::random::Random;
pub(crate) use deliver::is_eligible;
use deliver::{deliver_to_all_plain, deliver_to_local};
use peers::{accepts, deliver_with_peers};
use traced::deliver_all;

/// Delivers a run and calls `no_responders` with each message that reached no receiver.
#[inline(always)]
pub(crate) fn deliver<'a>(
    account: &Account,
    from: Sender,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    random: &mut Random,
    scratch: &mut Scratch,
    no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    #[cfg(feature = "testing")]
    if account.seam.probe().is_some() {
        return watched::deliver_watched(
            account,
            from,
            run,
            matches,
            random,
            scratch,
            no_responders,
        );
    }
    if matches.are_plain() {
        deliver_to_all_plain(account, from, run, matches, scratch, no_responders);
    } else {
        deliver_run(account, from, run, matches, random, scratch, no_responders);
    }
}

/// As [`deliver()`], without a probe.
#[inline(never)]
fn deliver_run<'a>(
    account: &Account,
    from: Sender,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    random: &mut Random,
    scratch: &mut Scratch,
    no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    if matches.peers().is_empty() {
        deliver_to_local(account, from, run, matches, random, scratch, no_responders);
    } else {
        let meant = (matches, Audience::All);
        deliver_with_peers(account, from, run, meant, random, scratch, no_responders);
    }
}

/// Delivers a run from another server to the part of the interest that it is meant for. No publisher here
/// needs to know that a message reached no receiver.
pub(crate) fn deliver_for(
    account: &Account,
    from: Sender,
    run: &Run<'_>,
    (matches, audience): (&Matches<Subscription>, Audience<'_>),
    random: &mut Random,
    scratch: &mut Scratch,
) {
    deliver_with_peers(account, from, run, (matches, audience), random, scratch, |_, _| ());
}

/// Returns true if at least one receiver would get a message.
pub(crate) fn would_reach(from: Sender, subject: &[u8], matches: &Matches<Subscription>) -> bool {
    let mut all = matches.plain.iter().chain(matches.groups().iter().flatten());
    all.any(|subscription| is_eligible(subscription, from, subject))
        || !matches.services().is_empty()
        || matches.peers().iter().any(|peer| accepts(peer, from))
}

/// Delivers a traced run of one message, and notes its receivers in the trace of the call. Returns true if at least one
/// receiver got it, or would have got it if the message is only to be traced.
pub(crate) fn deliver_traced(
    account: &Account,
    from: Sender,
    run: &Run<'_>,
    meant: (&Matches<Subscription>, Audience<'_>),
    random: &mut Random,
    scratch: &mut Scratch,
) -> bool {
    #[cfg(feature = "testing")]
    if account.seam.probe().is_some() {
        return watched::deliver_traced_watched(account, from, run, meant, random, scratch);
    }
    deliver_all(account, from, run, meant, random, scratch)
}
