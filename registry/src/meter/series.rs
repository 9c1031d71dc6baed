//! Sizes as they change, and what they add up to over a period. Times are in seconds since 1970.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

/// A value for each of the three sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Three<T> {
    /// Of the originals of all revisions that branches and tags lead to: a file counts in each.
    pub logical: T,
    /// Of these originals, each once.
    pub unique: T,
    /// Of what is stored for them, each tensor once.
    pub stored: T,
}

/// Sizes in bytes.
pub type Sizes = Three<u64>;

/// Bytes times seconds.
pub type ByteSeconds = Three<u128>;

impl<T: Copy> Three<T> {
    /// Returns what `change` makes of each value, and the one of `other` beside it.
    pub fn with<U: Copy, V>(self, other: Three<U>, change: impl Fn(T, U) -> V) -> Three<V> {
        Three {
            logical: change(self.logical, other.logical),
            unique: change(self.unique, other.unique),
            stored: change(self.stored, other.stored),
        }
    }

    /// Returns what `change` makes of each value.
    pub fn map<V>(self, change: impl Fn(T) -> V) -> Three<V> {
        self.with(self, |value, _| change(value))
    }
}

/// Sizes as they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    steps: Vec<(u64, Sizes)>,
}

/// Sizes over a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Period {
    /// Their integral.
    pub byte_seconds: ByteSeconds,
    /// The smallest.
    pub min: Sizes,
    /// The mean, rounded down.
    pub mean: Sizes,
    /// The largest.
    pub max: Sizes,
    /// Those at the end.
    pub end: Sizes,
}

impl Series {
    /// Sets the sizes from a time on, which is not before that of the last step.
    pub(crate) fn set(&mut self, time: u64, sizes: Sizes) {
        if self.end() == sizes {
            return;
        }
        match self.steps.last_mut() {
            Some(last) if last.0 == time => last.1 = sizes,
            _ => self.steps.push((time, sizes)),
        }
    }

    /// Returns the times at which the sizes changed, each with those from then on.
    pub fn steps(&self) -> &[(u64, Sizes)] {
        &self.steps
    }

    /// Returns the last sizes.
    pub fn end(&self) -> Sizes {
        self.steps.last().map_or_else(Sizes::default, |step| step.1)
    }

    /// Returns the sizes at a time.
    pub fn at(&self, time: u64) -> Sizes {
        let after = self.steps.partition_point(|step| step.0 <= time);
        after.checked_sub(1).map_or_else(Sizes::default, |last| self.steps[last].1)
    }

    /// Adds up the sizes from the first second of a period to the last one before its end.
    pub fn over(&self, period: Range<u64>) -> Period {
        let first = self.at(period.start);
        let mut done = Period { min: first, mean: first, max: first, ..Period::default() };
        let (mut since, mut sizes) = (period.start, first);
        let within = self.steps.iter().filter(|step| period.contains(&step.0));
        for &(time, next) in within.chain([&(period.end, Sizes::default())]) {
            let seconds = u128::from(time.saturating_sub(since));
            let added = sizes.map(|size| u128::from(size) * seconds);
            done.byte_seconds = done.byte_seconds.with(added, |sum, added| sum + added);
            if seconds > 0 {
                done.min = done.min.with(sizes, u64::min);
                done.max = done.max.with(sizes, u64::max);
            }
            (since, sizes) = (time, next);
        }
        if period.start < period.end {
            let seconds = u128::from(period.end - period.start);
            done.mean = done.byte_seconds.map(|sum| (sum / seconds) as u64);
        }
        done.end = self.at(period.end);
        done
    }

    /// Adds up several.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        // The changes at each time, as what comes and what goes.
        let mut changes: BTreeMap<u64, (ByteSeconds, ByteSeconds)> = BTreeMap::new();
        let plus = |a: ByteSeconds, b: Sizes| a.with(b, |a, b| a + u128::from(b));
        for series in all {
            let mut before = Sizes::default();
            for &(time, sizes) in &series.steps {
                let (comes, goes) = changes.entry(time).or_default();
                (*comes, *goes) = (plus(*comes, sizes), plus(*goes, before));
                before = sizes;
            }
        }
        let (mut sum, mut total) = (Self::default(), ByteSeconds::default());
        for (time, (comes, goes)) in changes {
            total = total.with(comes, |a, b| a + b).with(goes, |a, b| a - b);
            sum.set(time, total.map(|size| u64::try_from(size).unwrap_or(u64::MAX)));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(size: u64) -> Sizes {
        Sizes { logical: 2 * size, unique: size, stored: size / 2 }
    }

    fn series(steps: &[(u64, u64)]) -> Series {
        let mut series = Series::default();
        steps.iter().for_each(|&(time, size)| series.set(time, sizes(size)));
        series
    }

    #[test]
    fn a_period_begins_and_ends_between_changes() {
        let series = series(&[(10, 100), (20, 300), (20, 200), (30, 0)]);
        assert_eq!(series.steps().len(), 3);
        let whole = series.over(0..40);
        assert_eq!(whole.byte_seconds.unique, 3_000);
        assert_eq!(whole.byte_seconds.logical, 6_000);
        assert_eq!((whole.min.unique, whole.mean.unique, whole.max.unique), (0, 75, 200));
        let part = series.over(15..25);
        assert_eq!(part.byte_seconds.unique, 1_500);
        assert_eq!((part.min.unique, part.max.unique, part.end.unique), (100, 200, 200));
        let none = series.over(15..15);
        assert_eq!((none.byte_seconds.unique, none.mean.unique, none.end.unique), (0, 100, 100));
    }

    #[test]
    fn a_sum_has_the_changes_of_all() {
        let (a, b) = (series(&[(10, 100), (30, 0)]), series(&[(5, 10), (10, 20), (40, 30)]));
        let sum = Series::sum([&a, &b]);
        for time in 0..50 {
            let expected = a.at(time).with(b.at(time), |a, b| a + b);
            assert_eq!(sum.at(time), expected, "{time}");
        }
    }
}
