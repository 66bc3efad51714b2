//! Delivery under a probe (cargo feature `testing`).

use super::audience::Audience;
use super::deliver_run;
use super::traced::deliver_all;
use crate::account::Account;
use crate::endpoint::{Kind, Run, Scratch, Sender, Subscription};
use crate::interest::Matches;
use crate::probe::{Fate, Held, Passing};
use crate::proto::Publish;
use crate::random::Random;

/// Delivers a message that a probe has held, without the probe.
pub(crate) fn deliver_held(
    held: &Held,
    account: &Account,
    random: &mut Random,
    scratch: &mut Scratch,
) {
    let message = Publish {
        subject: &held.subject,
        reply: &held.reply,
        header_len: held.header_len,
        body: &held.body,
        sizes: &held.sizes,
        tail: None,
    };
    let run = Run {
        shown: held.shown.as_deref(),
        subject: &held.subject,
        messages: std::slice::from_ref(&message),
        shared: Some(&held.body),
        parsed: None,
        prefetched: None,
    };
    let from = Sender { id: held.from, kind: Kind::Internal, echo: held.echo, is_served: false };
    let mut matches = Matches::default();
    account.interest.collect(&held.subject, &mut matches);
    deliver_run(account, from, &run, &matches, random, scratch, |_, _| ());
}

/// Delivers as [`deliver_run`] does, but under a probe and message by message.
pub(crate) fn deliver_watched<'a>(
    account: &Account,
    from: Sender,
    run: &Run<'a>,
    matches: &Matches<Subscription>,
    random: &mut Random,
    scratch: &mut Scratch,
    mut no_responders: impl FnMut(&Publish<'a>, &mut Scratch),
) {
    let Some(probe) = account.seam.probe() else { return };
    for message in run.messages {
        let fate = probe.pass(&passing(account, from, run, message));
        let one = Run { messages: std::slice::from_ref(message), ..*run };
        for copy in 0..fate.copies {
            deliver_run(account, from, &one, matches, random, scratch, |message, scratch| {
                if copy == 0 {
                    no_responders(message, scratch);
                }
            });
        }
        for held in fate.then {
            deliver_held(&held, account, random, scratch);
        }
    }
}

/// Delivers a traced message as [`deliver_all`] does, but under a probe. A message that is only traced passes it.
pub(crate) fn deliver_traced_watched(
    account: &Account,
    from: Sender,
    run: &Run<'_>,
    meant: (&Matches<Subscription>, Audience<'_>),
    random: &mut Random,
    scratch: &mut Scratch,
) -> bool {
    let mut is_delivered = false;
    let is_only = scratch.message_trace().is_some_and(|trace| trace.is_only());
    let probe = account.seam.probe().filter(|_| !is_only);
    for message in run.messages {
        let fate = probe.map(|probe| probe.pass(&passing(account, from, run, message)));
        let fate = fate.unwrap_or(Fate::DELIVER);
        for _ in 0..fate.copies {
            is_delivered |= deliver_all(account, from, run, meant, random, scratch);
        }
        for held in fate.then {
            deliver_held(&held, account, random, scratch);
        }
    }
    is_delivered
}

fn passing<'a>(
    account: &'a Account,
    from: Sender,
    run: &Run<'a>,
    message: &'a Publish<'a>,
) -> Passing<'a> {
    Passing {
        account: &account.name,
        from: from.id,
        is_from_connection: from.kind.is_client_connection(),
        wants_echo: from.echo,
        subject: run.subject,
        shown: run.shown,
        message,
    }
}
