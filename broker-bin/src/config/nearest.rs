//! Suggestions for misspelled words.

/// Returns the element of `known` with the smallest edit distance to `word`, if it is small enough
/// to be the intended one.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    // About a third of the letters may differ.
    let bound = word.chars().count().div_ceil(3).clamp(1, 4);
    known
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Damerau-Levenshtein distance: letters added, omitted, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best =
                (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] =
        ["listen", "port", "max_payload", "max_pending", "authorization", "http_port"];

    #[test]
    fn the_nearest_word_is_found() {
        for (typed, meant) in [
            ("listn", "listen"),
            ("lisetn", "listen"),
            ("LISTEN", "listen"),
            ("prot", "port"),
            ("max_paylaod", "max_payload"),
            ("maxpending", "max_pending"),
            ("authorisation", "authorization"),
            ("htp_port", "http_port"),
            ("pot", "port"),
        ] {
            assert_eq!(nearest(typed, KNOWN.into_iter()), Some(meant), "{typed}");
        }
    }

    #[test]
    fn a_dissimilar_word_is_not_found() {
        for typed in ["foo", "", "x", "jetstream", "max"] {
            assert_eq!(nearest(typed, KNOWN.into_iter()), None, "{typed}");
        }
    }

    #[test]
    fn a_swap_counts_once() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("ü", "u"), 1);
    }
}
