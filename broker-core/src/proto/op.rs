//! Operations of clients.

/// One operation of a client, borrowed from the read buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Op<'a> {
    /// `CONNECT {json}`.
    Connect(&'a [u8]),
    /// `PUB` and `HPUB`.
    Publish(Publish<'a>),
    /// `SUB subject [queue] sid`.
    Subscribe {
        /// The filter, unchecked.
        filter: &'a [u8],
        /// The queue group.
        queue: Option<&'a [u8]>,
        /// The sid, which the client chooses: any word.
        sid: &'a [u8],
    },
    /// `UNSUB sid [max]`.
    Unsubscribe {
        /// The sid of the subscription.
        sid: &'a [u8],
        /// The number of delivered messages after which it ends; `None` for at once.
        max: Option<u64>,
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `INFO {json}`, which has no effect from a client.
    Info(&'a [u8]),
    /// `+OK`.
    Ok,
    /// `-ERR text`.
    Err(&'a [u8]),
}

/// A published message, borrowed from the read buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Publish<'a> {
    /// The subject: not empty and without white space, otherwise unchecked.
    pub subject: &'a [u8],
    /// The reply subject; empty for none.
    pub reply: &'a [u8],
    /// The length of the header block within `body`, for `HPUB`.
    pub header_len: Option<usize>,
    /// Headers and payload.
    pub body: &'a [u8],
    /// The sizes as the client wrote them, `11` or `12 23`: receivers get the same digits.
    pub sizes: &'a [u8],
    /// Everything behind the subject, from the reply (or the sizes) to the line end behind the payload,
    /// if it is spelled exactly as in a delivery: single blanks, CRLF. It can then be copied in one piece.
    pub tail: Option<&'a [u8]>,
}

impl<'a> Publish<'a> {
    /// Returns the header block, which is empty without headers.
    pub fn headers(&self) -> &'a [u8] {
        self.body.get(..self.header_len.unwrap_or(0)).unwrap_or_default()
    }

    /// Returns the payload, behind the header block.
    pub fn payload(&self) -> &'a [u8] {
        self.body.get(self.header_len.unwrap_or(0)..).unwrap_or_default()
    }

    /// Returns true if it has a header block that is delivered.
    // NATS 2.14: `HPUB` with a header length of 0 is delivered as `MSG`.
    pub fn has_headers(&self) -> bool {
        self.header_len.is_some_and(|len| len > 0)
    }
}
