//! The functions that cut one token.

/// The ways to cut one token at a number of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cut {
    SplitFromLeft,
    SplitFromRight,
    SliceFromLeft,
    SliceFromRight,
    Left,
    Right,
}

impl Cut {
    /// Writes `token`, cut at `size` bytes; uncut if it is not longer than that.
    pub(super) fn write(self, token: &[u8], size: usize, out: &mut Vec<u8>) {
        let len = token.len();
        if size == 0 || size >= len {
            return out.extend_from_slice(token);
        }
        match self {
            Self::SplitFromLeft => two(token.split_at(size), out),
            Self::SplitFromRight => two(token.split_at(len - size), out),
            Self::SliceFromLeft => join(token.chunks(size), out),
            Self::SliceFromRight => {
                let (first, rest) = token.split_at(len % size);
                let first = Some(first).filter(|first| !first.is_empty());
                join(first.into_iter().chain(rest.chunks(size)), out);
            }
            Self::Left => out.extend_from_slice(&token[..size]),
            Self::Right => out.extend_from_slice(&token[len - size..]),
        }
    }
}

fn two((left, right): (&[u8], &[u8]), out: &mut Vec<u8>) {
    join([left, right].into_iter(), out);
}

fn join<'a>(tokens: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    for (at, token) in tokens.enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(token);
    }
}
