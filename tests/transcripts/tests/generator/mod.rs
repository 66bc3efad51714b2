//! Random sessions, reproducible by seed.

/// The bytes of one operation.
pub(crate) type Operation = Vec<u8>;

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, place: u64, one: u64) -> Self {
        let mut random = Self(seed);
        for part in [place, one] {
            random.0 ^= random.next().wrapping_add(part);
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Returns true with probability 1/`times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Returns a session that mostly begins with CONNECT. Short enough for a server to read it in one
/// piece: otherwise nats-server reports an error twice to a pedantic client.
pub(crate) fn session(random: &mut Random) -> Vec<Operation> {
    let mut operations = Vec::new();
    if !random.once_in(12) {
        operations.push(introduction(random));
    }
    for _ in 0..1 + random.below(5) {
        operations.push(operation(random, operations.is_empty()));
        // It closes the connection, but nats-server handles what it has read with it.
        if operations.last().is_some_and(|last| last.starts_with(b"-ERR")) {
            break;
        }
    }
    while operations.concat().len() > 480 {
        operations.pop();
    }
    operations
}

/// Returns CONNECT with any of its switches.
fn introduction(random: &mut Random) -> Operation {
    let mut json = String::from("{");
    for name in ["verbose", "pedantic", "echo", "headers", "no_responders"] {
        if !random.once_in(4) {
            // Mostly off, so that other output is not hidden by OKs.
            let value = if name == "headers" { !random.once_in(5) } else { random.once_in(3) };
            json += &format!("\"{name}\":{value},");
        }
    }
    if !random.once_in(8) {
        let pass = if random.once_in(12) { "wrong" } else { "secret" };
        json += &format!("\"user\":\"eva\",\"pass\":\"{pass}\",");
    }
    if random.once_in(12) {
        json += &format!("\"protocol\":{},", random.pick(&["0", "1", "2", "-1", "-0"]));
    }
    format!("CONNECT {}}}\r\n", json.trim_end_matches(',')).into_bytes()
}

fn operation(random: &mut Random, is_first: bool) -> Operation {
    match random.below(20) {
        0..=5 => publish(random),
        6..=8 => publish_with_headers(random),
        9..=13 => subscribe(random),
        14..=15 => unsubscribe(random),
        // A later CONNECT is not to name credentials: those of before are not kept (docs/compat.md).
        16 => connect(random, if is_first { &KEYS } else { &KEYS[CREDENTIALS..] }),
        17 => info(random),
        _ => random
            .pick(&[
                "PING\r\n",
                "ping x\r\n",
                "PONG\r\n",
                "PINGPONG\r\n",
                "+OK\r\n",
                "+OKAY\r\n",
                "-ERR 'x'\r\n",
                "-ERRx\r\n",
                "MSG foo 1 1\r\nx\r\n",
                "FOO\r\n",
                "\r\n",
                "PI",
                "A+ x\r\n",
                "LS+ x\r\n",
                "RS+ x\r\n",
                "PUBX foo 0\r\n\r\n",
            ])
            .into(),
    }
}

const SUBJECTS: [&str; 34] = [
    "foo",
    "foo",
    "foo.bar",
    "foo.a.b",
    "foo.deny.x",
    "deny.x",
    "t.ok",
    "only",
    "other",
    "foo.deny",
    "a..b",
    ".a",
    "e.g.",
    ".",
    "..",
    "foo..x",
    "*",
    ">",
    "foo.*",
    "foo.>",
    "foo.>.x",
    ">.x",
    "foo.deny.>",
    "foo.*.x",
    "only.>",
    "foo*",
    "f>o",
    "a.b.c.d.e",
    "$SYS.x",
    "_GR_.x.y",
    "$NRG.x",
    "_R_.x.y",
    "$JS.ACK.x",
    "größe",
];

const REPLIES: [&str; 8] =
    ["_INBOX.1", "_INBOX.1", "foo.reply", "_R_.x", "$JS.ACK.x.y", "_GR_.x", "a..b", "*"];

fn verb(random: &mut Random, verb: &str) -> String {
    match random.below(12) {
        0 => verb.to_lowercase(),
        1 => verb
            .chars()
            .map(|c| if random.once_in(2) { c.to_ascii_lowercase() } else { c })
            .collect(),
        _ => verb.into(),
    }
}

/// Joins words by white space, mostly one blank.
fn line(random: &mut Random, words: &[String]) -> String {
    let mut line = String::new();
    for (place, word) in words.iter().enumerate() {
        if place > 0 {
            line +=
                if random.once_in(12) { random.pick(&["\t", "  ", " \t ", "\t\t"]) } else { " " };
        }
        line += word;
    }
    if random.once_in(16) {
        line += random.pick(&[" ", "\t", " x", " x y", " \r"]);
    }
    line + if random.once_in(10) { random.pick(&["\n", "\r\r\n", " \r\n"]) } else { "\r\n" }
}

/// Returns the length of a payload, mostly correct.
fn size(random: &mut Random, len: usize) -> String {
    match random.below(24) {
        0 => random
            .pick(&["-1", "+1", "x", "0x1", "1.0", "9999999999", "999999999", "65", "64", "1e1"])
            .into(),
        1 => (len + 1 + random.below(3)).to_string(),
        2 => len.saturating_sub(1 + random.below(3)).to_string(),
        3 => format!("00{len}"),
        _ => len.to_string(),
    }
}

fn behind(random: &mut Random) -> &'static str {
    if random.once_in(12) {
        random.pick(&["\n", "X", "\rX", "", "\r\n\r\n", "XX\r\n"])
    } else {
        "\r\n"
    }
}

fn payload(random: &mut Random) -> &'static str {
    random.pick(&["", "x", "hello", "\r\n", "PING\r\n", "0123456789012345678901234567890123456789"])
}

fn publish(random: &mut Random) -> Operation {
    let payload = payload(random);
    let mut words = vec![verb(random, "PUB")];
    if !random.once_in(40) {
        words.push(random.pick(&SUBJECTS).into());
    }
    if random.once_in(3) {
        words.push(random.pick(&REPLIES).into());
    }
    if !random.once_in(40) {
        words.push(size(random, payload.len()));
    }
    let line = line(random, &words);
    [line.as_bytes(), payload.as_bytes(), behind(random).as_bytes()].concat()
}

fn headers(random: &mut Random) -> String {
    let mut block =
        String::from(if random.once_in(10) { "NATS/1.0 503\r\n" } else { "NATS/1.0\r\n" });
    for _ in 0..random.below(4) {
        block += random.pick(&[
            "A: b\r\n",
            "A:b\r\n",
            "Nats-Trace-Dest: t.ok\r\n",
            "Nats-Trace-Dest:\tt.no \r\n",
            "Nats-Trace-Dest: a..b\r\n",
            "Nats-Trace-Dest: trace disabled\r\n",
            "Nats-Trace-Dest:\r\n",
            "nats-trace-dest: t.ok\r\n",
            "Nats-Trace-Only: true\r\n",
            "Nats-Trace-Only: On\r\n",
            "Nats-Trace-Only: 1\r\n",
            "Nats-Trace-Only: no\r\n",
            "Nats-Trace-Only:\r\n",
            "nats-trace-only: true\r\n",
            "no colon\r\n",
            ": no name\r\n",
        ]);
    }
    block + if random.once_in(8) { "" } else { "\r\n" }
}

fn publish_with_headers(random: &mut Random) -> Operation {
    let block = headers(random);
    let payload = random.pick(&["", "x", "hello"]);
    let whole = block.len() + payload.len();
    let mut words = vec![verb(random, "HPUB"), random.pick(&SUBJECTS).into()];
    if random.once_in(3) {
        words.push(random.pick(&REPLIES).into());
    }
    if !random.once_in(40) {
        words.push(match random.below(20) {
            0 => "0".into(),
            1 => (whole + 1).to_string(),
            _ => size(random, block.len()),
        });
    }
    words.push(size(random, whole));
    let line = line(random, &words);
    [line.as_bytes(), block.as_bytes(), payload.as_bytes(), behind(random).as_bytes()].concat()
}

const SIDS: [&str; 6] = ["1", "1", "2", "3", "x-y", "9"];

fn subscribe(random: &mut Random) -> Operation {
    let mut words = vec![verb(random, "SUB")];
    if !random.once_in(40) {
        words.push(random.pick(&SUBJECTS).into());
    }
    if random.once_in(3) {
        words.push(random.pick(&["q", "q.1", "bad", "_sys_", ">", "q.*", "a..b"]).into());
    }
    if !random.once_in(40) {
        words.push(random.pick(&SIDS).into());
    }
    line(random, &words).into_bytes()
}

fn unsubscribe(random: &mut Random) -> Operation {
    let mut words = vec![verb(random, "UNSUB")];
    if !random.once_in(40) {
        words.push(random.pick(&SIDS).into());
    }
    if random.once_in(2) {
        words.push(random.pick(&["1", "2", "0", "-1", "x", "99999999999"]).into());
    }
    line(random, &words).into_bytes()
}

/// Keys of CONNECT, credentials first.
const KEYS: [&str; 14] = [
    "user",
    "pass",
    "u\u{17f}er",
    "jwt",
    "verbose",
    "VERBOSE",
    "name",
    "protocol",
    "echo",
    "import",
    "remote_account",
    "proxy_sig",
    "account",
    "other",
];

const CREDENTIALS: usize = 4;

/// Returns CONNECT with any JSON, mostly an object.
fn connect(random: &mut Random, keys: &[&str]) -> Operation {
    let mut json = Vec::new();
    if random.once_in(5) {
        value(random, keys, 3, &mut json);
    } else {
        object(random, keys, 2, &mut json);
    }
    if random.once_in(12) {
        json.extend_from_slice(random.pick(&[" ", "x", "{}", ",", "\0"]).as_bytes());
    }
    if random.once_in(12) {
        json.truncate(random.below(json.len() + 1));
    }
    let verb = verb(random, "CONNECT");
    let blank = if random.once_in(8) { "" } else { " " };
    [verb.as_bytes(), blank.as_bytes(), &json, b"\r\n"].concat()
}

fn info(random: &mut Random) -> Operation {
    let keys = ["port", "headers", "nonce", "connect_urls", "max_payload", "export", "gossip_mode"];
    let mut json = format!("{{\"{}\":", random.pick(&keys)).into_bytes();
    value(random, &KEYS, 2, &mut json);
    [b"INFO ", &json[..], b"}\r\n"].concat()
}

fn object(random: &mut Random, keys: &[&str], depth: usize, json: &mut Vec<u8>) {
    json.push(b'{');
    for place in 0..random.below(4) {
        if place > 0 {
            json.push(b',');
        }
        let key = random.pick(keys);
        json.extend_from_slice(format!("\"{key}\"").as_bytes());
        json.extend_from_slice(if random.once_in(8) { b" : " } else { b":" });
        // Mostly a value of the right type: a wrong one hides the others.
        match (key, random.below(6)) {
            (_, 0) => value(random, keys, depth, json),
            ("verbose" | "VERBOSE" | "echo", _) => json.extend_from_slice(b"false"),
            ("protocol", _) => json.extend_from_slice(random.pick(&["0", "1", "-0"]).as_bytes()),
            ("user" | "u\u{17f}er", _) => json.extend_from_slice(b"\"eva\""),
            ("pass", _) => json.extend_from_slice(b"\"secret\""),
            ("account", _) => json.extend_from_slice(b"null"),
            ("import", _) => json.extend_from_slice(b"{\"allow\":[\"a\"]}"),
            _ => string(random, json),
        }
    }
    json.push(b'}');
}

fn value(random: &mut Random, keys: &[&str], depth: usize, json: &mut Vec<u8>) {
    match random.below(if depth > 0 { 8 } else { 5 }) {
        0 => json
            .extend_from_slice(random.pick(&["null", "true", "false", "nul", "True"]).as_bytes()),
        1..=2 => json.extend_from_slice(
            random
                .pick(&[
                    "0",
                    "-0",
                    "1",
                    "1.0",
                    "1e0",
                    "-1.5E+3",
                    "01",
                    "1.",
                    ".1",
                    "+1",
                    "1e999999",
                    "9223372036854775807",
                    "9223372036854775808",
                    "256",
                    "0x1",
                    "NaN",
                ])
                .as_bytes(),
        ),
        3..=4 => string(random, json),
        5..=6 => object(random, keys, depth - 1, json),
        _ => {
            json.push(b'[');
            for place in 0..random.below(3) {
                if place > 0 {
                    json.push(b',');
                }
                value(random, keys, depth - 1, json);
            }
            json.extend_from_slice(random.pick(&["]", "]", "]", ",]", "}"]).as_bytes());
        }
    }
}

fn string(random: &mut Random, json: &mut Vec<u8>) {
    json.push(b'"');
    for _ in 0..random.below(3) {
        json.extend_from_slice(match random.below(10) {
            0 => b"\\ud83d",
            1 => b"\\ude00",
            2 => b"\\u00e9",
            3 => b"\\n\\/",
            4 => b"\xff",
            5 => b"\xe2\x82",
            6 => b"\xed\xa0\x80",
            7 if random.once_in(3) => b"\\x",
            8 if random.once_in(3) => b"\t",
            _ => b"a",
        });
    }
    json.push(b'"');
}
