//! Records of closed connections, in two contiguous allocations.
//!
//! As separate objects with their texts, the records were scattered over the heap: ten thousand
//! small objects on as many pages, none of which could be returned to the system. 80,000 connections
//! that had been opened and closed so left 65 MB behind, of which the list was 3.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::auth::Identity;
use crate::endpoint::ClientInfo;
use crate::error::CloseReason;
use crate::security::Security;
use crate::snapshot::{Closed, Connection, Subscription};
use crate::stats::Traffic;
use crate::sync::Arc;

/// A list of closed connections, the oldest first.
#[derive(Clone, Default)]
pub(crate) struct ClosedList {
    heads: VecDeque<Head>,
    /// The rest of each record, in the same order.
    bodies: VecDeque<u8>,
    /// The origin of all times: the first connection's time of arrival.
    origin: Option<Instant>,
}

/// The fields of a record that are shared with others or have no numeric form.
#[derive(Clone)]
struct Head {
    body_bytes: u32,
    reason: CloseReason,
    transport: &'static str,
    security: Option<Arc<Security>>,
    account: Option<Arc<str>>,
    identity: Option<Arc<Identity>>,
}

impl ClosedList {
    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Returns the memory in use, in bytes.
    pub(crate) fn len_bytes(&self) -> usize {
        self.heads.len() * size_of::<Head>() + self.bodies.len()
    }

    pub(crate) fn push(&mut self, closed: Closed) {
        let origin = *self.origin.get_or_insert(closed.connection.since);
        let before = self.bodies.len();
        write_closed(&mut Writer { out: &mut self.bodies, origin }, &closed);
        let Closed { connection, reason, .. } = closed;
        let Connection { transport, security, account, client_info, .. } = connection;
        let identity = client_info.identity.clone();
        let Ok(body_bytes) = u32::try_from(self.bodies.len() - before) else {
            // A single record that is longer than the bound of all.
            return self.bodies.truncate(before);
        };
        self.heads.push_back(Head { body_bytes, reason, transport, security, account, identity });
    }

    /// Removes the oldest record. Returns false if there is none.
    pub(crate) fn pop(&mut self) -> bool {
        let Some(head) = self.heads.pop_front() else { return false };
        self.bodies.drain(..head.body_bytes as usize);
        true
    }

    /// Shrinks the memory after the list was much longer.
    pub(crate) fn shrink(&mut self) {
        if self.heads.capacity() > 4 * self.heads.len().max(64) {
            self.heads.shrink_to_fit();
        }
        if self.bodies.capacity() > 4 * self.bodies.len().max(4096) {
            self.bodies.shrink_to_fit();
        }
    }

    /// Returns all records, the oldest first.
    pub(crate) fn list(mut self) -> Vec<Arc<Closed>> {
        let Some(origin) = self.origin else { return Vec::new() };
        let mut rest: &[u8] = self.bodies.make_contiguous();
        let mut list = Vec::with_capacity(self.heads.len());
        for head in &self.heads {
            let (body, behind) = rest.split_at(head.body_bytes as usize);
            rest = behind;
            list.extend(read_closed(&mut Reader { rest: body, origin }, head).map(Arc::new));
        }
        list
    }
}

fn write_closed(out: &mut Writer<'_>, closed: &Closed) {
    let connection = &closed.connection;
    let Traffic { in_messages, in_bytes, out_messages, out_bytes } = connection.traffic;
    out.time(closed.at);
    out.time(connection.since);
    out.time(connection.last_activity);
    for number in [connection.id, in_messages, in_bytes, out_messages, out_bytes] {
        out.number(number);
    }
    out.number(connection.pending_bytes as u64);
    out.number(connection.subscriptions as u64);
    out.optional(connection.rtt, |out, rtt| out.number(nanos(rtt)));
    out.optional(connection.remote, Writer::address);
    let ClientInfo { name, lang, version, user, identity: _, proxy } = &*connection.client_info;
    for text in [name, lang, version] {
        out.text(text);
    }
    out.optional(user.as_deref(), Writer::text);
    out.optional(proxy.as_deref(), Writer::text);
    out.number(closed.subscriptions.len() as u64);
    for subscription in &closed.subscriptions {
        out.text(&subscription.filter);
        out.optional(subscription.queue.as_deref(), Writer::text);
        out.text(&subscription.sid);
        out.number(subscription.delivered);
        out.optional(subscription.max, Writer::number);
    }
}

/// Returns `None` only if it was not written by [`write_closed`].
fn read_closed(body: &mut Reader<'_>, head: &Head) -> Option<Closed> {
    let (at, since, last_activity) = (body.time()?, body.time()?, body.time()?);
    let id = body.number()?;
    let traffic = Traffic {
        in_messages: body.number()?,
        in_bytes: body.number()?,
        out_messages: body.number()?,
        out_bytes: body.number()?,
    };
    let (pending_bytes, held) = (body.number()? as usize, body.number()? as usize);
    let rtt = body.optional(|body| body.number().map(Duration::from_nanos))?;
    let remote = body.optional(Reader::address)?;
    let (name, lang, version) = (body.text()?, body.text()?, body.text()?);
    let user = body.optional(Reader::text)?.map(Arc::from);
    let proxy = body.optional(Reader::text)?.map(Arc::from);
    let count = body.number()?;
    let account = head.account.clone();
    let subscription = |body: &mut Reader<'_>| {
        Some(Subscription {
            filter: body.text()?,
            queue: body.optional(Reader::text)?,
            sid: body.text()?,
            delivered: body.number()?,
            max: body.optional(Reader::number)?,
            connection: id,
            account: account.clone().unwrap_or_default(),
        })
    };
    let subscriptions = (0..count).map(|_| subscription(body)).collect::<Option<_>>()?;
    let connection = Connection {
        id,
        remote,
        transport: head.transport,
        security: head.security.clone(),
        since,
        last_activity,
        rtt,
        pending_bytes,
        traffic,
        subscriptions: held,
        client_info: Arc::new(ClientInfo {
            name,
            lang,
            version,
            user,
            identity: head.identity.clone(),
            proxy,
        }),
        account,
    };
    Some(Closed { connection, at, reason: head.reason, subscriptions })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

struct Writer<'a> {
    out: &'a mut VecDeque<u8>,
    origin: Instant,
}

impl Writer<'_> {
    /// Writes seven bits per byte, the lowest first; the eighth bit marks that more follow.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push_back(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push_back(number as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.out.extend(text.as_bytes());
    }

    /// The lowest bit is the side of the origin.
    fn time(&mut self, time: Instant) {
        let after = nanos(time.saturating_duration_since(self.origin));
        let before = nanos(self.origin.saturating_duration_since(time));
        self.number(if before > 0 { (before << 1) | 1 } else { after << 1 });
    }

    fn address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => {
                self.number(4);
                self.out.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                self.number(6);
                self.out.extend(ip.octets());
            }
        }
        self.number(address.port().into());
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.number(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    origin: Instant,
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn text(&mut self) -> Option<Box<str>> {
        let len = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        std::str::from_utf8(text).ok().map(Box::from)
    }

    fn time(&mut self) -> Option<Instant> {
        let number = self.number()?;
        let distance = Duration::from_nanos(number >> 1);
        match number & 1 {
            0 => self.origin.checked_add(distance),
            _ => self.origin.checked_sub(distance),
        }
    }

    fn address(&mut self) -> Option<SocketAddr> {
        let ip = match self.number()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.bytes::<4>()?)),
            _ => IpAddr::V6(Ipv6Addr::from(self.bytes::<16>()?)),
        };
        Some(SocketAddr::new(ip, u16::try_from(self.number()?).ok()?))
    }

    /// The outer `None` is a fault, the inner one a value.
    #[allow(clippy::option_option, reason = "see above")]
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.number()? {
            0 => Some(None),
            _ => read(self).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(number: u64, now: Instant) -> Closed {
        let second = Duration::from_secs(1);
        let account: Arc<str> = "A".into();
        let subscription = |sid: &str, max: Option<u64>| Subscription {
            filter: "orders.*.é".into(),
            queue: max.map(|_| "workers".into()),
            sid: sid.into(),
            delivered: number << 40,
            max,
            connection: number,
            account: Arc::clone(&account),
        };
        let many = number.is_multiple_of(2);
        let client_info = ClientInfo {
            name: "n".repeat(number as usize).into(),
            lang: "rust".into(),
            version: "1".into(),
            user: many.then(|| "u".into()),
            proxy: many.then(|| "P".into()),
            identity: many.then(|| {
                let nkey = Some("U".into());
                Arc::new(Identity { nkey, ..Identity::default() })
            }),
        };
        Closed {
            connection: Connection {
                id: number,
                remote: match number % 3 {
                    0 => None,
                    1 => Some("192.0.2.1:65535".parse().unwrap()),
                    _ => Some("[2001:db8::1]:4222".parse().unwrap()),
                },
                transport: "tcp",
                security: None,
                // The first record is not that of the earliest arrival.
                since: now + second * 300 - second * number as u32,
                last_activity: now + second * 300,
                rtt: many.then_some(Duration::from_nanos(number)),
                pending_bytes: 1 << 40,
                traffic: Traffic {
                    in_messages: number,
                    in_bytes: u64::MAX,
                    out_messages: 0,
                    out_bytes: 127,
                },
                subscriptions: 1000,
                client_info: Arc::new(client_info),
                account: many.then(|| Arc::clone(&account)),
            },
            at: now + second * 301,
            reason: CloseReason::ClientClosed,
            subscriptions: match many {
                true => Box::new([subscription("1", None), subscription("b", Some(9))]),
                false => Box::new([]),
            },
        }
    }

    #[test]
    fn records_are_read_as_written() {
        let (mut list, now) = (ClosedList::default(), Instant::now());
        (1..200).for_each(|number| list.push(closed(number, now)));
        for _ in 1..50 {
            assert!(list.pop());
        }
        (200..300).for_each(|number| list.push(closed(number, now)));
        let expected: Vec<String> =
            (50..300).map(|number| format!("{:?}", closed(number, now))).collect();
        let sent: Vec<String> = list.clone().list().iter().map(|one| format!("{one:?}")).collect();
        assert_eq!(sent, expected);
    }

    #[test]
    fn an_empty_list_takes_no_memory() {
        let (mut list, now) = (ClosedList::default(), Instant::now());
        assert!(list.clone().list().is_empty());
        (1..300).for_each(|number| list.push(closed(number, now)));
        assert!(list.len_bytes() > 5000);
        while list.pop() {}
        list.shrink();
        assert_eq!((list.len(), list.len_bytes()), (0, 0));
        assert_eq!((list.heads.capacity(), list.bodies.capacity()), (0, 0));
    }

    #[test]
    fn a_common_connection_takes_few_bytes() {
        let (mut list, now) = (ClosedList::default(), Instant::now());
        list.push(closed(5, now));
        assert!(list.len_bytes() <= 128, "{}", list.len_bytes());
    }
}
