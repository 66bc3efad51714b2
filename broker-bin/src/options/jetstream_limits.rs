//! Reloads of the limits of streams.

use broker_streams::go::friendly_bytes;

use crate::config::table::Reload;

/// Returns whether the directory or a limit of streams can change from one value to another, and the line that says so. Streams may get
/// more room. They cannot lose it, because their limits may have reserved it.
// NATS 2.14: reload.go diffOptions, jetStreamLimitsOption.
pub(super) fn reload(path: &str, (old, new): (&str, &str)) -> Option<(Reload, String)> {
    let refused = |what: &str| {
        let text = format!("config reload not supported for {what}");
        Some((Reload::Restart, text))
    };
    let name = match path {
        "jetstream.max_memory_store" => "max_mem_store",
        "jetstream.max_file_store" => "max_file_store",
        "jetstream.store_dir" => return refused("jetstream storage directory"),
        _ => return None,
    };
    match (old.parse::<u64>(), new.parse::<u64>()) {
        (Ok(old), Ok(new)) if new > old => {
            let text = format!("Reloaded: JetStream {name} = {}", friendly_bytes(new));
            Some((Reload::AtOnce, text))
        }
        (Ok(_), Ok(_)) => refused("decreasing jetstream max memory and store"),
        (Ok(_), Err(_)) => refused("jetstream max memory and max store"),
        (Err(_), _) => refused("jetstream dynamic max memory and store"),
    }
}

#[cfg(test)]
mod tests {
    use crate::options::{JetStream, Options, diff};

    #[test]
    fn a_reload_gives_streams_more_room_and_takes_none() {
        let options =
            |jetstream: JetStream| Options { jetstream: Some(jetstream), ..Options::default() };
        let limits = |max_memory_store, max_file_store| {
            options(JetStream { max_memory_store, max_file_store, ..JetStream::default() })
        };
        let lines = |old: &Options, new: &Options| -> Vec<String> {
            diff(old, new).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            lines(&limits(1 << 20, 1 << 20), &limits(2 << 20, 1 << 30)),
            [
                "Reloaded: JetStream max_mem_store = 2.00 MB",
                "Reloaded: JetStream max_file_store = 1.00 GB"
            ]
        );
        for (old, new, what) in [
            (2, 1, "decreasing jetstream max memory and store"),
            (1, -1, "jetstream max memory and max store"),
            (-1, 1, "jetstream dynamic max memory and store"),
        ] {
            let text = format!("config reload not supported for {what}");
            assert_eq!(lines(&limits(old, 1), &limits(new, 1)), [&*text]);
            assert_eq!(lines(&limits(1, old), &limits(1, new)), [text]);
        }
        let elsewhere = JetStream { store_dir: Some("/x".into()), ..JetStream::default() };
        let of_domain = JetStream { domain: Some("hub".into()), ..JetStream::default() };
        let default = options(JetStream::default());
        let refused = "config reload not supported for";
        assert_eq!(
            lines(&default, &options(elsewhere)),
            [format!("{refused} jetstream storage directory")]
        );
        assert_eq!(
            lines(&default, &options(of_domain)),
            [format!("{refused} JetStreamDomain: old=, new=hub")]
        );
    }
}
