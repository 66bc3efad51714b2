//! Echoes WebSocket messages, for test suites of the protocol (see tests/interop/autobahn).
//!
//! `cargo run -p broker-net --features websocket --example websocket_echo -- 127.0.0.1:9001`

use std::error::Error;
use std::io;

use broker_net::websocket::{
    self, CloseFrame, Deflate, Event, HEAD_BYTES, Head, Inflate, Opcode, Refusal, Rules,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The suite sends messages of up to 16 MiB.
const MESSAGE_BYTES: u64 = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| String::from("127.0.0.1:9001"));
    let listener = TcpListener::bind(&address).await?;
    println!("ws://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let rules = Rules { compression: true, ..Rules::default() };
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let client = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        match websocket::parse(&head, &rules) {
            Ok(None) => {}
            Ok(Some(parsed)) if parsed.used == head.len() => break parsed.client,
            Ok(Some(_)) => return stream.write_all(&websocket::refuse(&Refusal::Early)).await,
            Err(refusal) => return stream.write_all(&websocket::refuse(&refusal)).await,
        }
    };
    stream.write_all(&websocket::accept(&client, &websocket::ExtraHeaders::default())).await?;

    let mut decoder = websocket::Decoder::new().allow_compressed(client.is_compressed);
    let mut echo = Echo::new(client.window_bits);
    let mut input = vec![0; 64 << 10];
    while !echo.has_ended {
        let len = stream.read(&mut input).await?;
        if len == 0 {
            return Ok(());
        }
        let mut at = 0;
        while !echo.has_ended {
            match decoder.decode(&mut input[at..len]) {
                Ok(decoded) => {
                    at += decoded.used;
                    let Some(event) = decoded.event else { break };
                    echo.hear(event);
                }
                Err(fault) => echo.close(&CloseFrame::for_fault(&fault)),
            }
        }
        stream.write_all(&echo.output).await?;
        echo.output.clear();
    }
    stream.shutdown().await?;
    // Unread input must not reset the connection before the client reads the close frame.
    while stream.read(&mut input).await? > 0 {}
    Ok(())
}

/// The part of a message received so far, and the output to send.
struct Echo {
    message: Vec<u8>,
    /// The length of the text verified as UTF-8.
    checked: usize,
    inflate: Inflate,
    deflate: Deflate,
    window_bits: u8,
    output: Vec<u8>,
    has_ended: bool,
}

impl Echo {
    fn new(window_bits: u8) -> Self {
        Self {
            message: Vec::new(),
            checked: 0,
            inflate: Inflate::new(MESSAGE_BYTES),
            deflate: Deflate::new(),
            window_bits,
            output: Vec::new(),
            has_ended: false,
        }
    }

    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Ping(payload) => self.say(Opcode::Pong, false, payload),
            Event::Pong(_) => {}
            Event::Close(payload) => match websocket::answer_to_close(payload) {
                Ok(answer) => self.close(&answer),
                Err(fault) => self.close(&CloseFrame::for_fault(&fault)),
            },
            Event::Data(data) => {
                if data.is_compressed {
                    if let Err(text) = self.unpack(data.bytes, data.is_last) {
                        return self.close(&CloseFrame { status: Some(1007), text });
                    }
                } else {
                    self.message.extend_from_slice(data.bytes);
                }
                if data.is_text && !self.is_text(data.is_last) {
                    let text = String::from("invalid UTF-8");
                    return self.close(&CloseFrame { status: Some(1007), text });
                }
                if data.is_last {
                    self.answer(data.is_text, data.is_compressed);
                }
            }
        }
    }

    fn unpack(&mut self, bytes: &[u8], is_last: bool) -> Result<(), String> {
        self.inflate.push(bytes, is_last, true).map_err(|error| error.to_string())?;
        let mut room = [0; 16 << 10];
        while self.inflate.is_ready() {
            let len = self.inflate.pull(&mut room).map_err(|error| error.to_string())?;
            self.message.extend_from_slice(&room[..len]);
        }
        Ok(())
    }

    /// Returns true if the text is valid UTF-8, or can still become so if it is incomplete.
    fn is_text(&mut self, is_whole: bool) -> bool {
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_some() => return false,
            Err(error) => self.checked += error.valid_up_to(),
        }
        !is_whole || self.checked == self.message.len()
    }

    fn answer(&mut self, is_text: bool, is_compressed: bool) {
        let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        let mut message = std::mem::take(&mut self.message);
        self.checked = 0;
        if is_compressed {
            message = self.deflate.message([&message[..]].into_iter(), self.window_bits).to_vec();
        }
        self.say(opcode, is_compressed, &message);
    }

    fn say(&mut self, opcode: Opcode, is_compressed: bool, payload: &[u8]) {
        let head = Head::new(opcode, true, is_compressed, payload.len());
        self.output.extend_from_slice(head.as_bytes());
        self.output.extend_from_slice(payload);
    }

    fn close(&mut self, frame: &CloseFrame) {
        frame.encode(&mut self.output);
        self.has_ended = true;
    }
}
