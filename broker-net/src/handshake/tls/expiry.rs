//! Warnings about certificates of the server that expire soon or have expired: logged whenever they are read, and
//! once a day.

use std::time::{Duration, SystemTime};

use x509_cert::der::DateTime;

/// The time before the end from which a warning is logged, of certificates with a validity of three months or more.
const EARLY: Duration = Duration::from_hours(30 * 24);

/// Certificates with a shorter validity are renewed more often: the warning begins in this last part of it.
const EARLY_PART: u32 = 3;

const DAY: Duration = Duration::from_hours(24);

/// The validity of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// The certificate's file.
    pub(super) name: String,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Term {
    /// Returns the warning that is due, if any.
    fn warning(&self, now: SystemTime) -> Option<String> {
        let name = &self.name;
        let end = DateTime::from_system_time(self.not_after).ok()?;
        let Ok(left) = self.not_after.duration_since(now) else {
            return Some(format!(
                "The TLS certificate in {name} has expired at {end}: clients refuse it until it is replaced"
            ));
        };
        let all = self.not_after.duration_since(self.not_before).unwrap_or_default();
        if left > EARLY.min(all / EARLY_PART) {
            return None;
        }
        let left = match left.as_secs() / DAY.as_secs() {
            0 => "less than a day".to_owned(),
            1 => "a day".to_owned(),
            days => format!("{days} days"),
        };
        Some(format!("The TLS certificate in {name} expires in {left}, at {end}: replace it"))
    }
}

/// Logs the warnings that are due.
pub(super) fn warn(terms: &[Term]) {
    let now = SystemTime::now();
    for warning in terms.iter().filter_map(|term| term.warning(now)) {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(days: u32, left: Duration) -> Option<String> {
        let not_before = SystemTime::UNIX_EPOCH;
        let not_after = not_before + days * DAY;
        Term { name: "a.pem".into(), not_before, not_after }.warning(not_after - left)
    }

    #[test]
    fn a_warning_is_due_a_month_or_a_third_of_the_term_before() {
        for (days, early, text) in [
            (365, 30 * DAY, "30 days"),
            (90, 30 * DAY, "30 days"),
            (6, 2 * DAY, "2 days"),
            (3, DAY, "a day"),
            (1, DAY / 3, "less than a day"),
        ] {
            assert_eq!(warning(days, early + Duration::from_secs(1)), None);
            let said = warning(days, early).unwrap();
            assert!(said.contains(&format!(" in a.pem expires in {text}, at 197")), "{said}");
        }
    }

    #[test]
    fn the_warning_about_an_expired_certificate_names_the_time() {
        let term = Term {
            name: "a.pem".into(),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH + DAY,
        };
        assert_eq!(
            term.warning(SystemTime::UNIX_EPOCH + 2 * DAY).unwrap(),
            "The TLS certificate in a.pem has expired at 1970-01-02T00:00:00Z: clients refuse it until it is replaced"
        );
    }
}
