//! Time zones: of log lines, and of times of day in JWTs.
//!
//! Read from one file, as Go does. (Searching a zone database for the name would take longer than
//! the rest of the start.)

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The machine's zone.
const LOCAL_TIME: &str = "/etc/localtime";

/// Directories of the zones that `TZ` can name.
///
/// Go: time/zoneinfo_unix.go, platformZoneSources.
const SOURCES: [&str; 4] =
    ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"];

/// The time in the zone of `TZ` or of the machine.
pub(crate) fn now() -> Zoned {
    Timestamp::now().to_zoned(local().clone())
}

/// The zone of `TZ` or of the machine.
fn local() -> &'static TimeZone {
    static LOCAL: OnceLock<TimeZone> = OnceLock::new();
    LOCAL.get_or_init(|| find(std::env::var("TZ").ok().as_deref()))
}

/// Returns the offset from UTC in a zone of the machine's database; `None` if it is not there. The machine's own zone
/// has no name.
// Go: time/zoneinfo.go LoadLocation.
#[cfg(feature = "jwt")]
pub(crate) fn offset(name: &str, at: std::time::SystemTime) -> Option<i32> {
    let zone = match name {
        "" | "Local" => local().clone(),
        "UTC" => TimeZone::UTC,
        name if name.contains("..") || name.starts_with(['/', '\\']) || name.contains('\\') => {
            return None;
        }
        name => SOURCES.iter().find_map(|source| read(&Path::new(source).join(name)))?,
    };
    Some(zone.to_offset(Timestamp::try_from(at).ok()?).seconds())
}

/// Shows seconds since 1970 as Go does.
#[cfg(feature = "jwt")]
pub(crate) fn show(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or_default().to_zoned(local().clone());
    time.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// Returns UTC if no zone is found. Beyond Go's rules, `tz` may be a POSIX rule.
// Go: time/zoneinfo_unix.go, initLocal.
fn find(tz: Option<&str>) -> TimeZone {
    let Some(tz) = tz else { return read(Path::new(LOCAL_TIME)).unwrap_or(TimeZone::UTC) };
    let name = tz.strip_prefix(':').unwrap_or(tz);
    if name.is_empty() || name == "UTC" {
        return TimeZone::UTC;
    }
    if name.starts_with('/') {
        return read(Path::new(name)).unwrap_or(TimeZone::UTC);
    }
    let is_safe = !name.contains("..") && !name.contains('\\');
    let zone = || SOURCES.iter().find_map(|source| read(&Path::new(source).join(name)));
    let zone = is_safe.then(zone).flatten();
    zone.or_else(|| TimeZone::posix(tz).ok()).unwrap_or(TimeZone::UTC)
}

fn read(path: &Path) -> Option<TimeZone> {
    TimeZone::tzif("Local", &fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset_hours(zone: &TimeZone, time: &str) -> i32 {
        zone.to_offset(time.parse().unwrap()).seconds() / 3600
    }

    /// A minimal zone file, five hours ahead of UTC.
    fn zone_file() -> Vec<u8> {
        let mut file = Vec::new();
        for _ in 0..2 {
            file.extend_from_slice(b"TZif2");
            file.extend_from_slice(&[0; 15]);
            for count in [0_u32, 0, 0, 0, 1, 4] {
                file.extend_from_slice(&count.to_be_bytes());
            }
            file.extend_from_slice(&(5 * 3600_i32).to_be_bytes());
            file.extend_from_slice(b"\0\0+05\0");
        }
        file.extend_from_slice(b"\n<+05>-5\n");
        file
    }

    #[test]
    fn a_zone_is_a_file_a_rule_or_utc() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zone");
        fs::write(&path, zone_file()).unwrap();
        let path = path.to_str().unwrap();
        let (winter, summer) = ("2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z");
        for (tz, in_winter, in_summer) in [
            (path, 5, 5),
            (&*format!(":{path}"), 5, 5),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1, 2),
            ("", 0, 0),
            ("UTC", 0, 0),
            ("/nonexistent", 0, 0),
            ("../../nonexistent", 0, 0),
            ("Nowhere/At_All", 0, 0),
        ] {
            let zone = find(Some(tz));
            assert_eq!(offset_hours(&zone, winter), in_winter, "{tz}");
            assert_eq!(offset_hours(&zone, summer), in_summer, "{tz}");
        }
    }
}
