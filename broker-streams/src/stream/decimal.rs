//! Whole numbers of any length, in decimal: the values of counters.

use std::cmp::Ordering;
use std::fmt;

use super::limits::MAX_COUNTER_DIGITS;

/// A whole number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Decimal {
    is_negative: bool,
    /// The digits as numbers, the lowest first, without leading zeros; empty for zero.
    digits: Vec<u8>,
}

impl Decimal {
    /// Reads an optional sign and at least one digit.
    // Go 1.24: big.Int.SetString with base 10.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (is_negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if !is_number || digits.len() > MAX_COUNTER_DIGITS {
            return None;
        }
        let digits = digits.iter().rev().map(|digit| digit - b'0').collect();
        Some(Self::new(is_negative, digits))
    }

    fn new(is_negative: bool, mut digits: Vec<u8>) -> Self {
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Self { is_negative: is_negative && !digits.is_empty(), digits }
    }

    /// Returns true if the number is as long as counters may be.
    pub(super) fn is_too_long(&self) -> bool {
        self.digits.len() > MAX_COUNTER_DIGITS
    }

    /// Returns the sum.
    pub(super) fn plus(&self, other: &Self) -> Self {
        if self.is_negative == other.is_negative {
            return Self::new(self.is_negative, sum(&self.digits, &other.digits));
        }
        match compare(&self.digits, &other.digits) {
            Ordering::Equal => Self::default(),
            Ordering::Greater => {
                Self::new(self.is_negative, difference(&self.digits, &other.digits))
            }
            Ordering::Less => Self::new(other.is_negative, difference(&other.digits, &self.digits)),
        }
    }

    /// Returns the difference.
    pub(super) fn minus(&self, other: &Self) -> Self {
        self.plus(&Self::new(!other.is_negative, other.digits.clone()))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        if self.is_negative {
            f.write_str("-")?;
        }
        self.digits.iter().rev().try_for_each(|digit| write!(f, "{digit}"))
    }
}

fn compare(left: &[u8], right: &[u8]) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.iter().rev().cmp(right.iter().rev()))
}

fn sum(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(left.len().max(right.len()) + 1);
    let mut carry = 0;
    for at in 0..left.len().max(right.len()) {
        let digit = left.get(at).unwrap_or(&0) + right.get(at).unwrap_or(&0) + carry;
        out.push(digit % 10);
        carry = digit / 10;
    }
    out.push(carry);
    out
}

/// Subtracts a number that is not larger.
fn difference(larger: &[u8], smaller: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(larger.len());
    let mut borrow = 0;
    for (at, digit) in larger.iter().enumerate() {
        let taken = smaller.get(at).unwrap_or(&0) + borrow;
        borrow = u8::from(*digit < taken);
        out.push(digit + 10 * borrow - taken);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_and_differences_are_those_of_numbers(left: i64, right: i64) {
            let decimal = |number: i128| Decimal::parse(number.to_string().as_bytes()).unwrap();
            let (a, b) = (i128::from(left), i128::from(right));
            prop_assert_eq!(decimal(a).plus(&decimal(b)), decimal(a + b));
            prop_assert_eq!(decimal(a).minus(&decimal(b)), decimal(a - b));
            prop_assert_eq!(decimal(a).to_string(), a.to_string());
        }
    }

    #[test]
    fn signs_and_zeros_are_read() {
        for (text, number) in [("+007", "7"), ("-0", "0"), ("-12", "-12"), ("0", "0")] {
            assert_eq!(Decimal::parse(text.as_bytes()).unwrap().to_string(), number);
        }
        for text in ["", "-", "1.5", "x", "1_000", " 1"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
    }
}
