//! The requests of an in-process client that wait for their answers, all by one subscription.

use std::task::{Context, Poll, Waker};

use crate::limits::LOCAL_REQUESTS;
use crate::message::Message;

/// The length of the token that identifies a request.
const TOKEN_LEN: usize = 8;

/// The letters of a token, six bits each.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The name of a request: its place, and a number that differs for the next request in that place, so that a late
/// answer reaches none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Token {
    place: u16,
    number: u32,
}

const _: () = assert!(LOCAL_REQUESTS <= 1 << 16);

impl Token {
    /// Returns the last token of the subject of an answer.
    pub(crate) fn text(self) -> [u8; TOKEN_LEN] {
        let bits = (u64::from(self.number) << 16) | u64::from(self.place);
        std::array::from_fn(|at| LETTERS[(bits >> (6 * at)) as usize % 64])
    }

    /// Reads the token at the end of a subject.
    pub(super) fn read(subject: &[u8]) -> Option<Self> {
        let text = subject.last_chunk::<TOKEN_LEN>()?;
        let (mut bits, mut all) = (0u64, 0);
        for letter in text.iter().rev() {
            let value = VALUES[usize::from(*letter)];
            bits = (bits << 6) | u64::from(value);
            all |= value;
        }
        if all >= NO_LETTER {
            return None;
        }
        Some(Self { place: bits as u16, number: (bits >> 16) as u32 })
    }
}

/// The value of each letter; [`NO_LETTER`] for other bytes.
const VALUES: [u8; 256] = {
    let mut values = [NO_LETTER; 256];
    let mut value = 0;
    while value < LETTERS.len() {
        values[LETTERS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// A bit that the value of no letter has.
const NO_LETTER: u8 = 64;

/// The table of requests.
#[derive(Default)]
pub(super) struct Requests {
    requests: Vec<Option<Request>>,
    free: Vec<u16>,
    next_number: u32,
}

pub(super) struct Request {
    number: u32,
    answer: Option<Message>,
    waker: Option<Waker>,
}

impl Request {
    /// Answers it; returns the waker of the waiting task.
    #[inline]
    pub(super) fn answer(&mut self, message: Message) -> Option<Waker> {
        self.answer = Some(message);
        self.waker.take()
    }
}

impl Requests {
    /// Opens a request; `None` if the maximum number is open.
    pub(super) fn begin(&mut self) -> Option<Token> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.requests.len() < LOCAL_REQUESTS => {
                self.requests.push(None);
                (self.requests.len() - 1) as u16
            }
            None => return None,
        };
        self.next_number = self.next_number.wrapping_add(1);
        let token = Token { place, number: self.next_number };
        self.requests[usize::from(place)] =
            Some(Request { number: token.number, answer: None, waker: None });
        Some(token)
    }

    #[inline]
    fn get(&mut self, token: Token) -> Option<&mut Request> {
        let request = self.requests.get_mut(usize::from(token.place))?.as_mut()?;
        (request.number == token.number).then_some(request)
    }

    /// Returns the request of the token, if it waits for an answer.
    #[inline]
    pub(super) fn waiting(&mut self, token: Token) -> Option<&mut Request> {
        self.get(token).filter(|request| request.answer.is_none())
    }

    /// Returns the answer once it has arrived, which closes the request.
    pub(super) fn poll(&mut self, token: Token, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let Some(request) = self.get(token) else { return Poll::Ready(None) };
        if let Some(answer) = request.answer.take() {
            self.free(token.place);
            return Poll::Ready(Some(answer));
        }
        match &mut request.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            waker => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Closes a request.
    pub(super) fn end(&mut self, token: Token) {
        if self.get(token).is_some() {
            self.free(token.place);
        }
    }

    fn free(&mut self, place: u16) {
        self.requests[usize::from(place)] = None;
        self.free.push(place);
        if self.free.len() == self.requests.len() && self.requests.capacity() > KEPT {
            *self = Self { next_number: self.next_number, ..Self::default() };
        }
    }

    /// Returns the wakers of all tasks that wait.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        let requests = self.requests.iter_mut().flatten();
        requests.filter_map(|request| request.waker.take()).collect()
    }

    /// Returns the number of open requests.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.requests.iter().flatten().count()
    }
}

/// The number of places whose memory is kept while no request is open.
const KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Subject;

    fn answer(token: Token, payload: &'static str) -> Message {
        let subject = [&b"_INBOX.x."[..], &token.text()].concat();
        let subject = Subject::from_wire(&subject);
        Message { subject, reply: None, headers: None, payload: payload.into() }
    }

    fn poll(requests: &mut Requests, token: Token) -> Poll<Option<Message>> {
        requests.poll(token, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn tokens_are_read_back() {
        for (place, number) in [(0, 0), (1, 2), (u16::MAX, u32::MAX), (12_345, 3_000_000_000)] {
            let token = Token { place, number };
            assert!(Subject::parse(std::str::from_utf8(&token.text()).unwrap()).is_ok());
            assert_eq!(Token::read(&[b"a.", &token.text()[..]].concat()), Some(token));
        }
        for other in [&b""[..], b"short", b"_INBOX.a*b.cdef"] {
            assert_eq!(Token::read(other), None);
        }
    }

    #[test]
    fn the_first_answer_counts_and_late_ones_reach_no_later_request() {
        let mut requests = Requests::default();
        let first = requests.begin().unwrap();
        assert!(poll(&mut requests, first).is_pending());
        let woken = requests.waiting(first).and_then(|request| request.answer(answer(first, "a")));
        assert!(woken.is_some(), "the task is woken");
        assert!(requests.waiting(first).is_none());
        let Poll::Ready(Some(message)) = poll(&mut requests, first) else { panic!("no answer") };
        assert_eq!(message.payload, "a");
        let second = requests.begin().unwrap();
        assert_eq!(second.place, first.place, "the place is free again");
        assert!(requests.waiting(first).is_none(), "a late answer");
        assert!(poll(&mut requests, second).is_pending());
        requests.end(first);
        assert_eq!(requests.len(), 1, "a request is closed once");
        requests.end(second);
        assert_eq!(poll(&mut requests, second), Poll::Ready(None));
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn the_number_of_requests_is_bounded_and_their_memory_is_freed() {
        let mut requests = Requests::default();
        let tokens: Vec<Token> = std::iter::from_fn(|| requests.begin()).collect();
        assert_eq!(tokens.len(), LOCAL_REQUESTS);
        requests.end(tokens[7]);
        assert!(requests.begin().is_some() && requests.begin().is_none());
        assert!(requests.take_wakers().is_empty());
        let open: Vec<Token> = (0..LOCAL_REQUESTS)
            .filter_map(|place| {
                let number = requests.requests[place].as_ref()?.number;
                Some(Token { place: place as u16, number })
            })
            .collect();
        open.into_iter().for_each(|token| requests.end(token));
        assert_eq!((requests.len(), requests.requests.capacity()), (0, 0));
    }
}
