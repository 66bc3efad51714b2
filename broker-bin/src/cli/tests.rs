use super::*;
use broker_core::auth::Secret;

fn read(line: &str) -> Result<Invocation, UsageError> {
    parse(line.split_whitespace().map(OsString::from), Options::default())
}

fn options(line: &str) -> Options {
    match read(line) {
        Ok(Invocation::Serve(options)) => *options,
        other => panic!("{line:?}: {other:?}"),
    }
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
        (&["-p 0", "-a=", "-n=", "-l=", "-P=", "-sd=x", "-sd x", "--store_dir x"], |_| {}),
        (&["-n s", "--name s", "-name=s", "-server_name s", "--server_name=s"], |o| {
            o.server_name = Some("s".into());
        }),
        (&["-D", "--D", "-debug", "--debug", "-D=true", "--debug=1", "-D=T"], |o| {
            o.log.debug = true;
        }),
        (&["-V", "--trace", "-trace=t", "-VV", "--VV"], |o| o.log.trace = true),
        (&["-DV", "--DV", "-DVV", "-D -V", "-DV=TRUE"], |o| {
            o.log.debug = true;
            o.log.trace = true;
        }),
        (&["-DV -DV=false", "-D -D=0", "-V --trace=F", "-T", "--logtime"], |_| {}),
        (&["-T=false", "--logtime=false", "-T=0"], |o| o.log.time = false),
        (&["--logtime_utc", "-logtime_utc=true"], |o| o.log.utc = true),
        (&["-l f", "--log f", "-log=f"], |o| o.log.file = Some("f".into())),
        (&["-P f", "--pid f", "-pid=f"], |o| o.pid_file = Some("f".into())),
        (&["--ports_file_dir d", "-ports_file_dir=d"], |o| {
            o.ports_file_dir = Some("d".into());
        }),
        (&["--max_traced_msg_len 64", "-max_traced_msg_len=64"], |o| o.max_traced_msg_len = 64),
        (&["--user u --pass p", "-user=u -pass=p"], |o| {
            o.user = Some("u".into());
            o.pass = Some(Secret::from("p"));
        }),
        (&["--auth t", "-auth=t"], |o| o.auth = Some(Secret::from("t"))),
        (&["-p 1 -p 2", "-p 2 --", "-p 2 -- -p 3"], |o| o.port = 2),
    ];
    for (lines, set) in table {
        let mut expected = Options::default();
        set(&mut expected);
        for line in *lines {
            assert_eq!(options(line), expected, "{line:?}");
        }
    }
}

#[test]
fn flags_win_over_what_was_there_before() {
    let base = Options { host: "from-a-file".into(), port: 5, ..Options::default() };
    let Ok(Invocation::Serve(options)) = parse(["-p".into(), "6".into()], base) else {
        panic!("refused");
    };
    assert_eq!((options.host.as_str(), options.port), ("from-a-file", 6));
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    for (line, text) in [
        ("-bogus", "flag provided but not defined: -bogus"),
        ("--bogus=1", "flag provided but not defined: -bogus"),
        ("-pp 1", "flag provided but not defined: -pp"),
        ("-p", "flag needs an argument: -p"),
        ("-p 1x", "invalid value \"1x\" for flag -p: not a number"),
        ("--port=", "invalid value \"\" for flag -port: not a number"),
        ("-p 65536", "invalid value \"65536\" for flag -p: not a port: -1, or 1 to 65535"),
        ("-p -2", "invalid value \"-2\" for flag -p: not a port: -1, or 1 to 65535"),
        (
            "--max_traced_msg_len -1",
            "invalid value \"-1\" for flag -max_traced_msg_len: less than zero",
        ),
        ("-D=maybe", "invalid value \"maybe\" for flag -D: neither true nor false"),
        ("---p 1", "bad flag syntax: ---p"),
        ("-=1", "bad flag syntax: -=1"),
        ("-T false", "unrecognized command: \"false\""),
        ("start", "unrecognized command: \"start\""),
        ("-", "unrecognized command: \"-\""),
        ("-js", "flag -js is not supported yet"),
        ("-p 1 --tls=false", "flag -tls is not supported yet"),
        ("--pass p", "--pass needs --user"),
        ("--user u --auth t", "--auth cannot be combined with --user and --pass"),
    ] {
        assert_eq!(refusal(line), text, "{line:?}");
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
fn a_mistake_is_told_even_beside_a_cry_for_help() {
    assert_eq!(refusal("-h -bogus"), "flag provided but not defined: -bogus");
}

#[test]
fn no_name_is_declared_twice() {
    let mut names: Vec<_> =
        GROUPS.iter().flat_map(|group| group.flags).flat_map(|flag| flag.names).collect();
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
    for name in reference.split_whitespace() {
        assert!(flags::find(name).is_some(), "-{name}");
    }
}

#[test]
fn the_help_lists_every_flag() {
    let help = help("natsd");
    assert!(help.contains("Usage: natsd [options]"));
    assert!(help.contains("    -a, --addr, --net <host>         Listen on this host"), "{help}");
    assert!(help.contains("    -DV                              -D and -V"), "{help}");
    for flag in GROUPS.iter().flat_map(|group| group.flags) {
        assert!(help.contains(&spellings(flag)), "{}", spellings(flag));
    }
}
