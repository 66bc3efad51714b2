use super::*;
use crate::options;
use crate::options::Options;

fn read(line: &str) -> Result<Invocation, UsageError> {
    parse(line.split_whitespace().map(OsString::from), BTreeMap::new())
}

fn request(line: &str) -> Request {
    match read(line) {
        Ok(Invocation::Serve(request)) => request,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn options(line: &str) -> Options {
    options::load(&request(line)).expect(line).options
}

fn refusal(line: &str) -> String {
    read(line).expect_err(line).to_string()
}

#[test]
fn every_spelling_of_a_flag_means_the_same() {
    type Set = fn(&mut Options);
    let table: &[(&[&str], Set)] = &[
        (&[""], |_| {}),
        (&["-a h", "-a=h", "--a h", "--addr h", "-addr=h", "--net=h"], |o| o.host = "h".into()),
        (&["-p 9", "-p=9", "--p 9", "--port 9", "-port=9", "--port=9", "-p +9"], |o| o.port = 9),
        (&["-p -1", "-p=-1", "--port -1", "--port=-1"], |o| o.port = 0),
        (&["-p 0", "-a=", "-n=", "-l=", "-P=", "-c=", "-sl="], |_| {}),
        (&["-sd=x", "-sd x", "--store_dir x"], |o| o.store_dir = Some("x".into())),
        (&["-n s", "--name s", "-name=s", "-server_name s", "--server_name=s"], |o| {
            o.server_name = Some("s".into());
        }),
        (&["--client_advertise h:1"], |o| o.client_advertise = Some("h:1".into())),
        (&["-D", "--D", "-debug", "--debug", "-D=true", "--debug=1", "-D=T"], |o| o.debug = true),
        (&["-V", "--trace", "-trace=t"], |o| o.trace = true),
        (&["-VV", "--VV", "-VV=1"], |o| (o.trace, o.trace_verbose) = (true, true)),
        (&["-DV", "--DV", "-D -V", "-DV=TRUE"], |o| (o.debug, o.trace) = (true, true)),
        (&["-DVV", "-D -VV", "-DV -VV"], |o| {
            (o.debug, o.trace, o.trace_verbose) = (true, true, true);
        }),
        (&["-DV -DV=false", "-D -D=0", "-V --trace=F", "-T", "--logtime"], |_| {}),
        (&["-T=false", "--logtime=false", "-T=0"], |o| o.logtime = false),
        (&["--logtime_utc", "-logtime_utc=true"], |o| o.logtime_utc = true),
        (&["-l f", "--log f", "-log=f"], |o| o.log_file = Some("f".into())),
        (&["--log_size_limit 9", "-log_size_limit=9"], |o| o.log_size_limit = 9),
        (&["-s", "--syslog"], |o| o.syslog = true),
        (&["-r udp://h:1", "--remote_syslog=udp://h:1"], |o| {
            o.remote_syslog = Some("udp://h:1".into());
        }),
        (&["-P f", "--pid f", "-pid=f"], |o| o.pid_file = Some("f".into())),
        (&["--ports_file_dir d", "-ports_file_dir=d"], |o| o.ports_file_dir = Some("d".into())),
        (&["--max_traced_msg_len 64", "-max_traced_msg_len=64"], |o| o.max_traced_msg_len = 64),
        (&["--user u --pass p", "-user=u -pass=p"], |o| {
            o.authorization.user = Some("u".into());
            o.authorization.password = Some("p".into());
        }),
        (&["--auth t", "-auth=t"], |o| o.authorization.token = Some("t".into())),
        (&["-p 1 -p 2", "-p 2 --"], |o| o.port = 2),
        // Values that disable an unimplemented part.
        (&["-m 0", "-ms 0", "--profile 0", "--cluster=", "--no_advertise=false"], |_| {}),
    ];
    for (lines, set) in table {
        let mut expected = Options::default();
        set(&mut expected);
        for line in *lines {
            let read = options(line);
            assert_eq!(Options { jetstream: None, ..read }, expected, "{line:?}");
        }
    }
}

#[test]
fn commands_other_than_running_a_server_are_recognized() {
    assert_eq!(request("-c a.conf").file, Some("a.conf".into()));
    assert_eq!(request("--config=a.conf -D").file, Some("a.conf".into()));
    for line in ["-t -c a.conf", "-c a.conf -t", "-t=true --config a.conf"] {
        assert!(matches!(read(line), Ok(Invocation::Check(_))), "{line:?}");
    }
    for line in ["-sl reload=1", "--signal reload=1", "-signal=reload=1 -p 1"] {
        assert!(
            matches!(read(line), Ok(Invocation::Signal(what)) if what == "reload=1"),
            "{line:?}"
        );
    }
    assert_eq!(refusal("-t"), "flag -t needs a configuration file: -c <file>");
}

#[test]
fn the_flags_of_streams_switch_them_on() {
    for line in ["-js", "--jetstream", "-js -sd x"] {
        let options = options::load(&request(line)).expect(line).options;
        assert!(options.jetstream.is_some_and(|jetstream| jetstream.enabled), "{line}");
    }
    assert!(
        options::load(&request("-js=false"))
            .unwrap()
            .options
            .jetstream
            .is_none_or(|js| !js.enabled)
    );
}

#[test]
fn harmless_flags_of_unimplemented_parts_are_ignored_with_a_warning() {
    let warnings = options::load(&request("--profile 1")).expect("a warning only").warnings;
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["flag -profile: natsd has no profiler yet: nothing listens there"]);
}

#[test]
fn a_member_of_a_cluster_is_described_by_flags() {
    for name in ["--cluster", "--cluster_listen"] {
        let line = format!(
            "{name} nats://u:p@h:1 --routes nats://a:2,nats://b:3 --cluster_name c --cluster_advertise x:4 \
             --no_advertise --connect_retries 5"
        );
        let set = options(&line).cluster;
        assert_eq!((set.host.as_deref(), set.port), (Some("h"), 1));
        assert_eq!(set.authorization.user.as_deref(), Some("u"));
        assert_eq!(set.authorization.password, Some("p".into()));
        assert_eq!(set.routes, ["nats://a:2".into(), "nats://b:3".into()]);
        assert_eq!((set.name.as_deref(), set.advertise.as_deref()), (Some("c"), Some("x:4")));
        assert_eq!((set.no_advertise, set.connect_retries), (true, 5));
    }
    assert_eq!(options("--cluster nats://0.0.0.0:-1").cluster.port, -1);
}

#[test]
fn an_empty_list_of_routes_equals_an_absent_one() {
    let loaded = |line: &[&str]| {
        let args = line.iter().map(|arg| (*arg).into());
        let Ok(Invocation::Serve(request)) = parse(args, BTreeMap::new()) else {
            panic!("{line:?}")
        };
        options::load(&request)
    };
    for line in [
        &["--routes", ""][..],
        &["-routes="],
        &["--routes", "nats://h:2", "--routes="],
        &["--cluster", "", "--routes", ""],
        &["--cluster", "nats://h:1", "--routes", ""],
    ] {
        assert!(loaded(line).expect("a start").options.cluster.routes.is_empty(), "{line:?}");
    }
    let error = loaded(&["--routes=", "--routes", "nats://h:2"]).expect_err("no port");
    assert!(error.to_string().contains("solicited routes require cluster"), "{error}");
}

#[test]
fn tls_by_flags_needs_a_certificate_and_can_be_turned_off() {
    let missing = "tls: TLS needs a certificate and its key";
    let unreadable =
        "tls: cannot read the certificate /none: No such file or directory (os error 2)";
    for (line, text) in [
        ("--tls", missing),
        ("--tlscert /none", "tls: missing 'key_file' in TLS configuration"),
        ("--tls --tlscert /none --tlskey /none", unreadable),
    ] {
        let error = options::load(&request(line)).expect_err(line);
        assert!(error.to_string().ends_with(text), "{error}");
        assert!(error.is_usage(), "{line:?}");
    }
    for line in ["--tls=false", "--tls --tls=false", "--tlscert /none --tls=false"] {
        let options = options::load(&request(line)).expect(line).options;
        assert_eq!(options.client_tls(), Ok(None), "{line}");
    }
}

#[test]
fn help_tls_lists_cipher_suites_and_curves() {
    assert!(matches!(read("--help_tls"), Ok(Invocation::HelpTls)));
    let help = help_tls();
    for name in ["TLS_AES_128_GCM_SHA256", "X25519MLKEM768", "cert_file"] {
        assert!(help.contains(name), "{help}");
    }
    assert!(!help.contains("CBC") && !help.contains("CurveP521"), "{help}");
}

#[test]
fn usage_errors_are_one_line() {
    for (line, text) in [
        ("-bogus", "flag provided but not defined: -bogus"),
        ("--bogus=1", "flag provided but not defined: -bogus"),
        ("-pp 1", "flag provided but not defined: -pp"),
        ("-p", "flag needs an argument: -p"),
        ("-p 1x", "invalid value \"1x\" for flag -p: not a number"),
        ("--port=", "invalid value \"\" for flag -port: not a number"),
        (
            "-p 65536",
            "invalid value \"65536\" for flag -p: expected a port: 1 to 65535, or -1 for any that is free",
        ),
        (
            "-p -2",
            "invalid value \"-2\" for flag -p: expected a port: 1 to 65535, or -1 for any that is free",
        ),
        (
            "--client_advertise a:b:c",
            "invalid value \"a:b:c\" for flag -client_advertise: expected \"host\" or \"host:port\"",
        ),
        (
            "--cluster nats://u:p@h",
            "invalid value \"[redacted]\" for flag -cluster: expected \"host:port\" or a port",
        ),
        (
            "--cluster nats://u@h:1",
            "invalid value \"[redacted]\" for flag -cluster: expected cluster password to be set",
        ),
        ("-D=maybe", "invalid value \"maybe\" for flag -D: neither true nor false"),
        ("---p 1", "bad flag syntax: ---p"),
        ("-=1", "bad flag syntax: -=1"),
        ("-T false", "unrecognized command: \"false\""),
        ("start", "unrecognized command: \"start\""),
        ("-", "unrecognized command: \"-\""),
    ] {
        assert_eq!(refusal(line), text, "{line:?}");
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for (line, text) in [
        ("--pass p", "flag -pass: authorization: a password needs a user"),
        (
            "--routes nats://u:p@h:1",
            "flag -routes: solicited routes require cluster capabilities, e.g. --cluster",
        ),
        (
            "--user u --auth t",
            "flag -auth: authorization: a token cannot be combined with a user and password",
        ),
    ] {
        let error = options::load(&request(line)).expect_err(line);
        assert_eq!(error.to_string(), text);
        assert!(error.is_usage(), "{line:?}");
    }
}

#[test]
fn help_and_version_have_flags_and_commands() {
    for line in ["-h", "--help", "-help", "help", "-p 1 HELP"] {
        assert!(matches!(read(line), Ok(Invocation::Help)), "{line:?}");
    }
    for line in ["-v", "--version", "version", "-h -v", "-v -h"] {
        assert!(matches!(read(line), Ok(Invocation::Version)), "{line:?}");
    }
    assert!(matches!(read("-v=false"), Ok(Invocation::Serve(_))));
}

#[test]
fn after_two_dashes_there_are_no_flags_and_nothing_is_skipped() {
    assert!(matches!(read("-D --"), Ok(Invocation::Serve(_))));
    assert!(matches!(read("-- version"), Ok(Invocation::Version)));
    assert_eq!(refusal("-- -c natsd.conf"), "unrecognized command: \"-c\"");
}

#[test]
fn an_error_is_reported_even_beside_help() {
    assert_eq!(refusal("-h -bogus"), "flag provided but not defined: -bogus");
}

#[test]
fn no_name_is_declared_twice() {
    let mut names: Vec<_> = flags::all().iter().flat_map(|flag| flag.names).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn every_flag_of_the_reference_is_known() {
    // NATS 2.14: opts.go, ConfigureOptions.
    let reference = "h help port p n name server_name addr a net client_advertise D debug V VV trace DV \
        DVV T logtime logtime_utc user pass auth m http_port ms https_port c config t sl signal P pid \
        ports_file_dir l log log_size_limit s syslog r remote_syslog version v profile routes cluster \
        cluster_listen cluster_advertise no_advertise connect_retries cluster_name help_tls tls \
        tlsverify tlscert tlskey tlscacert max_traced_msg_len js jetstream sd store_dir";
    let known = flags::all();
    for name in reference.split_whitespace() {
        assert!(known.iter().any(|flag| flag.names.contains(&name)), "-{name}");
    }
}

#[test]
fn the_help_lists_every_flag() {
    let help = help("natsd");
    assert!(help.contains("Usage: natsd [options]"));
    assert!(
        help.contains("    -a, --addr, --net <host>         Host name or address to listen on"),
        "{help}"
    );
    assert!(help.contains("    -DV                              -D and -V"), "{help}");
    for flag in flags::all() {
        assert!(help.contains(&spellings(&flag)), "{}", spellings(&flag));
    }
}

#[test]
fn what_is_printed_or_asked_is_chosen_by_a_flag() {
    assert!(matches!(read("--man"), Ok(Invocation::Manual)));
    assert!(matches!(read("--man --help"), Ok(Invocation::Help)));
    assert!(matches!(read("--completions zsh"), Ok(Invocation::Completions(Shell::Zsh))));
    assert!(matches!(read("-c f --healthcheck"), Ok(Invocation::Healthcheck(_))));
    assert!(matches!(read("--healthcheck=false"), Ok(Invocation::Serve(_))));
    assert_eq!(
        refusal("--completions tcsh"),
        "invalid value \"tcsh\" for flag -completions: not bash, fish or zsh"
    );
}

#[test]
fn every_implemented_flag_is_completed_and_in_the_manual() {
    let texts = [completions(Shell::Bash), completions(Shell::Zsh), manual().replace("\\-", "-")];
    let fish = completions(Shell::Fish);
    for flag in flags::all().iter().filter(|flag| flag.part().is_none()) {
        for name in flag.names {
            for text in &texts {
                assert!(text.contains(&dashed(name)), "{name}: {text}");
            }
            assert!(fish.contains(&format!(" {name}")), "{name}: {fish}");
        }
    }
    assert!(!texts[0].contains("--profile"), "a flag that is not implemented");
}
