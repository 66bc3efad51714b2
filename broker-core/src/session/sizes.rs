//! The sizes of a message as text.

/// The sizes of the previous message as written on the wire, for receivers that use them.
pub(super) struct Sizes {
    text: [u8; 41],
    begin: usize,
    of: (Option<usize>, usize),
}

impl Default for Sizes {
    fn default() -> Self {
        let mut text = [b' '; 41];
        text[40] = b'0';
        Self { text, begin: 40, of: (None, 0) }
    }
}

impl Sizes {
    #[inline(always)]
    pub(super) fn of(&mut self, header_len: Option<usize>, len: usize) -> &[u8] {
        if self.of != (header_len, len) {
            self.write(header_len, len);
        }
        &self.text[self.begin..]
    }

    #[cold]
    #[inline(never)]
    fn write(&mut self, header_len: Option<usize>, len: usize) {
        self.of = (header_len, len);
        self.begin = self.digits(self.text.len(), len);
        if let Some(header_len) = header_len {
            self.begin -= 1;
            self.text[self.begin] = b' ';
            self.begin = self.digits(self.begin, header_len);
        }
    }

    /// Writes a number that ends before `end`; returns its beginning.
    fn digits(&mut self, end: usize, mut number: usize) -> usize {
        let mut at = end;
        loop {
            at -= 1;
            self.text[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_numbers() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.of(None, usize::MAX), usize::MAX.to_string().as_bytes());
        let both = format!("{0} {0}", usize::MAX);
        assert_eq!(sizes.of(Some(usize::MAX), usize::MAX), both.as_bytes());
        for _ in 0..2 {
            assert_eq!(sizes.of(None, 0), b"0");
            assert_eq!(sizes.of(Some(12), 1048), b"12 1048");
            assert_eq!(sizes.of(Some(12), 1048), b"12 1048", "the text is reused");
            assert_eq!(sizes.of(None, 1048), b"1048");
        }
    }
}
