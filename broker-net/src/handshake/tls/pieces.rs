//! Takes chunks from a list of pieces.

use std::io::IoSlice;

/// Reads pieces as one sequence of bytes.
pub(super) struct Cursor<'a> {
    pieces: &'a [IoSlice<'a>],
    /// The bytes already taken from the first piece.
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(pieces: &'a [IoSlice<'a>]) -> Self {
        Self { pieces, at: 0 }
    }

    /// Takes the available bytes, `most` at most: borrows them if one piece holds them, else copies them into
    /// `gathered`, which must be that long.
    pub(super) fn take<'b>(&mut self, most: usize, gathered: &'b mut [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        self.skip_empty();
        let Some((first, others)) = self.pieces.split_first() else { return &[] };
        let first: &'a [u8] = &first[self.at..];
        if first.len() >= most || others.is_empty() {
            let len = first.len().min(most);
            self.advance(len);
            return &first[..len];
        }
        let mut filled = 0;
        while filled < most {
            self.skip_empty();
            let Some(piece) = self.pieces.first() else { break };
            let piece = &piece[self.at..];
            let len = piece.len().min(most - filled);
            gathered[filled..filled + len].copy_from_slice(&piece[..len]);
            filled += len;
            self.advance(len);
        }
        &gathered[..filled]
    }

    fn advance(&mut self, len: usize) {
        self.at += len;
    }

    fn skip_empty(&mut self) {
        while self.pieces.first().is_some_and(|piece| piece.len() == self.at) {
            self.pieces = &self.pieces[1..];
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_taken_in_order_whatever_their_sizes() {
        let all: Vec<u8> = (0..=255).cycle().take(2000).collect();
        for sizes in [&[2000][..], &[0, 1, 0, 999, 1000, 0], &[1; 2000], &[300, 1700], &[100; 20]] {
            let mut rest = &all[..];
            let mut slices = Vec::new();
            for size in sizes {
                let (piece, others) = rest.split_at(*size);
                slices.push(IoSlice::new(piece));
                rest = others;
            }
            for most in [1, 7, 100, 512, 3000] {
                let mut cursor = Cursor::new(&slices);
                let mut gathered = vec![0; most];
                let mut taken = Vec::new();
                loop {
                    let piece = cursor.take(most, &mut gathered);
                    assert!(piece.len() <= most);
                    assert!(piece.len() == most || taken.len() + piece.len() == all.len());
                    if piece.is_empty() {
                        break;
                    }
                    taken.extend_from_slice(piece);
                }
                assert_eq!(taken, all);
            }
        }
    }

    #[test]
    fn bytes_within_one_piece_are_not_copied() {
        let bytes = [1, 2, 3, 4];
        let slices = [IoSlice::new(&bytes)];
        let mut cursor = Cursor::new(&slices);
        let mut gathered = [0; 3];
        let piece = cursor.take(3, &mut gathered);
        assert_eq!(piece.as_ptr(), bytes.as_ptr());
        assert_eq!(cursor.take(3, &mut [0; 3]), [4]);
    }
}
