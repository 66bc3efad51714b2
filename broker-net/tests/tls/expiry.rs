//! Log lines about expiring certificates.

use std::time::{Duration, SystemTime};

use broker_net::{Server, TlsOptions};
use tokio::time::Instant;

use crate::authority::Authority;
use crate::log::Warnings;

const DAY: Duration = Duration::from_hours(24);

/// Creates a certificate that was valid for a year and expires in `days` days and an hour.
fn ends_in(authority: &Authority, days: u32) -> TlsOptions {
    let server = authority.server_changed(&["localhost"], |params| {
        let now = SystemTime::now();
        params.not_after = (now + days * DAY + Duration::from_secs(3600)).into();
        params.not_before = (now - 330 * DAY).into();
    });
    TlsOptions::new(server.chain(), server.pem_key())
}

#[tokio::test(start_paused = true)]
async fn an_expiring_certificate_is_logged_at_the_start_daily_and_when_reloaded() {
    let authority = Authority::new("ca");
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let server = Server::builder().tls(ends_in(&authority, 10)).bind().await.unwrap();
    let said = warnings.take();
    let [warning] = &said[..] else { panic!("{said:?}") };
    let begin = "The TLS certificate in (in memory) expires in 10 days, at ";
    assert!(warning.starts_with(begin) && warning.ends_with("Z: replace it"), "{warning}");

    // Twice, to show that the warning repeats.
    for _ in 0..2 {
        let before = Instant::now();
        tokio::time::sleep(DAY + Duration::from_secs(60)).await;
        let said = warnings.take();
        assert!(said.len() == 1 && said[0] == *warning, "{said:?} after {:?}", before.elapsed());
    }

    server.set_tls(Some(ends_in(&authority, 5))).unwrap();
    let said = warnings.take();
    assert!(said.len() == 1 && said[0].contains(" expires in 5 days, at "), "{said:?}");
    server.set_tls(Some(ends_in(&authority, 300))).unwrap();
    tokio::time::sleep(3 * DAY).await;
    assert_eq!(warnings.take(), [""; 0], "no line about a long-lived certificate");
}
