use super::*;
use jiff::Zoned;

const PLAIN: Style = Style { time: true, utc: true, colors: false };

fn moment() -> Zoned {
    "2026-11-20T23:19:05.000626[UTC]".parse().unwrap()
}

/// What `log` makes of the events in `events`, without the process id.
fn lines(debug: bool, trace: bool, events: impl FnOnce()) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let sink = Arc::new(Sink::file(path.clone()).unwrap());
    let style = Style { time: false, ..PLAIN };
    let log = Registry::default().with(Log::new(sink, style, debug, trace));
    tracing::subscriber::with_default(log, events);
    let prefix = format!("[{}] ", std::process::id());
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.strip_prefix(&prefix).unwrap().to_owned()).collect()
}

#[test]
fn a_line_is_the_references_to_the_letter() {
    let pid = std::process::id();
    let line = PLAIN.line_at(Some(&moment()), Label::Info, "Server is ready");
    assert_eq!(line, format!("[{pid}] 2026/11/20 23:19:05.000626 [INF] Server is ready\n"));
    let line = PLAIN.line_at(None, Label::Fatal, "no");
    assert_eq!(line, format!("[{pid}] [FTL] no\n"));
}

#[test]
fn on_a_terminal_the_label_has_its_colour() {
    let pid = std::process::id();
    let style = Style { colors: true, ..PLAIN };
    let line = style.line_at(None, Label::Debug, "x");
    assert_eq!(line, format!("[{pid}] [\u{1b}[36mDBG\u{1b}[0m] x\n"));
}

#[test]
fn a_client_cannot_forge_a_line() {
    let line = PLAIN.line_at(None, Label::Trace, "a\r\n[1] [INF] forged \u{1b}[2J\tü");
    assert!(line.ends_with("a\\r\\n[1] [INF] forged \\u{1b}[2J\tü\n"), "{line:?}");
}

#[test]
fn every_level_has_its_label() {
    let seen = lines(true, true, || {
        fatal(&"f");
        tracing::error!("e");
        tracing::warn!("w");
        tracing::info!("i");
        tracing::debug!("d");
        tracing::trace!("t");
    });
    assert_eq!(seen, ["[FTL] f", "[ERR] e", "[WRN] w", "[INF] i", "[DBG] d", "[TRC] t"]);
}

#[test]
fn debug_and_trace_are_switched_apart() {
    let all = || {
        tracing::info!("i");
        tracing::debug!("d");
        tracing::trace!("t");
    };
    assert_eq!(lines(false, false, all), ["[INF] i"]);
    assert_eq!(lines(true, false, all), ["[INF] i", "[DBG] d"]);
    assert_eq!(lines(false, true, all), ["[INF] i", "[TRC] t"]);
}

#[test]
fn of_other_crates_only_what_is_wrong_is_logged() {
    let seen = lines(true, true, || {
        tracing::trace!(target: "hyper", "t");
        tracing::info!(target: "hyper", "i");
        tracing::warn!(target: "hyper", "w");
    });
    assert_eq!(seen, ["[WRN] w"]);
}

#[test]
fn the_client_stands_before_the_message_and_other_fields_behind() {
    let seen = lines(true, false, || {
        tracing::debug!(client = %"127.0.0.1:1234 - cid:5", "Client connection created");
        tracing::info!(client = "c", subject = "a.b", bytes = 5, "slow");
    });
    assert_eq!(
        seen,
        [
            "[DBG] 127.0.0.1:1234 - cid:5 - Client connection created",
            "[INF] c - slow subject=a.b bytes=5"
        ]
    );
}

#[test]
fn a_file_moved_away_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
    let sink = Sink::file(path.clone()).unwrap();
    sink.write("one\n");
    std::fs::rename(&path, &moved).unwrap();
    sink.write("two\n");
    assert!(sink.reopen().unwrap());
    sink.write("three\n");
    assert_eq!(std::fs::read_to_string(moved).unwrap(), "one\ntwo\n");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "three\n");
    assert!(!Sink::stderr().reopen().unwrap());
}
