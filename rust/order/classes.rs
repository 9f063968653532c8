//! The classes that labels name, numbered in the order of their first samples, so that what the labels
//! are called does not matter.

use std::collections::HashMap;
use std::ops::Range;

use super::narrow::concatenated;
use crate::error::Result;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// The widest range of labels that a table stands for; others are looked up by name, and the class of
/// each sample is then kept.
const WIDEST: usize = 1 << 16;

/// Labels taken by one thread between two looks at the stop request.
const STEP: usize = 1 << 20;

/// Labels as they lie in memory or in a file.
#[derive(Clone, Copy, Debug)]
pub enum Labels<'a> {
    /// One byte each.
    U8(&'a [u8]),
    /// Four bytes each.
    I32(&'a [i32]),
    /// Eight bytes each.
    I64(&'a [i64]),
}

impl Labels<'_> {
    /// How many there are.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::U8(labels) => labels.len(),
            Self::I32(labels) => labels.len(),
            Self::I64(labels) => labels.len(),
        }
    }
}

/// A label of any width.
pub(super) trait Label: Copy + Ord + Into<i64> + Send + Sync {}
impl<L: Copy + Ord + Into<i64> + Send + Sync> Label for L {}

/// One class as its labels show it.
#[derive(Clone, Copy)]
struct Class {
    size: u64,
    /// Its first sample.
    first: u64,
}

/// The classes of a data set, numbered.
pub(super) struct Classes {
    /// Samples of each class, over all shards.
    pub(super) sizes: Vec<usize>,
    numbers: HashMap<i64, u32>,
}

/// Finds the number of a sample's class.
pub(super) enum Numbers {
    /// By label, from the least one on.
    Table {
        /// The least label.
        least: i64,
        /// The class of each label.
        numbers: Vec<u32>,
    },
    /// By sample.
    Kept(Vec<u32>),
}

impl Classes {
    /// Reads all labels; those of this shard begin at sample `first`.
    pub(super) fn new<L: Label>(context: &Context<'_>, labels: &[L], first: usize) -> Result<Self> {
        let tallies = context.accumulate(labels.len(), STEP, Tally::default, |tally, range| {
            for start in range.clone().step_by(CHUNK) {
                tally.take(labels, start..range.end.min(start + CHUNK), first);
            }
        })?;
        let words: Vec<u64> = tallies
            .into_iter()
            .flat_map(Tally::classes)
            .flat_map(|(label, class)| [label.cast_unsigned(), class.size, class.first])
            .collect();
        let mut classes: HashMap<i64, Class> = HashMap::new();
        for word in concatenated(context, &words)?.chunks_exact(3) {
            let class = classes.entry(word[0].cast_signed()).or_insert(Class { size: 0, first: u64::MAX });
            class.size += word[1];
            class.first = class.first.min(word[2]);
        }
        let mut classes: Vec<(i64, Class)> = classes.into_iter().collect();
        classes.sort_unstable_by_key(|(_, class)| class.first);
        Ok(Self {
            sizes: classes.iter().map(|(_, class)| class.size as usize).collect(),
            numbers: classes.iter().zip(0..).map(|(&(label, _), number)| (label, number)).collect(),
        })
    }

    /// The way from a sample to its class's number.
    pub(super) fn numbers<L: Label>(self, context: &Context<'_>, labels: &[L]) -> Result<Numbers> {
        let least = self.numbers.keys().copied().min().unwrap_or(0);
        let most = self.numbers.keys().copied().max().unwrap_or(0);
        if width(least, most) <= WIDEST as u64 {
            let mut numbers = vec![0; width(least, most) as usize];
            for (label, number) in self.numbers {
                numbers[(label - least) as usize] = number;
            }
            return Ok(Numbers::Table { least, numbers });
        }
        let kept = context.map_chunks(labels.len(), CHUNK, |range| {
            labels[range].iter().map(|&label| self.numbers[&label.into()]).collect::<Vec<u32>>()
        })?;
        Ok(Numbers::Kept(kept.concat()))
    }
}

/// How many labels there can be from `least` to `most`, or the greatest number where that overflows.
const fn width(least: i64, most: i64) -> u64 {
    most.abs_diff(least).saturating_add(1)
}

/// The least and the greatest label.
pub(super) fn extent<L: Label>(labels: &[L]) -> Option<(L, L)> {
    let &any = labels.first()?;
    Some(dispatch(
        #[inline(always)]
        || labels.iter().fold((any, any), |(least, most), &label| (least.min(label), most.max(label))),
    ))
}

/// The classes seen so far: in a table while their labels are close together.
#[derive(Default)]
struct Tally {
    least: i64,
    table: Vec<Class>,
    others: HashMap<i64, Class>,
}

impl Tally {
    fn take<L: Label>(&mut self, labels: &[L], range: Range<usize>, first: usize) {
        let part = &labels[range.clone()];
        let Some((least, most)) = extent(part) else { return };
        let start = (first + range.start) as u64;
        if self.widen(least.into(), most.into()) {
            for (&label, at) in part.iter().zip(start..) {
                let class = &mut self.table[(label.into() - self.least) as usize];
                class.first = class.first.min(at);
                class.size += 1;
            }
        } else {
            for (&label, at) in part.iter().zip(start..) {
                self.others.entry(label.into()).or_insert(Class { size: 0, first: at }).size += 1;
            }
        }
    }

    /// Makes room for the labels from `least` to `most`; false where that would be too much.
    fn widen(&mut self, least: i64, most: i64) -> bool {
        let none = Class { size: 0, first: u64::MAX };
        let old = self.table.len();
        let (old_least, old_most) =
            if old == 0 { (least, most) } else { (self.least, self.least + (old - 1) as i64) };
        let (least, most) = (least.min(old_least), most.max(old_most));
        if width(least, most) > WIDEST as u64 {
            return false;
        }
        let before = if old == 0 { 0 } else { (old_least - least) as usize };
        self.table.splice(..0, std::iter::repeat_n(none, before));
        self.table.resize(width(least, most) as usize, none);
        self.least = least;
        true
    }

    fn classes(self) -> impl Iterator<Item = (i64, Class)> {
        let least = self.least;
        let tabled = self.table.into_iter().enumerate().map(move |(i, class)| (least + i as i64, class));
        tabled.filter(|(_, class)| class.size > 0).chain(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbered_by_their_first_samples_however_far_apart() {
        for labels in [vec![7i64, -2, 7, 5, -2, 7], vec![0, i64::MIN, 0, i64::MAX, i64::MIN, 0]] {
            for threads in [1, 2] {
                let context = Context::new(Some(threads), &|| false).unwrap();
                let classes = Classes::new(&context, &labels, 0).unwrap();
                assert_eq!(classes.sizes, [3, 2, 1]);
                let of: Vec<u32> = match classes.numbers(&context, &labels).unwrap() {
                    Numbers::Table { least, numbers } => {
                        labels.iter().map(|label| numbers[(label - least) as usize]).collect()
                    }
                    Numbers::Kept(kept) => kept,
                };
                assert_eq!(of, [0, 1, 0, 2, 1, 0]);
            }
        }
    }

    #[test]
    fn a_table_grows_to_both_sides_and_gives_up_when_too_wide() {
        let mut tally = Tally::default();
        tally.take(&[5i64], 0..1, 0);
        tally.take(&[5i64, 9, 3], 1..3, 0);
        tally.take(&[1i64 << 40, 5], 0..2, 10);
        let mut seen: Vec<(i64, u64, u64)> = tally.classes().map(|(l, c)| (l, c.size, c.first)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(3, 1, 2), (5, 1, 0), (5, 1, 11), (9, 1, 1), (1 << 40, 1, 10)]);
    }
}
