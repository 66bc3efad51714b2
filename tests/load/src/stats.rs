//! Summary statistics.

use std::time::Duration;

/// Measured durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    /// Adds a duration.
    #[inline]
    pub(crate) fn add(&mut self, ns: u64) {
        self.0.push(ns);
    }

    /// Adds all durations of another set.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Returns the median, and the values exceeded by 1 % and 0.1 %; `None` if nothing was
    /// measured.
    pub(crate) fn percentiles(mut self) -> Option<Percentiles> {
        self.0.sort_unstable();
        Some(Percentiles {
            p50: self.at(500)?,
            p99: self.at(990)?,
            p999: self.at(999)?,
            max: self.at(1000)?,
        })
    }

    /// Returns the least value that this many of a thousand do not exceed (nearest rank).
    fn at(&self, per_mille: usize) -> Option<Duration> {
        let rank = (self.0.len() * per_mille).div_ceil(1000).max(1);
        self.0.get(rank - 1).copied().map(Duration::from_nanos)
    }
}

/// Percentiles of [`Latencies`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Percentiles {
    /// Half are shorter.
    pub(crate) p50: Duration,
    /// 99 % are shorter.
    pub(crate) p99: Duration,
    /// 99.9 % are shorter.
    pub(crate) p999: Duration,
    /// The maximum.
    pub(crate) max: Duration,
}

/// Returns the median, the mean of the middle two for an even count; `None` without values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0)
}

/// Returns the median of the ratios of `ours` to `theirs` by round: both ran under the same
/// conditions.
pub(crate) fn median_ratio(theirs: &[f64], ours: &[f64]) -> Option<f64> {
    let pairs = theirs.iter().zip(ours).filter(|(theirs, _)| **theirs > 0.0);
    median(&pairs.map(|(theirs, ours)| ours / theirs).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_depend_on_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The second round was slow for both.
        assert_eq!(median_ratio(&[10.0, 100.0, 10.0], &[5.0, 40.0, 5.0]), Some(0.5));
        assert_eq!(median_ratio(&[0.0], &[1.0]), None);
        assert_eq!(median_ratio(&[], &[]), None);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut all = Latencies::default();
        for ns in (1..=1000).rev() {
            all.add(ns);
        }
        let mut more = Latencies::default();
        more.merge(all);
        let got = more.percentiles().unwrap();
        let ns = [got.p50, got.p99, got.p999, got.max].map(|d| d.as_nanos());
        assert_eq!(ns, [500, 990, 999, 1000]);
    }

    #[test]
    fn one_value_is_every_percentile_and_none_is_none() {
        let mut one = Latencies::default();
        one.add(7);
        let got = one.percentiles().unwrap();
        assert_eq!((got.p50.as_nanos(), got.p999.as_nanos()), (7, 7));
        assert!(Latencies::default().percentiles().is_none());
    }
}
