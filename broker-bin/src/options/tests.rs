//! Tests over all options, and of the precedence of sources.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::Dict;
use serde::de::DeserializeOwned;

use super::load::extract;
use crate::config::check::Check;
use crate::config::kind::{Format, Kind};
use crate::config::problem::Problem;
use crate::config::table::{Block, Key, Section};
use crate::config::{environment, lang};
use crate::options::*;

mod cluster;
mod parts;
mod shares;

/// Calls a function for each section.
macro_rules! each_section {
    ($function:ident) => {
        each_section!($function:
            Options, Authorization, User, Permissions, SubjectLists, AllowResponses, AuthCallout, Account,
            AccountLimits, MapDestination, Export, Latency, Import, Imported, MessageTrace, Cluster,
            PeerAuthorization, Compression, Gateway, RemoteGateway, JetStream, JetStreamLimits,
            JetStreamBatch, Tpm, AccountJetStream, Leafnodes, LeafAuthorization, LeafUser, RemoteLeaf,
            LeafMigration, LeafProxy, Mqtt, Ocsp, OcspCache, OcspPeer, Resolver, Proxies, TrustedProxy, Tls,
            CertificatePair, Websocket, SimpleAuthorization)
    };
    ($function:ident: $($section:ident),+) => {
        $($function::<$section>();)+
    };
}

/// Returns values of a kind as written in a file; at least one differs from the default.
fn samples(kind: Kind) -> Vec<String> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    match kind {
        Kind::Bool => texts(&["true", "false"]),
        Kind::Integer { min, max } => vec![42.clamp(min, max).to_string()],
        Kind::Size { .. } => texts(&["64KB"]),
        Kind::Storage => texts(&["'3G'", "64KB"]),
        Kind::Port => texts(&["4242"]),
        Kind::Duration { .. } | Kind::Lifetime => texts(&["'42s'"]),
        Kind::Text(format) | Kind::Spelled(format) => texts(&[text(format)]),
        Kind::List(format) => vec![format!("[{}]", text(format)), text(format).to_owned()],
        Kind::Choice(words) => words.iter().map(|word| format!("'{word}'")).collect(),
        Kind::Choices(words) => vec![format!("['{}']", words[0])],
        Kind::Listen { .. } => texts(&["'host:4242'"]),
        Kind::Texts => texts(&["{ name: text }"]),
        Kind::Switches => texts(&["{ name: true }"]),
        Kind::Block(block) => filled(block()),
        Kind::Blocks(block) => filled(block()).iter().map(|one| format!("[ {one} ]")).collect(),
        Kind::Named { block, .. } | Kind::NamedLists { block, .. } => {
            filled(block()).iter().map(|one| format!("{{ name: {one} }}")).collect()
        }
    }
}

/// Returns blocks with one option set.
fn filled(block: &Block) -> Vec<String> {
    let plain = block.options().filter(|key| key.kind.block().is_none());
    let one = |key: &'static Key| {
        samples(key.kind).into_iter().map(|sample| format!("{{ {}: {sample} }}", key.name))
    };
    let filled: Vec<_> = plain.flat_map(one).collect();
    // A block that contains only blocks.
    if filled.is_empty() { block.options().flat_map(one).collect() } else { filled }
}

fn text(format: Format) -> &'static str {
    match format {
        Format::Any | Format::Secret | Format::Path | Format::Word => "'text'",
        Format::HostPort => "'host:1'",
        Format::Url => "'nats://host:1'",
        Format::Subject | Format::SubjectAndQueue => "'a.*'",
        Format::Literal => "'a.b'",
        Format::Nkey("U", _) => "UAFQ4EIUC4NB2IBDEYUSYLZSGU4DWPSBIRDUUTKQKNLFSXC7MJSWRDYB",
        Format::Nkey("A", _) => "AAFQ4EIUC4NB2IBDEYUSYLZSGU4DWPSBIRDUUTKQKNLFSXC7MJSWQHL6",
        Format::Nkey("X", _) => "XAFQ4EIUC4NB2IBDEYUSYLZSGU4DWPSBIRDUUTKQKNLFSXC7MJSWQI3T",
        Format::Nkey("S", _) => "SUAP277QP7U4JMFFPVZHLJYEQJ2UHOTYVEIZJYAWRJXQLP4FRSEHYZJJOU",
        Format::Nkey(..) => "OAFQ4EIUC4NB2IBDEYUSYLZSGU4DWPSBIRDUUTKQKNLFSXC7MJSWQRHY",
        Format::Fingerprint => "'0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'",
        Format::Version => "'2.9.1'",
        Format::ConnectionKind => "STANDARD",
        Format::Duration => "'42ms'",
        Format::Percent | Format::Share | Format::Sampling => "'42%'",
        Format::HandshakeFirst => "'auto'",
        Format::SyncInterval => "'always'",
        Format::FileMode => "640",
    }
}

fn checked(block: &'static Block, text: &str) -> (Dict, Check<'static>) {
    let document = lang::parse(text, "x.conf", &|_| None).unwrap_or_else(|e| panic!("{text}: {e}"));
    let mut check = Check::file();
    let dict = check.block(block, &document.root, crate::config::path::Path::ROOT);
    (dict, check)
}

fn read<S: Section + DeserializeOwned>(text: &str) -> S {
    let (dict, check) = checked(S::block(), text);
    assert!(check.findings.errors.is_empty(), "{text}: {:?}", check.findings.errors);
    extract(dict).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_valid_value_sets_its_option_under_each_name() {
    each_section!(good_values_arrive);
}

fn good_values_arrive<S: Section + DeserializeOwned + Default>() {
    let default = S::default();
    for key in S::block().options().filter(|key| !matches!(key.kind, Kind::Listen { .. })) {
        let title = S::block().title;
        let before =
            key.field(&default).unwrap_or_else(|| panic!("{title}: {} has no field", key.name));
        let differs = |name: &str, sample: &str| {
            let section: S = read(&format!("{name}: {sample}"));
            !key.field(&section).unwrap().is_same(before)
        };
        let sample = samples(key.kind).into_iter().find(|sample| differs(key.name, sample));
        let sample = sample.unwrap_or_else(|| panic!("{title}: {} does not arrive", key.name));
        for name in key.names() {
            assert!(differs(&name.to_uppercase(), &sample), "{title}: {name}");
        }
    }
}

/// One value of each kind, containing a text that no error may show.
const MISFITS: [&str; 8] = [
    "true",
    "77777",
    "1.5",
    "'marker marker'",
    "['marker marker']",
    "{ nonsense: 'marker' }",
    "[{ nonsense: 'marker' }]",
    "2026-11-20T12:00:00Z",
];

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_place_but_not_printed() {
    each_section!(misfits_are_refused);
}

fn misfits_are_refused<S: Section>() {
    for key in S::block().options() {
        let mut refused = 0;
        for misfit in MISFITS {
            let (_, check) = checked(S::block(), &format!("\n  {}: {misfit}", key.name));
            for Problem { origin, what } in &check.findings.errors {
                let error = format!("{origin}{what}");
                assert!(error.starts_with("x.conf:2:"), "{error}");
                assert!(!error.contains("marker"), "{error}");
                assert!(what.contains("expected ") || what.contains("unknown field"), "{error}");
                refused += 1;
            }
        }
        assert!(refused >= 5, "{}: {} takes nearly anything", S::block().title, key.name);
    }
}

#[test]
fn a_number_out_of_its_bounds_is_refused() {
    each_section!(bounds_hold);
}

fn bounds_hold<S: Section>() {
    let is_refused = |key: &Key, value: String| {
        !checked(S::block(), &format!("{}: {value}", key.name)).1.findings.errors.is_empty()
    };
    for key in S::block().options() {
        let bounds = match key.kind {
            Kind::Integer { min, max } | Kind::Size { min, max } => (min, max),
            Kind::Port => (-1, 65_535),
            Kind::Duration { .. } => {
                assert!(is_refused(key, "'-1s'".into()), "{}", key.name);
                continue;
            }
            _ => continue,
        };
        for (bound, beyond) in
            [(bounds.0, bounds.0.checked_sub(1)), (bounds.1, bounds.1.checked_add(1))]
        {
            assert!(!is_refused(key, bound.to_string()), "{}: {bound}", key.name);
            if let Some(beyond) = beyond {
                assert!(is_refused(key, beyond.to_string()), "{}: {beyond}", key.name);
            }
        }
    }
}

#[test]
fn a_default_that_is_not_documented_is_empty() {
    each_section!(defaults_are_shown);
}

fn defaults_are_shown<S: Section + Default>() {
    let default = S::default();
    for key in S::block().options().filter(|key| !key.unset.is_empty()) {
        let shown = key.field(&default).unwrap().show();
        assert!(
            matches!(shown.as_str(), "" | "[]" | "0" | "0s"),
            "{}: the page says {:?}, and not {shown}",
            key.name,
            key.unset
        );
    }
}

#[test]
fn no_two_options_of_a_block_have_one_name() {
    each_section!(names_are_unique);
}

fn names_are_unique<S: Section>() {
    let mut names: Vec<_> = S::block().options().flat_map(Key::names).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{}", S::block().title);
}

#[test]
fn every_option_of_the_reference_is_known() {
    // NATS 2.14: opts.go processConfigFileLine.
    let reference = "listen port host net server_name client_advertise debug trace trace_verbose \
        trace_headers logtime logtime_utc mappings maps disable_sublist_cache no_sublist_cache accounts \
        default_sentinel authorization http http_port monitor_port https https_port http_base_path cluster \
        gateway leaf leafnodes store_dir storedir jetstream logfile log_file logfile_size_limit \
        log_size_limit logfile_max_num log_max_num syslog remote_syslog pidfile pid_file ports_file_dir \
        prof_port prof_block_rate max_control_line max_payload max_pending proxy_protocol max_connections \
        max_conn max_traced_msg_len max_subscriptions max_subs max_sub_tokens max_subscription_tokens \
        ping_interval ping_max tls ocsp allow_non_tls write_deadline write_timeout lame_duck_duration \
        lame_duck_grace_period operator operators roots root root_operators root_operator resolver \
        account_resolver accounts_resolver resolver_tls resolver_preload resolver_pinned_accounts \
        no_auth_user system_account system no_system_account no_system no_sys_acc no_header_support trusted \
        trusted_keys connect_error_reports reconnect_error_reports websocket ws mqtt server_tags \
        server_metadata feature_flags default_js_domain ocsp_cache no_fast_producer_stall \
        max_closed_clients proxies";
    for name in reference.split_whitespace() {
        assert!(Options::block().key(name).is_some(), "{name}");
    }
    let ours: Vec<_> = Options::block()
        .options()
        .filter(|key| {
            !key.names().any(|name| reference.split_whitespace().any(|known| known == name))
        })
        .map(|key| key.name)
        .collect();
    assert_eq!(
        ours,
        [
            "listen_unix",
            "log_format",
            "max_pending_total",
            "http_token",
            "http_user",
            "http_password",
            "http_messages",
            "metrics_prefix",
            "metrics_server_id",
            "metrics_subjects"
        ],
        "options that NATS does not have"
    );
}

/// Returns all options that are only in blocks, with their paths.
fn reachable(block: &'static Block, path: &str, found: &mut Vec<(String, &'static Key)>) {
    for key in block.options() {
        let path = crate::config::join(path, key.name);
        if let Kind::Block(inner) = key.kind {
            reachable(inner(), &path, found);
        }
        found.push((path, key));
    }
}

#[test]
fn the_environment_sets_every_option_as_a_file_does() {
    let mut options = Vec::new();
    reachable(Options::block(), "", &mut options);
    assert!(options.len() > 200);
    for (path, key) in options {
        let sample = samples(key.kind).pop().unwrap();
        let blocks: Vec<_> = path.split('.').collect();
        let (last, blocks) = blocks.split_last().unwrap();
        let opening: String = blocks.iter().map(|block| format!("{block} {{ ")).collect();
        let text = format!("{opening}{last}: {sample} {}", "} ".repeat(blocks.len()));
        let (file, check) = checked(Options::block(), &text);
        assert!(check.findings.errors.is_empty(), "{text}: {:?}", check.findings.errors);

        // Texts in the environment are unquoted.
        let unquoted = match environment::value(key.kind, "") {
            Some(_) => sample.trim_matches('\'').to_owned(),
            None => sample,
        };
        let name = environment::variable(&path);
        let variables = BTreeMap::from([(name.clone(), unquoted)]);
        let mut findings = crate::config::problem::Findings::default();
        let layer = environment::read(Options::block(), &variables, &mut findings);
        assert!(findings.errors.is_empty(), "{name}: {:?}", findings.errors);
        let values: Dict = figment::Figment::from(layer).extract().unwrap();
        let (file, environment): (Options, Options) =
            (extract(file).unwrap(), extract(values).unwrap());
        assert_eq!(file, environment, "{name}");
    }
}

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.conf");
    std::fs::write(&path, text).unwrap();
    load_file(&path, variables)
}

fn load_file(path: &Path, variables: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment = variables.iter().map(own).collect();
    load(&Request { file: Some(path.to_owned()), environment, ..Request::default() })
}

/// Returns all errors, without the file's directory.
fn wrong(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let errors = match load_text(text, variables) {
        Err(ConfigErrors::Problems { errors, .. }) => errors,
        other => panic!("{text}: {other:?}"),
    };
    let short = |problem: &Problem| {
        let line = problem.to_string();
        line.split_once("/x.conf").map_or(line.clone(), |(_, rest)| format!("x.conf{rest}"))
    };
    errors.iter().map(short).collect()
}

fn warned(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let loaded = load_text(text, variables).unwrap_or_else(|error| panic!("{text}: {error}"));
    loaded.warnings.iter().map(|warning| warning.what.clone()).collect()
}

fn set(text: &str) -> Options {
    load_text(text, &[]).unwrap_or_else(|error| panic!("{text}: {error}")).options
}

#[test]
fn without_sources_all_options_have_their_defaults() {
    let loaded = load(&Request::default()).unwrap();
    assert_eq!(loaded.options, Options::default());
    assert_eq!((loaded.file, loaded.digest, loaded.warnings), (None, None, vec![]));
}

#[test]
fn flags_override_the_environment_which_overrides_the_file_which_overrides_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.conf");
    std::fs::write(
        &path,
        "max_payload: 1000, ping_max: 1000, max_control_line: 1000, authorization { user: f, password: f }",
    )
    .unwrap();
    let args = ["-c", path.to_str().unwrap(), "--pass", "a", "-p", "1", "--max_traced_msg_len=1"];
    let environment = [
        ("NATSD_PING_MAX", "2000"),
        ("NATSD_MAX_CONTROL_LINE", "2000"),
        ("NATSD_PORT", "2"),
        ("NATSD_AUTHORIZATION__USER", "e"),
        ("NATSD_AUTHORIZATION__PASSWORD", "e"),
    ];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let parsed = crate::cli::parse(args.map(Into::into), environment.map(own).into());
    let Ok(crate::cli::Invocation::Serve(request)) = parsed else { panic!("{parsed:?}") };
    let Options { max_payload, ping_max, port, max_pending, authorization, .. } =
        load(&request).unwrap().options;
    assert_eq!((max_pending, max_payload, ping_max, port), (64 << 20, 1000, 2000, 1));
    assert_eq!(authorization.user.as_deref(), Some("e"));
    assert_eq!(authorization.password.unwrap().expose(), "a");
}

#[test]
fn an_unknown_name_is_reported_with_the_nearest_known_one() {
    let text = "listn: 1\nauthorization { user: a, pasword: b }\nflarb: 1\nMAX_PAYLAOD: 1";
    assert_eq!(
        wrong(text, &[]),
        [
            "x.conf:1:1: unknown field \"listn\"; did you mean \"listen\"?",
            "x.conf:2:26: unknown field \"pasword\"; did you mean \"password\"?",
            "x.conf:3:1: unknown field \"flarb\"",
            "x.conf:4:1: unknown field \"MAX_PAYLAOD\"; did you mean \"max_payload\"?",
        ]
    );
}

#[test]
fn an_unknown_name_used_as_a_variable_is_no_error() {
    assert_eq!(set("size: 2000, max_payload: $size").max_payload, 2000);
}

#[test]
fn all_errors_are_reported_with_their_places() {
    let text = "\
port: 70000
max_payload: \"1MB\"
ping_interval: \"two minutes\"
ocsp: true
authorization {
  timeout: x
  users: [ { user: 1 }, { user: a, permissions: { publish: 'a..b' } } ]
}
";
    assert_eq!(
        wrong(text, &[("NATSD_DEBUG", "perhaps"), ("NATSD_AUTHORIZATION__USERS", "[{user: 1}]")]),
        [
            "x.conf:1:7: port: expected a port: 1 to 65535, or -1 for any that is free, found another integer",
            "x.conf:2:14: max_payload: expected a size of at most 2147483647 bytes, such as 1MB, or -1, found a \
             string",
            "x.conf:3:16: ping_interval: expected a duration, such as \"2m\" or \"1.5s\", found another string",
            "x.conf:6:12: authorization.timeout: expected a duration, such as \"2m\" or \"1.5s\", found \
             another string",
            "x.conf:7:20: authorization.users[0].user: expected a string, found an integer",
            "x.conf:7:60: authorization.users[1].permissions.publish.allow: expected a subject, perhaps \
             with a queue group, or an array of them, found another string",
            "NATSD_AUTHORIZATION__USERS: authorization.users[0].user: expected a string, found an integer",
            "NATSD_DEBUG: expected true or false",
            "x.conf:4:7: ocsp: natsd has no OCSP yet",
        ]
    );
}

#[test]
fn contradictions_are_reported_with_their_places() {
    for (text, error) in [
        ("http: 1\nhttps: 2", "x.conf:2:8: can't specify both HTTP and HTTPS ports"),
        ("https: 2", "x.conf:1:8: TLS cert and key required for HTTPS"),
        (
            "authorization { users: [ {user: a},\n {password: x} ] }",
            "x.conf:2:2: authorization.users[1]: a user needs a name",
        ),
        ("authorization {\n password: x }", "x.conf:2:12: authorization: a password needs a user"),
        ("max_pending: 1000", "max_payload (1048576) is more than max_pending (1000)"),
        (
            "no_auth_user: x",
            "x.conf:1:15: no_auth_user \"x\" needs a list of users that has this one",
        ),
    ] {
        assert_eq!(wrong(text, &[]), [error]);
    }
}

#[test]
fn short_forms_stand_for_blocks() {
    let permissions = |text: &str| {
        let options =
            set(&format!("authorization {{ users: [ {{ user: a, permissions: {text} }} ] }}"));
        options.authorization.users.unwrap().remove(0).permissions.unwrap()
    };
    let allow = |subject: &str| {
        Some(SubjectLists { allow: vec![subject.to_owned()], ..SubjectLists::default() })
    };
    assert_eq!(permissions("{ publish: x }").publish, allow("x"));
    assert_eq!(permissions("{ sub: [x] }").subscribe, allow("x"));
    assert_eq!(permissions("{ pub: { allow: x } }").publish, allow("x"));
    assert_eq!(
        permissions("{ allow_responses: true }").allow_responses,
        Some(AllowResponses::default())
    );
    assert_eq!(permissions("{ allow_responses: false }").allow_responses, None);
    let for_ever = AllowResponses { max: -1, expires: None };
    let written = permissions("{ allow_responses: { max: -1, ttl: '-1s' } }");
    assert_eq!(written.allow_responses, Some(for_ever));
    let default = permissions("{ allow_responses: { max: 0, ttl: '0s' } }");
    assert_eq!(default.allow_responses, Some(AllowResponses::default()));
}

#[test]
fn listen_sets_host_and_port() {
    let listens = |text: &str| {
        let Options { host, port, .. } = set(text);
        (host, port)
    };
    for (text, host, port) in [
        ("listen: 'h:1'", "h", 1),
        ("listen: h:1", "h", 1),
        ("listen: 1", "0.0.0.0", 1),
        ("listen: ':1'", "0.0.0.0", 1),
        ("listen: '[::1]:1'", "::1", 1),
        ("listen: 'h:-1'", "h", 0),
        ("listen: 'h:0'", "h", 4222),
        ("host: h, port: 1", "h", 1),
        ("net: h, port: -1", "h", 0),
        ("port: 0", "0.0.0.0", 4222),
        ("host: ''", "0.0.0.0", 4222),
        ("port: 1, listen: 'h:2'", "h", 2),
        ("listen: 'h:2', port: 1", "h", 1),
    ] {
        assert_eq!(listens(text), (host.to_owned(), port), "{text}");
    }
    for text in ["listen: h", "listen: 'h:x'", "listen: 'h:'", "listen: 70000", "listen: true"] {
        assert!(wrong(text, &[])[0].contains("expected \"host:port\" or a port"), "{text}");
    }
}

#[test]
fn zero_and_empty_request_the_default() {
    let zeros = "max_payload: 0, max_control_line: 0, max_pending: 0, ping_interval: '0s', ping_max: 0, \
        write_deadline: '0s', authorization { timeout: 0, user: '', token: '' }, server_name: '', \
        log_file: '', pid_file: '', client_advertise: '', max_closed_clients: 0, no_auth_user: ''";
    assert_eq!(set(zeros), Options::default());
}

#[test]
fn a_switch_that_implies_another_gives_way_to_it() {
    for (text, trace) in [
        ("trace_verbose: true", true),
        ("trace_headers: true", true),
        ("trace_verbose: false", false),
        ("trace_verbose: true, trace: false", false),
        ("trace: true, trace_headers: false", true),
    ] {
        assert_eq!(set(text).trace, trace, "{text}");
    }
}

#[test]
fn suspicious_settings_are_warnings() {
    for (text, warning) in [
        (
            "ping_interval: 20",
            "invalid use of field \"ping_interval\": ping_interval should be converted to a duration",
        ),
        (
            "max_payload: 9MB",
            "max_payload: above 8MB a message delays all others behind it for long",
        ),
        (
            "authorization { token: t, timeout: 1m }",
            "authorization.timeout: clients may stay unauthenticated for more than a minute; a duration of minutes is \
             written \"1m\", with quotes",
        ),
        (
            "authorization { users: [ { user: a, permissions { publish: [] } } ] }",
            "authorization.users[0].permissions.publish: no subject is listed, so that all are allowed, as in \
             nats-server",
        ),
        (
            "authorization { token: t, default_permissions { publish: a } }",
            "authorization.default_permissions: permissions apply to users only, as in nats-server, and there \
             are none",
        ),
        (
            "authorization { permissions { publish: a } }",
            "authorization.default_permissions: permissions apply to users only, as in nats-server, and there \
             are none",
        ),
        (
            "max_conn: 1, max_connections: 2",
            "max_connections: set twice, as max_conn and max_connections; the later counts",
        ),
    ] {
        assert_eq!(warned(text, &[]), [warning]);
    }
    assert_eq!(set("ping_interval: 20").ping_interval.as_secs(), 20);
    assert_eq!(set("max_conn: 1, max_connections: 2").max_connections, 2);
    assert!(warned("", &[])[0].ends_with("config has no values or is empty"));
}

#[test]
fn an_unknown_natsd_variable_is_a_warning() {
    assert_eq!(
        warned("port: 1", &[("NATSD_MAX_PAYLAOD", "1"), ("NATS_URL", "x")]),
        ["no option is called so; did you mean NATSD_MAX_PAYLOAD?"]
    );
}

#[test]
fn variables_set_by_kubernetes_for_a_service_are_ignored() {
    let variables = [
        ("NATSD_SERVICE_HOST", "10.0.0.1"),
        ("NATSD_SERVICE_PORT_CLIENT", "4222"),
        ("NATSD_PORT", "tcp://10.0.0.1:4222"),
        ("NATSD_PORT_4222_TCP_PROTO", "tcp"),
    ];
    assert_eq!(warned("port: 1", &variables), Vec::<String>::new());
    assert_eq!(load_text("port: 1", &variables).unwrap().options.port, 1);
}

#[test]
fn an_empty_variable_equals_an_unset_one() {
    assert!(!load_text("debug: false", &[("NATSD_DEBUG", "")]).unwrap().options.debug);
}

#[test]
fn a_secret_is_in_no_error_and_no_debug() {
    // A secret in each place that takes one, invalid where possible.
    let text = "\
authorization { user: [marker], password: [marker], token: { a: marker }, timeout: marker,
  users: [ marker, { password: [marker] }, { user: a, permissions: marker..x } ] }
cluster { port: 1, routes: ['nats://u:marker@h h'], authorization { password: [marker] }, compression: marker }
leafnodes { remotes: [ { nkey: marker, url: 'x marker', proxy { password: [marker] } } ] }
jetstream: marker
websocket { authorization { token: [marker] }, headers { a: [marker] } }
accounts { A { users: [ { user: a, password: [marker] } ], nkey: marker, mappings { a: [marker] } } }
resolver: marker
operator: [[marker]]
resolver_preload { A: [marker] }
default_sentinel: [marker]
tls { cert_file: [marker], pinned_certs: [marker], cipher_suites: [marker], handshake_first: marker }
server_metadata { a: [marker] }
write_timeout: marker
log_format: marker
";
    let variables = [
        ("NATSD_AUTHORIZATION__TIMEOUT", "marker"),
        ("NATSD_AUTHORIZATION__USERS", "[marker, [marker]]"),
        ("NATSD_CLUSTER__ROUTES", "nats://u:marker@h h"),
        ("NATSD_DEBUG", "marker"),
        ("NATSD_MAX_PAYLOAD", "mar\"ker"),
        ("NATSD_JETSTREAM", "marker"),
    ];
    let error = load_text(text, &variables).unwrap_err();
    let ConfigErrors::Problems { errors, .. } = &error else { panic!("{error}") };
    assert!(errors.len() > 35, "{errors:#?}");
    for shown in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
        assert!(!shown.contains("marker"), "{shown}");
    }

    let loaded = load_text("authorization { user: a, password: marker }", &[]).unwrap();
    assert!(!format!("{loaded:?}").contains("marker"));
}

#[test]
fn values_that_passed_validation_wrongly_are_not_printed_either() {
    let dict = Dict::from([(String::from("port"), figment::value::Value::from("marker"))]);
    let error = extract::<Options>(dict).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("marker"));
}

#[test]
fn the_page_lists_all_options() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    let page = super::page::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "UPDATE_DOCS=1 cargo test -p broker-bin --lib the_page");
    let mut options = Vec::new();
    reachable(Options::block(), "", &mut options);
    for (_, key) in options {
        assert!(page.contains(&format!("| `{}`", key.name)), "{}", key.name);
    }
}

/// A valid file takes another path than single values, and than a file whose origins are needed.
#[test]
fn users_are_equal_whether_read_directly_or_through_values() {
    let text = "
        authorization { default_permissions: { publish: d }, users: [
            { user: a, password: \"\", permissions: { publish: { allow: [x, y], deny: z }, subscribe: 'q w' } },
            { username: b, pass: '$2a$11$x', allowed_connection_types: [STANDARD], permission: { allow_responses: true } },
            { user: c, permissions: { publish: { allow: [x, y], deny: z }, subscribe: 'q w' } } ] }
        accounts { A { users: [ { user: d, password: pd } ] }, B { users: [] }, C: {} }";
    let (values, check) = checked(Options::block(), text);
    assert!(check.findings.errors.is_empty(), "{:?}", check.findings.errors);
    let through_values: Options = extract(values).unwrap();
    let on_the_spot = load_text(text, &[]).unwrap().options;
    assert_eq!(on_the_spot.authorization.users, through_values.authorization.users);
    assert_eq!(on_the_spot.accounts, through_values.accounts);

    let users = on_the_spot.authorization.users.unwrap();
    let permissions = |at: usize| users[at].permissions.as_ref().unwrap();
    assert!(std::sync::Arc::ptr_eq(permissions(0), permissions(2)), "the same are kept once");
    assert!(!std::sync::Arc::ptr_eq(permissions(0), permissions(1)));
}

#[test]
fn an_error_in_a_user_is_reported_with_its_place() {
    let users = |second: &str| {
        let text = format!("authorization {{ users: [\n  {{ user: a }}\n  {{ {second} }}\n] }}");
        load_text(&text, &[]).unwrap_err().to_string()
    };
    for (second, expected) in [
        ("user: a", "x.conf:3:3: there is another user \"a\""),
        (
            "user: 1",
            "x.conf:3:11: authorization.users[1].user: expected a string, found an integer",
        ),
    ] {
        let told = users(second);
        assert!(told.contains(expected), "{told}");
    }
}
