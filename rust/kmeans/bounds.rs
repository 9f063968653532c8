//! What is known of each row between two assignments: no more than `upper` from its own center, no less
//! than `lower` from every other center of a group. Centers that move by δ loosen both by δ, and as long as
//! they do not meet, the label stands without a look at the row (Hamerly, "Making k-means even faster", SDM
//! 2010, with one group; Ding et al., "Yinyang k-means", ICML 2015, with several).
//!
//! Every bound is rounded outward, by more than the rounding of a distance formed directly, so a label that
//! stands is the one that would be found.

use std::ops::Range;

use super::kernel::ROWS;
use super::panel::Panel;
use super::short::SHORT;
use crate::float::Float;

/// Centers per group: several tiles of the kernel, and k/10 groups of about so many as in the paper.
const GROUP: usize = 12;

/// Values of the rows in a block: they stay in a core's cache.
const BLOCK_VALUES: usize = 1 << 17;

/// Products of a block: many are done between two looks at the stop request, and all of them together
/// have to stay well below a second.
const BLOCK_PRODUCTS: usize = 1 << 24;

/// Products per row below which looking up bounds costs as much as forming the products.
const LEAST_PRODUCTS: usize = 64;

/// As [`LEAST_PRODUCTS`], where rows are short and a pass over all of them is cheap.
const LEAST_SHORT_PRODUCTS: usize = 2048;

/// Above this share of open rows, in tenths, a block is computed whole.
const MOST_OPEN: usize = 6;

/// A bit for each of eight rows.
const ALL: u32 = (1 << ROWS) - 1;

/// A factor that rounds outward: some roundings of a root, a sum and a product.
const UP: f64 = 1.0 + 16.0 * f64::EPSILON;
const DOWN: f64 = 1.0 - 16.0 * f64::EPSILON;

/// Distances of this size square to nothing, where relative errors end.
const TINY: f64 = 1e-150;

/// A row that changed clusters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) row: usize,
    /// The cluster that it left; none in the first assignment.
    pub(super) from: Option<usize>,
    pub(super) to: usize,
}

/// How far the centers moved since the last assignment, at most.
pub(super) struct Drift {
    centers: Vec<f64>,
    groups: Vec<f64>,
}

impl Drift {
    pub(super) fn new(old: &[f64], new: &[f64], columns: usize, scale: f64) -> Self {
        let margin = margin(columns);
        let length = |(old, new): (&[f64], &[f64])| {
            let square: f64 = old.iter().zip(new).map(|(old, new)| ((new - old) * scale).powi(2)).sum();
            square.sqrt() * margin + TINY
        };
        let centers: Vec<f64> =
            old.chunks_exact(columns).zip(new.chunks_exact(columns)).map(length).collect();
        let groups = centers.chunks(group_size(centers.len()));
        let groups = groups.map(|group| group.iter().copied().fold(0.0, f64::max)).collect();
        Self { centers, groups }
    }
}

/// A factor beyond the rounding of a distance formed directly, and of its root.
fn margin(columns: usize) -> f64 {
    1.0 + (4.0 * columns as f64 + 32.0) * f64::EPSILON
}

/// Few centers are one group.
fn group_size(k: usize) -> usize {
    if k < 2 * GROUP { k } else { GROUP }
}

/// Consecutive rows, their labels and their bounds.
pub(super) struct Block {
    first: usize,
    pub(super) labels: Vec<i32>,
    bounded: bool,
    margin: f64,
    upper: Vec<f64>,
    /// Rows × groups.
    lower: Vec<f64>,
}

/// What is known of an open row while its groups are gone through.
struct Open {
    /// In the block.
    at: usize,
    center: usize,
    /// The group it was found in; none for the center that the row had.
    group: Option<usize>,
    /// The squared distance of the center that the row had, where its group is not gone through.
    known: Option<f64>,
    value: f64,
    /// The least of the others of the center's group.
    beside: f64,
    /// The least of all others.
    second: f64,
}

impl Open {
    fn new(at: usize) -> Self {
        let infinity = f64::INFINITY;
        Self { at, center: 0, group: None, known: None, value: infinity, beside: infinity, second: infinity }
    }
}

impl Block {
    /// All rows, without a label or with those of the centers `known`.
    pub(super) fn all(
        rows: usize,
        columns: usize,
        k: usize,
        bounded: bool,
        known: Option<&[u32]>,
    ) -> Vec<Self> {
        let margin = margin(columns);
        let least = if columns > SHORT { LEAST_PRODUCTS } else { LEAST_SHORT_PRODUCTS };
        let bounded = bounded && k * columns >= least;
        let size = (BLOCK_VALUES / columns).min(BLOCK_PRODUCTS / k.saturating_mul(columns).max(1));
        let size = size.clamp(4 * ROWS, 4096).next_multiple_of(ROWS);
        let groups = k.div_ceil(group_size(k));
        let block = |first: usize| {
            let len = size.min(rows - first);
            let of = |count| if bounded { count } else { 0 };
            let mut labels = vec![-1; len];
            if let Some(known) = known {
                labels.iter_mut().zip(&known[first..]).for_each(|(label, known)| *label = *known as i32);
            }
            let (upper, lower) = (vec![f64::INFINITY; of(len)], vec![0.0; of(len * groups)]);
            Self { first, labels, bounded, margin, upper, lower }
        };
        (0..rows).step_by(size).map(block).collect()
    }

    /// Puts every row with its nearest center, the lowest of equally near ones; says which rows moved.
    pub(super) fn assign<T: Float>(&mut self, panel: &Panel<'_, T>, drift: Option<&Drift>) -> Vec<Move> {
        let mut moves = Vec::new();
        if let (true, Some(drift)) = (self.bounded, drift) {
            let open = self.loosen(drift);
            if open.len() * 10 <= self.labels.len() * MOST_OPEN {
                self.assign_open(panel, drift, &open, &mut moves);
                return moves;
            }
        }
        if self.bounded || !self.assign_short(panel, &mut moves) {
            self.assign_all(panel, &mut moves);
        }
        moves
    }

    /// Carries the bounds over to the moved centers; the rows whose label they leave open.
    fn loosen(&mut self, drift: &Drift) -> Vec<usize> {
        let groups = drift.groups.len();
        let mut open = Vec::new();
        for (at, (label, lower)) in self.labels.iter().zip(self.lower.chunks_exact_mut(groups)).enumerate() {
            let own = usize::try_from(*label).map_or(0.0, |label| drift.centers[label]);
            self.upper[at] = (self.upper[at] + own) * UP;
            let mut least = f64::INFINITY;
            for (lower, drift) in lower.iter_mut().zip(&drift.groups) {
                *lower = ((*lower - drift) * DOWN).max(0.0);
                least = least.min(*lower);
            }
            // A bound that overflowed leaves everything open.
            let stands = self.upper[at] * self.margin + TINY < least;
            if !stands {
                open.push(at);
            }
        }
        open
    }

    /// Every row and every center where rows are short and nothing is kept of them but the label; whether
    /// they are.
    fn assign_short<T: Float>(&mut self, panel: &Panel<'_, T>, moves: &mut Vec<Move>) -> bool {
        let (first, labels) = (self.first, &mut self.labels);
        panel.label_short(
            first..first + labels.len(),
            #[inline(always)]
            |row, found, certain| {
                let end = labels.len().min(row - first + ROWS);
                let labels = &mut labels[row - first..end];
                if certain == ALL && labels == found {
                    return;
                }
                for (lane, (label, &found)) in labels.iter_mut().zip(found).enumerate() {
                    let sure = certain >> lane & 1 == 1;
                    let found = if sure { found } else { panel.decide(row + lane) as i32 };
                    if *label != found {
                        let from = usize::try_from(*label).ok();
                        moves.push(Move { row: row + lane, from, to: found as usize });
                        *label = found;
                    }
                }
            },
        )
    }

    /// Every row and every center, eight rows at a time.
    fn assign_all<T: Float>(&mut self, panel: &Panel<'_, T>, moves: &mut Vec<Move>) {
        let places: [usize; ROWS] = std::array::from_fn(|place| place);
        let mut open = Vec::with_capacity(ROWS);
        for first in (0..self.labels.len()).step_by(ROWS) {
            open.clear();
            open.extend((first..self.labels.len().min(first + ROWS)).map(Open::new));
            let places = &places[..open.len()];
            for group in 0..panel.len().div_ceil(group_size(panel.len())) {
                self.compare(panel, &mut open, places, group);
            }
            moves.extend(open.iter().filter_map(|open| self.settle(panel, open)));
        }
    }

    /// The open rows, each with the groups that may hold its nearest center.
    fn assign_open<T: Float>(
        &mut self,
        panel: &Panel<'_, T>,
        drift: &Drift,
        rows: &[usize],
        moves: &mut Vec<Move>,
    ) {
        let groups = drift.groups.len();
        let mut open = Vec::with_capacity(rows.len());
        let mut members = vec![Vec::new(); groups];
        for &at in rows {
            if groups == 1 {
                members[0].push(open.len());
                open.push(Open::new(at));
                continue;
            }
            // One distance to the row's own center closes many groups.
            let (row, label) = (self.first + at, self.labels[at] as usize);
            let square = panel.distance(row, label);
            self.upper[at] = square.sqrt() * self.margin + TINY;
            let reach = self.upper[at] * self.margin + TINY;
            let lower = &self.lower[at * groups..(at + 1) * groups];
            let before = members.iter().map(Vec::len).sum::<usize>();
            for (members, lower) in members.iter_mut().zip(lower) {
                if lower.partial_cmp(&reach) != Some(std::cmp::Ordering::Greater) {
                    members.push(open.len());
                }
            }
            if members.iter().map(Vec::len).sum::<usize>() == before {
                continue;
            }
            let mut known = Open::new(at);
            if members[label / group_size(panel.len())].last() != Some(&open.len()) {
                (known.center, known.value, known.known) = (label, panel.value(row, square), Some(square));
            }
            open.push(known);
        }
        for (group, members) in members.iter().enumerate() {
            for places in members.chunks(ROWS) {
                self.compare(panel, &mut open, places, group);
            }
        }
        moves.extend(open.iter().filter_map(|open| self.settle(panel, open)));
    }

    /// Takes one group of centers into account for up to eight of the open rows.
    fn compare<T: Float>(&mut self, panel: &Panel<'_, T>, open: &mut [Open], places: &[usize], group: usize) {
        let row = |lane: usize| self.first + open[places[lane.min(places.len() - 1)]].at;
        let rows: [usize; ROWS] = std::array::from_fn(row);
        let found = panel.nearest_two(rows, members(panel.len(), group));
        for (lane, &place) in places.iter().enumerate() {
            let open = &mut open[place];
            let (least, second) = (found.least[lane], found.second[lane]);
            self.set_lower(panel, open.at, group, least);
            if least < open.value {
                open.second = open.second.min(open.value).min(second);
                (open.center, open.group) = (found.center[lane] as usize, Some(group));
                (open.value, open.beside) = (least, second);
            } else {
                open.second = open.second.min(least);
            }
        }
    }

    /// The label of a row, certain now.
    fn settle<T: Float>(&mut self, panel: &Panel<'_, T>, open: &Open) -> Option<Move> {
        let (at, row) = (open.at, self.first + open.at);
        let old = usize::try_from(self.labels[at]).ok();
        let certain = open.second - open.value > 2.0 * panel.error(row);
        let label = if certain { open.center } else { panel.decide(row) };
        if self.bounded {
            let size = group_size(panel.len());
            if certain && let Some(group) = open.group {
                self.upper[at] = panel.square(row, open.value).1.max(0.0).sqrt() * UP;
                self.set_lower(panel, at, group, open.beside);
            } else {
                self.upper[at] = panel.distance(row, label).sqrt() * self.margin + TINY;
            }
            // A row that leaves has its old center among the others.
            if let (Some(square), Some(old)) = (open.known, old.filter(|&old| old != label)) {
                let lower = &mut self.lower[at * panel.len().div_ceil(size) + old / size];
                *lower = lower.min((square.sqrt() / self.margin - TINY).max(0.0));
            }
        }
        if old == Some(label) {
            return None;
        }
        self.labels[at] = label as i32;
        Some(Move { row, from: old, to: label })
    }

    /// What the least value of a group says of all its centers.
    fn set_lower<T: Float>(&mut self, panel: &Panel<'_, T>, at: usize, group: usize, least: f64) {
        if self.bounded {
            let groups = panel.len().div_ceil(group_size(panel.len()));
            let square = panel.square(self.first + at, least).0;
            self.lower[at * groups + group] = square.max(0.0).sqrt() * DOWN;
        }
    }
}

fn members(k: usize, group: usize) -> Range<usize> {
    let size = group_size(k);
    group * size..k.min((group + 1) * size)
}

#[cfg(test)]
mod tests {
    use super::super::rows::Rows;
    use super::*;
    use crate::par::Context;

    fn noise(i: usize) -> f64 {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }

    /// The nearest center of a row by the distances themselves.
    fn nearest<T: Float>(rows: &Rows<'_, T>, row: usize, centers: &[f64]) -> i32 {
        let distances = centers.chunks_exact(rows.columns).map(|center| rows.distance(row, center)).zip(0..);
        distances.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1
    }

    /// Rows close to the points halfway between two centers, some exactly there: the product alone cannot
    /// tell which center is nearer. Every label must be the argmin of the distance all the same, also
    /// where bounds carried over centers that move a little, step by step, decide.
    fn assert_certain<T: Float>(columns: usize, k: usize, closeness: f64) {
        let mut centers: Vec<f64> = (0..k * columns).map(|i| T::from_f64(10.0 + noise(i)).to_f64()).collect();
        let center = |j: usize| &centers[j * columns..(j + 1) * columns];
        let x: Vec<T> = (0..500 * columns)
            .map(|i| {
                let (row, column) = (i / columns, i % columns);
                let halfway = f64::midpoint(center(row % k)[column], center((row + 1) % k)[column]);
                let aside = [0.0, closeness, 0.1][row % 3] * noise(i + (1 << 30));
                T::from_f64(halfway + aside)
            })
            .collect();
        let context = Context::new(Some(1), &|| false).unwrap();
        let rows = Rows::new(&context, &x, columns, k).unwrap();
        let mut blocks = Block::all(rows.len, columns, k, true, None);
        let mut drift = None;
        for step in 0..5 {
            let panel = Panel::new(&rows, &centers);
            for block in &mut blocks {
                let before = block.labels.clone();
                let moves = block.assign(&panel, drift.as_ref());
                for (at, (label, before)) in block.labels.iter().zip(before).enumerate() {
                    let row = block.first + at;
                    assert_eq!(*label, nearest(&rows, row, &centers), "row {row} of {columns} columns");
                    assert_eq!(moves.iter().any(|step| step.row == row), *label != before);
                }
            }
            let moved: Vec<f64> =
                centers.iter().enumerate().map(|(i, c)| c + 1e-3 * noise(i + (step << 20))).collect();
            drift = Some(Drift::new(&centers, &moved, columns, rows.scale));
            centers = moved;
        }
    }

    #[test]
    fn labels_are_certain_where_the_product_is_not() {
        for (columns, k) in [(1, 80), (2, 40), (16, 140), (17, 6), (40, 60), (300, 30), (2000, 6)] {
            assert_certain::<f32>(columns, k, 1e-6);
            assert_certain::<f64>(columns, k, 1e-15);
        }
    }
}
