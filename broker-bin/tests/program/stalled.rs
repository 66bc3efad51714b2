//! Signals while all threads that serve clients are blocked.

use crate::running::Running;

/// See `broker_bin::testing::stall`.
const STALLED: [(&str, &str); 1] = [("TEST_STALL_WORKERS", "all")];

#[test]
fn a_blocked_program_ends_by_itself_or_sooner_by_a_second_signal() {
    let start = || {
        let mut natsd = Running::start_in(&STALLED, &[]);
        natsd.line("All workers are stalled");
        natsd
    };
    let (patient, mut hasty) = (start(), start());
    patient.signal("TERM");
    hasty.signal("INT");
    hasty.line("Trapped \"interrupt\" signal");
    hasty.signal("TERM");
    let (status, lines) = hasty.ended();
    assert_eq!(status.code(), Some(1), "{lines:#?}");
    let (status, lines) = patient.ended();
    assert_eq!(status.code(), Some(1), "{lines:#?}");
    let is_told =
        |line: &String| line.contains("[ERR] The program has not ended in time: ended by force");
    assert!(lines.iter().any(is_told), "{lines:#?}");
}
