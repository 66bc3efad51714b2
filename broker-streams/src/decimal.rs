//! Numbers as text.

/// Appends a number in decimal digits.
pub(crate) fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        for number in [0, 9, 10, 99, 100, 1_234_567_890, u64::MAX] {
            let mut text = Vec::new();
            write_decimal(&mut text, number);
            assert_eq!(text, number.to_string().as_bytes());
        }
    }
}
