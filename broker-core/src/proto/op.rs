//! The vocabulary of the client's side of the wire.

/// One operation of a client, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Op<'a> {
    /// `CONNECT {json}`.
    Connect(&'a [u8]),
    /// `PUB` and `HPUB`.
    Publish(Publish<'a>),
    /// `SUB subject [queue] sid`.
    Subscribe {
        /// What it asks for; not yet checked to be a filter.
        filter: &'a [u8],
        /// The queue group, if it joins one.
        queue: Option<&'a [u8]>,
        /// The client's name for the subscription: any word.
        sid: &'a [u8],
    },
    /// `UNSUB sid [max]`.
    Unsubscribe {
        /// Which subscription.
        sid: &'a [u8],
        /// End it once this many messages have been delivered since it began; `None`: now.
        max: Option<u64>,
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `INFO {json}`: nothing that a client has to say.
    Info(&'a [u8]),
    /// `+OK`.
    Ok,
    /// `-ERR text`.
    Err(&'a [u8]),
}

/// A message as a client published it, borrowed from the read buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Publish<'a> {
    /// Where to. What the wire lets through: no white space, not empty, nothing else is promised.
    pub subject: &'a [u8],
    /// Where answers go; empty for none.
    pub reply: &'a [u8],
    /// How many bytes of `body` are the header block, for `HPUB`.
    pub header_len: Option<usize>,
    /// Headers and payload.
    pub body: &'a [u8],
    /// The sizes as the client wrote them, `11` or `12 23`: receivers get the same digits.
    pub sizes: &'a [u8],
    /// All that follows the subject, from the reply (or the sizes) to the line end behind the payload,
    /// if it is written just as a receiver must read it: single blanks, CRLF. Then it can be copied
    /// in one piece.
    pub tail: Option<&'a [u8]>,
}

impl<'a> Publish<'a> {
    /// The header block, empty without headers.
    pub fn headers(&self) -> &'a [u8] {
        self.body.get(..self.header_len.unwrap_or(0)).unwrap_or_default()
    }

    /// What follows the header block.
    pub fn payload(&self) -> &'a [u8] {
        self.body.get(self.header_len.unwrap_or(0)..).unwrap_or_default()
    }

    /// Does it carry a header block that receivers must be told of?
    // NATS 2.14: `HPUB` with a header length of 0 is delivered as `MSG`.
    pub fn has_headers(&self) -> bool {
        self.header_len.is_some_and(|len| len > 0)
    }
}
