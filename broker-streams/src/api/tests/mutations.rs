//! Requests that are nearly those of the dialogues.

use super::dialogue::{Step, read};
use super::dialogues;
use super::host::Account;

/// A generator of numbers, by xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

const PIECES: [&str; 12] = [
    "{",
    "}",
    "[",
    "\"",
    ",",
    ":",
    "null",
    "-1",
    "18446744073709551615",
    "9223372036854775807",
    ".>",
    "\\u0000",
];

/// Changes one place: removes, doubles or replaces bytes.
fn mutate(text: &str, random: &mut Random) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = random.below(chars.len() + 1);
    let end = (at + random.below(4)).min(chars.len());
    let piece = match random.below(3) {
        0 => String::new(),
        1 => chars[at..end].iter().collect::<String>().repeat(2),
        _ => PIECES[random.below(PIECES.len())].to_owned(),
    };
    let (before, after) = (&chars[..at], &chars[end..]);
    before.iter().collect::<String>() + &piece + &after.iter().collect::<String>()
}

#[test]
fn no_request_makes_the_api_panic() {
    let mut random = Random(1);
    for entry in std::fs::read_dir(dialogues()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for _ in 0..20 {
            let mut account = Account::default();
            for step in read(&text) {
                let Step::Request { subject, payload, .. } = step else { continue };
                let (mut subject, mut payload) = (subject.to_owned(), payload.to_owned());
                match random.below(4) {
                    0 => {}
                    1 => subject = mutate(&subject, &mut random).replace(' ', ""),
                    _ => payload = mutate(&payload, &mut random),
                }
                if let Some(answer) = account.request(&subject, &payload, b"") {
                    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
                    assert!(answer["type"].is_string(), "{subject} {payload}");
                }
            }
        }
    }
}
