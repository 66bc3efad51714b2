//! stub
use super::{RouteConnect, RouteInfo};
use crate::proto::encode::number;
/// INFO.
pub fn info(out: &mut Vec<u8>, info: &RouteInfo) {
    out.extend_from_slice(b"INFO ");
    let _ = serde_json::to_writer(&mut *out, info);
    out.extend_from_slice(b"\r\n");
}
/// CONNECT.
pub fn connect(out: &mut Vec<u8>, connect: &RouteConnect) {
    let json = serde_json::json!({"echo": true, "user": connect.user, "pass": connect.pass.expose(), "headers": connect.headers,
        "name": connect.name, "cluster": connect.cluster, "cluster_dynamic": connect.cluster_dynamic, "lnoc": true, "tls_required": connect.tls_required});
    out.extend_from_slice(b"CONNECT ");
    out.extend_from_slice(json.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}
/// RS+.
pub fn subscribe(
    out: &mut Vec<u8>,
    account: Option<&str>,
    filter: &[u8],
    queue: Option<&[u8]>,
    weight: u32,
) {
    out.extend_from_slice(b"RS+ ");
    words(out, account, filter, queue);
    if queue.is_some() {
        out.push(b' ');
        number(out, weight as usize);
    }
    out.extend_from_slice(b"\r\n");
}
/// RS-.
pub fn unsubscribe(out: &mut Vec<u8>, account: Option<&str>, filter: &[u8], queue: Option<&[u8]>) {
    out.extend_from_slice(b"RS- ");
    words(out, account, filter, queue);
    out.extend_from_slice(b"\r\n");
}
fn words(out: &mut Vec<u8>, account: Option<&str>, filter: &[u8], queue: Option<&[u8]>) {
    if let Some(account) = account {
        out.extend_from_slice(account.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(filter);
    if let Some(queue) = queue {
        out.push(b' ');
        out.extend_from_slice(queue);
    }
}
