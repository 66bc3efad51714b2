//! Encoding of the operations of a server for other servers, as whole lines appended to a buffer.
//!
//! `account` is the account that a line names; `None` on a route of one account.

use super::{RouteConnect, RouteInfo};
use crate::proto::encode::number;

/// `INFO {json}`, with a blank before the line end, as a server describes itself.
// NATS 2.14: util.go generateInfoJSON.
pub fn info(out: &mut Vec<u8>, info: &RouteInfo) {
    json(out, b"INFO ", &info.to_json(), b" \r\n");
}

/// `INFO {json}`, without a blank before the line end, as a server describes another one.
// NATS 2.14: route.go forwardNewRouteInfoToKnownServers.
pub fn gossip(out: &mut Vec<u8>, info: &RouteInfo) {
    json(out, b"INFO ", &info.to_json(), b"\r\n");
}

/// `CONNECT {json}`.
pub fn connect(out: &mut Vec<u8>, connect: &RouteConnect) {
    json(out, b"CONNECT ", &connect.to_json(), b"\r\n");
}

fn json(out: &mut Vec<u8>, verb: &[u8], json: &[u8], end: &[u8]) {
    out.reserve(verb.len() + json.len() + end.len());
    out.extend_from_slice(verb);
    out.extend_from_slice(json);
    out.extend_from_slice(end);
}

/// `RS+ [account] filter [queue weight]`.
///
/// ```
/// use broker_core::proto::route::encode;
///
/// let mut out = Vec::new();
/// encode::subscribe(&mut out, Some("A"), b"orders.*", Some(b"workers"), 3);
/// encode::unsubscribe(&mut out, None, b"orders.*", None);
/// assert_eq!(out, b"RS+ A orders.* workers 3\r\nRS- orders.*\r\n");
/// ```
pub fn subscribe(
    out: &mut Vec<u8>,
    account: Option<&str>,
    filter: &[u8],
    queue: Option<&[u8]>,
    weight: u32,
) {
    interest(out, b"RS+", None, account, filter, queue);
    end(out, queue.map(|_| weight));
}

/// `RS- [account] filter [queue]`.
pub fn unsubscribe(out: &mut Vec<u8>, account: Option<&str>, filter: &[u8], queue: Option<&[u8]>) {
    interest(out, b"RS-", None, account, filter, queue);
    end(out, None);
}

/// `LS+ origin [account] filter [queue weight]`: interest of the leaf nodes of a cluster.
pub fn subscribe_leaf(
    out: &mut Vec<u8>,
    origin: &[u8],
    account: Option<&str>,
    filter: &[u8],
    queue: Option<&[u8]>,
    weight: u32,
) {
    interest(out, b"LS+", Some(origin), account, filter, queue);
    end(out, queue.map(|_| weight));
}

/// `LS- [origin] [account] filter [queue]`. `origin`: `None` for a server that does not read it, because its INFO has
/// no `lnocu`.
pub fn unsubscribe_leaf(
    out: &mut Vec<u8>,
    origin: Option<&[u8]>,
    account: Option<&str>,
    filter: &[u8],
    queue: Option<&[u8]>,
) {
    interest(out, b"LS-", origin, account, filter, queue);
    end(out, None);
}

fn interest(
    out: &mut Vec<u8>,
    verb: &[u8],
    origin: Option<&[u8]>,
    account: Option<&str>,
    filter: &[u8],
    queue: Option<&[u8]>,
) {
    out.extend_from_slice(verb);
    for word in [origin, account.map(str::as_bytes), Some(filter), queue].into_iter().flatten() {
        out.push(b' ');
        out.extend_from_slice(word);
    }
}

#[inline]
fn end(out: &mut Vec<u8>, weight: Option<u32>) {
    if let Some(weight) = weight {
        out.push(b' ');
        number(out, weight as usize);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::options::SubjectPermission;
    use crate::proto::route::{
        GossipMode, RouteLimits, RouteOp, RouteParsed, RouteParser, RouteSubscription,
    };

    fn line(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Decodes one line, which must be whole.
    fn parse<'a>(line: &'a str, account: Option<&'a [u8]>, limits: &RouteLimits) -> RouteOp<'a> {
        match RouteParser::default().parse(line.as_bytes(), account, limits) {
            Ok(RouteParsed::Op { op, used }) if used == line.len() => op,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    /// The lines were recorded from nats-server 2.14.5, with another id, nonce and ports.
    #[test]
    fn info_and_connect_have_the_bytes_of_the_reference() {
        for recorded in [
            concat!(
                r#"INFO {"server_id":"NCU2","server_name":"a\u003cb\u003e","version":"2.14.5","proto":3,"#,
                r#""go":"go1.26.8","host":"127.0.0.1","port":53811,"headers":true,"auth_required":true,"#,
                r#""max_payload":1048576,"nonce":"FheMDx2sqrtwf1Y","cluster":"c\u0026d","#,
                r#""connect_urls":["127.0.0.1:56733"],"compression":"accept","#,
                r#""import":{"allow":["foo.\u003e"]},"export":{"deny":["x"]},"lnoc":true,"lnocu":true,"#,
                r#""route_pool_size":3} "#,
                "\r\n"
            ),
            concat!(
                r#"INFO {"server_id":"NCU2","server_name":"s","version":"2.14.5","proto":3,"go":"go1.26.8","#,
                r#""host":"127.0.0.1","port":53811,"headers":true,"max_payload":1048576,"cluster":"c","#,
                r#""compression":"not supported","lnoc":true,"lnocu":true,"route_pool_size":3,"#,
                r#""route_account":"$SYS"} "#,
                "\r\n"
            ),
        ] {
            let RouteOp::Info(json) = parse(recorded, None, &RouteLimits::default()) else {
                panic!()
            };
            let decoded = RouteInfo::from_json(json).unwrap();
            assert_eq!(line(|out| info(out, &decoded)), recorded);
            assert_eq!(line(|out| gossip(out, &decoded)), recorded.replace(" \r\n", "\r\n"));
        }
        let recorded = concat!(
            r#"CONNECT {"echo":true,"verbose":false,"pedantic":false,"user":"us\u003cer","pass":"p\u003ew","#,
            r#""tls_required":false,"headers":true,"name":"NCU2","cluster":"c\u0026d","lnoc":true}"#,
            "\r\n"
        );
        let RouteOp::Connect(json) = parse(recorded, None, &RouteLimits::default()) else {
            panic!()
        };
        let decoded = RouteConnect::from_json(json).unwrap();
        assert_eq!((&*decoded.user, decoded.pass.expose()), ("us<er", "p>w"));
        assert_eq!(line(|out| connect(out, &decoded)), recorded);
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![2 => Just(String::new()), 2 => "[a-z<>&\"\\\\]{1,8}", 1 => any::<String>()]
    }

    fn a_connect() -> impl Strategy<Value = RouteConnect> {
        (any::<[bool; 8]>(), proptest::array::uniform5(text())).prop_map(|(flags, texts)| {
            let [echo, verbose, pedantic, tls_required, headers, cluster_dynamic, lnoc, lnocu] =
                flags;
            let [user, pass, name, cluster, gateway] = texts;
            let pass = pass.into();
            let (lang, account) = Default::default();
            RouteConnect {
                echo,
                verbose,
                pedantic,
                user,
                pass,
                tls_required,
                headers,
                name,
                cluster,
                cluster_dynamic,
                lnoc,
                lnocu,
                gateway,
                lang,
                account,
            }
        })
    }

    fn an_info() -> impl Strategy<Value = RouteInfo> {
        let lists = proptest::array::uniform5(proptest::collection::vec(text(), 0..3));
        let numbers = (any::<i64>(), any::<u16>(), any::<i32>(), any::<i64>(), any::<i64>());
        let texts = (proptest::array::uniform32(text()), lists);
        (any::<[bool; 9]>(), numbers, texts, any::<Option<bool>>()).prop_map(
            |(flags, numbers, (texts, lists), more)| {
                let [headers, auth_required, tls_required, tls_verify, jetstream, rest @ ..] =
                    flags;
                let [cluster_dynamic, ldm, lnoc, lnocu] = rest;
                let (proto, port, max_payload, route_pool_size, route_pool_idx) = numbers;
                let [connect_urls, ws_connect_urls, leafnode_urls, allow, deny] = lists;
                let mut texts = texts.into_iter();
                let mut text = || texts.next().unwrap_or_default();
                let permission = SubjectPermission { allow, deny };
                RouteInfo {
                    server_id: text(),
                    server_name: text(),
                    version: text(),
                    proto,
                    go: text(),
                    host: text(),
                    port,
                    headers,
                    auth_required,
                    tls_required,
                    tls_verify,
                    max_payload: max_payload.into(),
                    jetstream,
                    ip: text(),
                    nonce: text(),
                    cluster: text(),
                    cluster_dynamic,
                    domain: text(),
                    connect_urls,
                    ws_connect_urls,
                    ldm,
                    compression: text(),
                    import: more.map(|_| permission.clone()),
                    export: more.filter(|more| *more).map(|_| permission),
                    lnoc,
                    lnocu,
                    route_pool_size,
                    route_pool_idx,
                    route_account: text(),
                    route_acc_add_reqid: text(),
                    gossip_mode: match more {
                        None => GossipMode::Default,
                        Some(true) => GossipMode::Override,
                        Some(false) => GossipMode::Disabled,
                    },
                    gateway: text(),
                    gateway_url: text(),
                    leafnode_urls,
                    xkey: text(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn info_and_connect_parse_again(sent in an_info(), connected in a_connect()) {
            let limits = RouteLimits::default();
            let text = line(|out| info(out, &sent));
            let RouteOp::Info(json) = parse(&text, None, &limits) else { panic!() };
            prop_assert_eq!(RouteInfo::from_json(json), Ok(sent));
            let text = line(|out| connect(out, &connected));
            let RouteOp::Connect(json) = parse(&text, None, &limits) else { panic!() };
            prop_assert_eq!(RouteConnect::from_json(json), Ok(connected));
        }

        #[test]
        fn interest_parses_again(
            origin in proptest::option::of("[a-z]{1,6}"),
            account in "[A-Z$]{1,6}",
            is_pinned in any::<bool>(),
            names_origin in any::<bool>(),
            filter in "[a-z.*>]{1,12}",
            queue in proptest::option::of("[a-z]{1,6}"),
            weight in 1u32..=999_999_999,
        ) {
            let limits = RouteLimits { names_origin, ..RouteLimits::default() };
            let of_route = is_pinned.then_some(account.as_bytes());
            let named = (!is_pinned).then_some(&*account);
            let (filter, queue) = (filter.as_bytes(), queue.as_deref().map(str::as_bytes));
            let origin = origin.as_deref().map(str::as_bytes);
            let came = line(|out| match origin {
                Some(origin) => subscribe_leaf(out, origin, named, filter, queue, weight),
                None => subscribe(out, named, filter, queue, weight),
            });
            let weight = if queue.is_some() { weight } else { 1 };
            let account = account.as_bytes();
            let expected = RouteSubscription { origin, account, filter, queue, weight };
            prop_assert_eq!(parse(&came, of_route, &limits), RouteOp::Subscribe(expected));
            let shown = origin.filter(|_| names_origin);
            let went = line(|out| match origin {
                Some(_) => unsubscribe_leaf(out, shown, named, filter, queue),
                None => unsubscribe(out, named, filter, queue),
            });
            let expected = RouteSubscription { origin: shown, weight: 0, ..expected };
            prop_assert_eq!(parse(&went, of_route, &limits), RouteOp::Unsubscribe(expected));
        }
    }
}
