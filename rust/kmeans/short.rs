//! Rows of few columns. Eight of them lie side by side, one column to a vector, and meet four centers at a
//! time; what the nearest and the second nearest are stays in registers. All of it is in `f64`, so hardly
//! any row is ever left undecided.

use std::ops::Range;

use crate::lanes::{Kernel, Lanes, WIDTH, with_lanes};
use crate::simd::dispatch;

/// Up to so many columns a row is short.
pub(super) const SHORT: usize = 16;

/// Centers that share the loads of a column.
const ABREAST: usize = 4;

/// Eight values of one column.
pub(super) type Column = [f64; WIDTH];

/// Rows, eight to a tile; the last tile is filled up with zeros.
pub(super) struct Tiles {
    columns: usize,
    pub(super) values: Vec<Column>,
}

impl Tiles {
    pub(super) fn zeros(rows: usize, columns: usize) -> Self {
        Self { columns, values: vec![[0.0; WIDTH]; rows.div_ceil(WIDTH) * columns] }
    }

    /// Eight rows from anywhere.
    #[inline(always)]
    fn gather(&self, rows: [usize; WIDTH]) -> [Column; SHORT] {
        let mut tile = [[0.0; WIDTH]; SHORT];
        for (lane, row) in rows.into_iter().enumerate() {
            let from = &self.values[row / WIDTH * self.columns..][..self.columns];
            for (to, from) in tile.iter_mut().zip(from) {
                to[lane] = from[row % WIDTH];
            }
        }
        tile
    }
}

/// Centers, four to a group: ½‖b‖², then −b by columns. Those that fill up the last group lie at infinity.
pub(super) struct Centers {
    columns: usize,
    groups: Vec<[f64; ABREAST]>,
}

/// For each of eight rows the least h, its center and the second least among some centers.
pub(super) struct Found {
    pub(super) least: Column,
    pub(super) center: [i32; WIDTH],
    pub(super) second: Column,
}

impl Centers {
    /// From the rows b, as many as `halves` holds ½‖b‖².
    pub(super) fn new(b: &[f64], halves: &[f64]) -> Self {
        let columns = b.len() / halves.len();
        let mut groups = Vec::with_capacity(halves.len().div_ceil(ABREAST) * (columns + 1));
        for (b, halves) in b.chunks(ABREAST * columns).zip(halves.chunks(ABREAST)) {
            groups.push(std::array::from_fn(|i| halves.get(i).copied().unwrap_or(f64::INFINITY)));
            let column = |c| std::array::from_fn(|i| b.get(i * columns + c).map_or(0.0, |b: &f64| -*b));
            groups.extend((0..columns).map(column));
        }
        Self { columns, groups }
    }

    /// The groups that hold the centers in `range`, which begins with one of them.
    fn groups(&self, range: &Range<usize>) -> &[[f64; ABREAST]] {
        debug_assert!(range.start.is_multiple_of(ABREAST));
        let size = self.columns + 1;
        &self.groups[range.start / ABREAST * size..range.end.div_ceil(ABREAST) * size]
    }

    /// The nearest two of the centers in `range` for rows from anywhere.
    pub(super) fn nearest_two(&self, tiles: &Tiles, rows: [usize; WIDTH], range: Range<usize>) -> Found {
        let tile = dispatch(
            #[inline(always)]
            || tiles.gather(rows),
        );
        with_lanes(NearestTwo {
            tile: &tile[..self.columns],
            groups: self.groups(&range),
            first: range.start,
        })
    }

    /// Calls `each(tile, centers, certain)` for all rows of consecutive tiles: the nearest of all centers,
    /// and in bits, lane 0 lowest, whether the second nearest is farther by more than `gap`.
    pub(super) fn label(
        &self,
        tiles: &Tiles,
        range: Range<usize>,
        gap: f64,
        each: impl FnMut(usize, &[i32; WIDTH], u32),
    ) {
        let tiles = &tiles.values[range.start * self.columns..range.end * self.columns];
        with_lanes(Label { tiles, columns: self.columns, groups: &self.groups, gap, each });
    }

    /// h of each center in `0..k` for rows from anywhere.
    pub(super) fn values(
        &self,
        tiles: &Tiles,
        rows: [usize; WIDTH],
        k: usize,
        mut each: impl FnMut(usize, &Column),
    ) {
        let tile = dispatch(
            #[inline(always)]
            || tiles.gather(rows),
        );
        let each = |j: usize, values: &Column| {
            if j < k {
                each(j, values);
            }
        };
        with_lanes(Values { tile: &tile[..self.columns], groups: &self.groups, each });
    }
}

/// Calls `each(j, h_j)` for the centers of the groups.
#[inline(always)]
fn sweep<L: Lanes>(
    lanes: L,
    tile: &[Column],
    groups: &[[f64; ABREAST]],
    mut each: impl FnMut(usize, L::Floats),
) {
    for (number, group) in groups.chunks_exact(tile.len() + 1).enumerate() {
        let mut values = [lanes.splat(0.0); ABREAST];
        for (value, half) in values.iter_mut().zip(group[0]) {
            *value = lanes.splat(half);
        }
        for (x, c) in tile.iter().zip(&group[1..]) {
            let x = lanes.load(x);
            for i in 0..ABREAST {
                values[i] = lanes.product_sum(x, lanes.splat(c[i]), values[i]);
            }
        }
        for (i, value) in values.into_iter().enumerate() {
            each(number * ABREAST + i, value);
        }
    }
}

/// Least, second least and the number of the least, from `first` on, in the low bits of a double.
#[inline(always)]
fn least_two<L: Lanes>(lanes: L, tile: &[Column], groups: &[[f64; ABREAST]], first: usize) -> [L::Floats; 3] {
    let infinity = lanes.splat(f64::INFINITY);
    let (mut least, mut second) = (infinity, infinity);
    let mut center = lanes.splat(f64::from_bits(first as u64));
    sweep(
        lanes,
        tile,
        groups,
        #[inline(always)]
        |j, values| {
            let nearer = lanes.greater(least, values);
            second = lanes.min(second, lanes.max(least, values));
            center = lanes.select(nearer, lanes.splat(f64::from_bits((first + j) as u64)), center);
            least = lanes.min(values, least);
        },
    );
    [least, second, center]
}

#[inline(always)]
fn numbers(doubles: Column) -> [i32; WIDTH] {
    let mut numbers = [0; WIDTH];
    for (number, double) in numbers.iter_mut().zip(doubles) {
        *number = double.to_bits() as i32;
    }
    numbers
}

struct NearestTwo<'a> {
    tile: &'a [Column],
    groups: &'a [[f64; ABREAST]],
    first: usize,
}

impl Kernel for NearestTwo<'_> {
    type Output = Found;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Found {
        let [least, second, center] = least_two(lanes, self.tile, self.groups, self.first);
        let (least, second) = (lanes.store(least), lanes.store(second));
        Found { least, center: numbers(lanes.store(center)), second }
    }
}

struct Label<'a, F> {
    tiles: &'a [Column],
    columns: usize,
    groups: &'a [[f64; ABREAST]],
    gap: f64,
    each: F,
}

impl<F: FnMut(usize, &[i32; WIDTH], u32)> Kernel for Label<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let gap = lanes.splat(self.gap);
        for (number, tile) in self.tiles.chunks_exact(self.columns).enumerate() {
            let [least, second, center] = least_two(lanes, tile, self.groups, 0);
            let certain = lanes.greater(lanes.sub(second, least), gap);
            (self.each)(number, &numbers(lanes.store(center)), lanes.bits(certain));
        }
    }
}

struct Values<'a, F> {
    tile: &'a [Column],
    groups: &'a [[f64; ABREAST]],
    each: F,
}

impl<F: FnMut(usize, &Column)> Kernel for Values<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        sweep(
            lanes,
            self.tile,
            self.groups,
            #[inline(always)]
            |j, values| (self.each)(j, &lanes.store(values)),
        );
    }
}
