use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::LazyLock;

use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use super::*;
use crate::options::LogFormat;

/// Two subscribers that enable nothing. With at most one subscriber, tracing computes interest from
/// the current thread's only, and tests running in parallel would disable each other's events.
static OTHERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| std::array::from_fn(|_| Dispatch::new(NoSubscriber::new())));

/// A log in a file, without process id and time.
struct Logged {
    dir: tempfile::TempDir,
    options: LogOptions,
    log: Logging,
}

impl Logged {
    fn new(set: impl FnOnce(&mut LogOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = Some(dir.path().join("log"));
        let mut options = LogOptions { file, time: false, ..LogOptions::default() };
        set(&mut options);
        LazyLock::force(&OTHERS);
        let log = Logging::open(&options, "natsd").unwrap();
        Self { dir, options, log }
    }

    fn reconfigure(&mut self, set: impl FnOnce(&mut LogOptions)) {
        set(&mut self.options);
        self.log.reconfigure(&self.options).unwrap();
    }

    /// Logs the events of `events` here.
    fn during(&self, events: impl FnOnce()) {
        tracing::subscriber::with_default(Registry::default().with(self.log.layer()), events);
    }

    fn lines(&self) -> Vec<String> {
        self.lines_in("log")
    }

    fn lines_in(&self, name: &str) -> Vec<String> {
        let prefix = format!("[{}] ", std::process::id());
        let text = std::fs::read_to_string(self.dir.path().join(name)).unwrap();
        text.lines().map(|line| line.strip_prefix(&prefix).unwrap_or(line).to_owned()).collect()
    }
}

/// Returns the lines logged by `events`.
fn lines(set: impl FnOnce(&mut LogOptions), events: impl FnOnce()) -> Vec<String> {
    let logged = Logged::new(set);
    logged.during(events);
    logged.lines()
}

fn one_of_each() {
    tracing::info!("i");
    tracing::debug!("d");
    tracing::trace!("t");
}

#[test]
fn every_level_has_its_label() {
    let all = |o: &mut LogOptions| (o.debug, o.trace) = (true, true);
    let seen = lines(all, || {
        fatal(&"f");
        tracing::error!("e");
        tracing::warn!("w");
        one_of_each();
    });
    assert_eq!(seen, ["[FTL] f", "[ERR] e", "[WRN] w", "[INF] i", "[DBG] d", "[TRC] t"]);
}

#[test]
fn debug_and_trace_are_independent() {
    assert_eq!(lines(|_| (), one_of_each), ["[INF] i"]);
    assert_eq!(lines(|o| o.debug = true, one_of_each), ["[INF] i", "[DBG] d"]);
    assert_eq!(lines(|o| o.trace = true, one_of_each), ["[INF] i", "[TRC] t"]);
    // As in nats-server: the option selects what is traced but does not enable tracing.
    assert_eq!(lines(|o| o.trace_verbose = true, one_of_each), ["[INF] i"]);
}

#[test]
fn levels_change_while_the_program_runs() {
    let logged = Logged::new(|_| ());
    let traced = || tracing::enabled!(tracing::Level::TRACE);
    logged.during(|| {
        one_of_each();
        assert!(!traced());
        let on = LogOptions { trace: true, ..logged.options.clone() };
        logged.log.reconfigure(&on).unwrap();
        assert!(traced());
        one_of_each();
        logged.log.reconfigure(&logged.options).unwrap();
        assert!(!traced());
        one_of_each();
    });
    assert_eq!(logged.lines(), ["[INF] i", "[INF] i", "[TRC] t", "[INF] i"]);
}

#[test]
fn only_warnings_and_errors_of_other_crates_are_logged() {
    let all = |o: &mut LogOptions| (o.debug, o.trace) = (true, true);
    let seen = lines(all, || {
        tracing::trace!(target: "hyper", "t");
        tracing::info!(target: "hyper", "i");
        tracing::warn!(target: "hyper", "w");
    });
    assert_eq!(seen, ["[WRN] w"]);
}

#[test]
fn the_client_precedes_the_message_and_other_fields_follow_it() {
    let events = || {
        tracing::debug!(client = %"127.0.0.1:1234 - cid:5", "Client connection created");
        tracing::info!(client = "c", subject = "a.b", bytes = 5, ok = true, "slow");
    };
    assert_eq!(
        lines(|o| o.debug = true, events),
        [
            "[DBG] 127.0.0.1:1234 - cid:5 - Client connection created",
            "[INF] c - slow subject=a.b bytes=5 ok=true"
        ]
    );
    let as_json = lines(|o| o.format = LogFormat::Json, events);
    let pid = std::process::id();
    let start = format!(r#"{{"level":"info","pid":{pid},"client":"c","message":"slow","#);
    assert_eq!(as_json, [start + r#""subject":"a.b","bytes":5,"ok":true}"#]);
}

#[test]
fn destination_limits_and_format_change_while_the_program_runs() {
    let mut logged = Logged::new(|_| ());
    let (first, other) = (logged.dir.path().join("log"), logged.dir.path().join("other"));
    logged.during(|| tracing::info!("one"));
    logged.reconfigure(|o| o.format = LogFormat::Json);
    logged.during(|| tracing::info!("two"));
    logged.reconfigure(|o| {
        o.format = LogFormat::Text;
        o.file = Some(other.clone());
        o.time = true;
    });
    logged.during(|| tracing::info!("three"));
    logged.reconfigure(|o| {
        o.file = Some(first.clone());
        o.time = false;
        o.size_limit_bytes = 1;
        o.max_files = 1;
    });

    let [three] = &logged.lines_in("other")[..] else { panic!("not one line") };
    assert!(three.starts_with('2') && three.ends_with(" [INF] three"), "{three}");
    // The oversized file was rotated when the limit was set, and then purged.
    let [rotated, purged] = &logged.lines()[..] else { panic!("{:?}", logged.lines()) };
    assert!(rotated.starts_with("[INF] Rotated log, backup saved as \""), "{rotated}");
    assert!(purged.starts_with("[INF] Purged log file \"log.20"), "{purged}");
}

#[test]
fn a_destination_that_cannot_be_opened_changes_nothing() {
    let mut logged = Logged::new(|_| ());
    for (set, text) in [
        (
            (|o| o.file = Some("/nonexistent/log".into())) as fn(&mut LogOptions),
            "error opening log file /nonexistent/log: ",
        ),
        (|o| o.remote_syslog = Some("http://x".into()), "error invalid network type: \"http\""),
        (
            |o| o.remote_syslog = Some("unix:///nonexistent/log".into()),
            "error connecting to syslog: \"No such file",
        ),
    ] {
        let mut options = LogOptions { file: None, debug: true, ..logged.options.clone() };
        set(&mut options);
        let error = logged.log.reconfigure(&options).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
    logged.during(one_of_each);
    assert_eq!(logged.lines(), ["[INF] i"]);
    // The file was not closed and reopened either.
    std::fs::rename(logged.dir.path().join("log"), logged.dir.path().join("moved")).unwrap();
    logged.reconfigure(|o| o.debug = true);
    logged.during(|| tracing::info!("still"));
    assert_eq!(logged.lines_in("moved"), ["[INF] i", "[INF] still"]);
    assert!(logged.log.reopen().unwrap());
    assert_eq!(logged.lines(), [""; 0]);
}

#[test]
fn the_first_configured_destination_is_used() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("udp://{}", server.local_addr().unwrap());
    let place = |file: bool, remote: bool, local: bool| {
        Place::of(&LogOptions {
            file: file.then(|| "log".into()),
            remote_syslog: remote.then(|| url.clone()),
            syslog: local,
            ..LogOptions::default()
        })
        .unwrap()
    };
    assert_eq!(place(true, true, true), Place::File("log".into()));
    assert!(matches!(place(false, true, true), Place::Syslog(syslog::Address::Udp(_))));
    assert_eq!(place(false, false, true), Place::Syslog(syslog::Address::Local));
    assert_eq!(place(false, false, false), Place::Stderr);
}

#[test]
fn a_syslog_gets_the_text_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    let url = format!("unix://{}", path.display());
    let options = LogOptions { remote_syslog: Some(url), ..LogOptions::default() };
    LazyLock::force(&OTHERS);
    let log = Logging::open(&options, "nats-server").unwrap();
    tracing::subscriber::with_default(Registry::default().with(log.layer()), || {
        tracing::error!(client = "127.0.0.1:5 - cid:7", code = 3, "bad\nnews");
    });
    log.flush();
    let mut buffer = [0; 512];
    server.set_nonblocking(true).unwrap();
    let len = server.recv(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..len]).unwrap();
    let end =
        format!(" nats-server[{}]: 127.0.0.1:5 - cid:7 - bad\\nnews code=3\n", std::process::id());
    assert!(text.starts_with("<3>") && text.ends_with(&end), "{text}");
    assert!(!log.reopen().unwrap());
}

#[test]
fn a_storm_is_logged_in_part_and_summarized_at_the_end() {
    let logged = Logged::new(|o| (o.debug, o.trace) = (true, true));
    logged.during(|| {
        for n in 0..1000 {
            tracing::error!(client = %format_args!("10.0.0.7:{n} - cid:{n}"), "authentication error");
            tracing::info!("by the program itself");
            tracing::debug!(client = "10.0.0.7:1", "by request");
            tracing::trace!(client = "10.0.0.7:1", "by request");
            fatal(&"at the end");
        }
        logged.log.flush();
    });
    let lines = logged.lines();
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(count("[ERR] 10.0.0.7:"), 10);
    assert_eq!(count("[INF]"), 1000);
    assert_eq!(count("[DBG]"), 1000);
    assert_eq!(count("[TRC]"), 1000);
    assert_eq!(count("[FTL]"), 1000);
    let sum =
        "[ERR] 10.0.0.7 - 990 more lines like this in 60s were not logged: authentication error";
    assert_eq!(lines.last().unwrap(), sum);
}

#[test]
fn a_storm_is_summarized_without_a_further_line() {
    let logged = Logged::new(|_| ());
    *logged.log.0.repeats() = Repeats::new(Duration::from_millis(5));
    logged.during(|| (0..1000).for_each(|_| tracing::warn!("x")));
    // Counts over any number of windows.
    let all_told = || {
        let lines = logged.lines();
        let held = lines.iter().filter_map(|line| {
            let (count, _) =
                line.strip_prefix("[WRN] ")?.split_once(" more lines like this in 5ms")?;
            count.parse::<usize>().ok()
        });
        held.sum::<usize>() + lines.iter().filter(|line| *line == "[WRN] x").count()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while all_told() < 1000 {
        assert!(Instant::now() < deadline, "{:#?}", logged.lines());
        std::thread::yield_now();
    }
    assert_eq!(all_told(), 1000);
    assert!(logged.lines().len() < 1000);
}
