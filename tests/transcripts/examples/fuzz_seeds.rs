//! Writes the first corpus of the fuzz targets: the input of all dialogues, and the corpus of
//! configuration files. Part of this crate, so that a build of all tests contains it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io};

use transcripts::{Act, Dialogue};

fn main() -> io::Result<()> {
    for dialogue in Dialogue::all()? {
        let mut said: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for step in &dialogue.steps {
            match &step.act {
                Act::Send(party, bytes) => said.entry(party.to_string()).or_default().extend(bytes),
                Act::Quiet(party) => {
                    said.entry(party.to_string()).or_default().extend(b"PING\r\n");
                }
                _ => {}
            }
        }
        for (party, bytes) in said {
            // Longer than the fuzzer's maximum input.
            if bytes.len() > 4000 {
                continue;
            }
            let name = format!("{}-{party}", dialogue.name);
            save("parser", &name, &[0], &bytes)?;
            save("session", &name, &[0, 0, 0], &bytes)?;
        }
    }
    streams_api()?;
    for folder in ["valid", "broken"] {
        let files = tests().join("config/corpus").join(folder);
        for entry in fs::read_dir(files)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "conf") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                save("config", &format!("{folder}-{name}"), &[], &fs::read(&path)?)?;
            }
        }
    }
    let interest = b"INFO {\"server_id\":\"N\"}\r\nCONNECT {\"name\":\"N\"}\r\nRS+ A a\r\nRS+ A a q 2\r\n\
        LS+ o A a q 1\r\nRS- A a q\r\nLS- o A a\r\nA- A\r\nPING\r\nPONG\r\n+OK\r\n-ERR 'x'\r\nUNSUB A a\r\n";
    save("route", "interest", &[0], interest)?;
    let messages = b"RMSG A a 2\r\nhi\r\nRMSG A a r 2\r\nhi\r\nRMSG A a + r q1 q2 2\r\nhi\r\n\
        RMSG A a | q 2\r\nhi\r\nHMSG A a r 1 2\r\nhi\r\nHMSG A a | q 1 2\r\nhi\r\nLMSG o A a 0 2\r\nhi\r\n\
        LMSG o A a + r q 1 2\r\nhi\r\nPUB a 2\r\nhi\r\n";
    save("route", "messages", &[0], messages)?;
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 4222\r\nPING\r\n";
    save("proxy", "v1", &[], line)?;
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x09\0\x0a";
    save("proxy", "v2", &[], binary)?;
    let stream =
        b"\x01\x0a\0\0\xab\x90\xcc\x24PING\r\n\xfe\x02\0\0ab\0\x10\0\0\xb8\x22\xbc\x24\xa0\x8d\x06\
        \0\x61\x11\x01\x1d\0\x93\x86\0";
    save("s2", "stream", &[0, 7], stream)?;
    let snappy = b"\xff\x06\0\0sNaPpY\x01\x0a\0\0\xab\x90\xcc\x24PING\r\n";
    save("s2", "snappy", &[1, 7], snappy)?;
    // A literal and copies of each form.
    let block = b"\x30\x1cRS+ $G\x01\x03\x01\0\x15\0\x02\x0a\x05\0\x0f\x06\0\0\0\x0ceu\r\n";
    save("s2", "block", &[0, 0], block)?;
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nOrigin: https://example.com\r\nCookie: jwt=x\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    save("websocket", "request", &[2, 0], request)?;
    let frames =
        b"\x02\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x80\0\0\0\0\x80\xfe\0\x7e\0\0\0\0";
    save("websocket", "frames", &[0, 3], frames)?;
    // RFC 7692: "Hello".
    let compressed = b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\0\x88\x82\0\0\0\0\x03\xe8";
    save("websocket", "compressed", &[8, 1], compressed)?;
    for (name, text) in [
        ("wildcards", "a.*.*.>\n{{wildcard(2)}}.$1.b.>\na.x.y.z"),
        ("partition", "*.*\np.{{ Partition (10,1,2) }}.{{random(3)}}\na.b"),
        ("cuts", "*\n{{splitfromleft(1,2)}}.{{SliceFromRight(1,3)}}.{{left(1,1)}}\nabcdef"),
        ("split", "*\n{{split(1,-)}}\n-ab--cd-"),
    ] {
        save("transform", name, &[], text.as_bytes())?;
    }
    // A file, an included file, and a variable.
    save("config", "all", &[], b"include a\nb = $V\0c = 1\0[1 , $V]")
}

/// The requests of the dialogues about streams, some in each input.
fn streams_api() -> io::Result<()> {
    for entry in fs::read_dir(tests().join("interop/streams/dialogues"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut steps = Vec::new();
        for line in fs::read_to_string(&path)?.lines() {
            if let Some(request) = line.strip_prefix("> ") {
                let (subject, payload) = request.split_once(' ').unwrap_or((request, ""));
                steps.push(format!("{subject}\0\0{payload}\n"));
            } else if let Some(message) = line.strip_prefix("PUB ") {
                let (subject, payload) = message.split_once(' ').unwrap_or((message, ""));
                steps.push(format!("P\0{subject}\0{payload}\n"));
            }
        }
        for (number, some) in steps.chunks(16).enumerate() {
            save("streams_api", &format!("{name}-{number}"), &[], some.concat().as_bytes())?;
        }
    }
    Ok(())
}

/// The bytes before the input choose how it is played.
fn save(target: &str, name: &str, how: &[u8], said: &[u8]) -> io::Result<()> {
    let folder = tests().join("fuzz/corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), [how, said].concat())
}

fn tests() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..").into()
}
