//! Numbers of bytes for people.

/// Returns the text of a number of bytes: `1.50 GB`.
///
/// ```
/// assert_eq!(broker_streams::go::friendly_bytes(1536), "1.50 KB");
/// ```
// NATS 2.14: jetstream.go friendlyBytes.
pub fn friendly_bytes(bytes: u64) -> String {
    const UNITS: &[&str] = &["K", "M", "G", "T", "P", "E"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut exact = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if exact < 1024.0 {
            break;
        }
        exact /= 1024.0;
        unit = next;
    }
    format!("{exact:.2} {unit}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_the_reference_writes_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KB"),
            (1 << 30, "1.00 GB"),
            (1536 << 20, "1.50 GB"),
        ] {
            assert_eq!(friendly_bytes(bytes), text);
        }
    }
}
