//! What the log says of certificates that expire.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use broker_net::{Server, TlsOptions};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::authority::Authority;

const DAY: Duration = Duration::from_hours(24);

/// The warnings of this thread.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text<'a>(&'a Warnings);
        impl Visit for Text<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0.0.lock().unwrap().push(format!("{value:?}"));
                }
            }
        }
        event.record(&mut Text(self));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Shows a certificate of a year that ends in so many days and an hour.
fn ends_in(authority: &Authority, days: u32) -> TlsOptions {
    let server = authority.server_changed(&["localhost"], |params| {
        let now = SystemTime::now();
        params.not_after = (now + days * DAY + Duration::from_secs(3600)).into();
        params.not_before = (now - 330 * DAY).into();
    });
    TlsOptions::new(server.chain(), server.pem_key())
}

#[tokio::test(start_paused = true)]
async fn it_is_said_at_the_start_once_a_day_and_when_they_are_read_again() {
    let authority = Authority::new("ca");
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let server = Server::builder().tls(ends_in(&authority, 10)).bind().await.unwrap();
    let said = warnings.take();
    let [warning] = &said[..] else { panic!("{said:?}") };
    let begin = "The TLS certificate in (in memory) expires in 10 days, at ";
    assert!(warning.starts_with(begin) && warning.ends_with("Z: replace it"), "{warning}");

    // Twice, so that nobody stops after the first time.
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
    assert_eq!(warnings.take(), [""; 0], "nothing to say of one that holds for long");
}
