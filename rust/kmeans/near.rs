//! What greedy k-means++ knows of each row: the nearest center so far and D², its squared distance; eight
//! rows to a tile. Short rows meet points tile by tile, and D² is formed in lanes from (x − μ)·scale by
//! operations that round alike on every instruction set. As a weight D² is an integer, in steps.

use super::exact::{ROUNDING, integer};
use super::short::{Column, SHORT};
use crate::lanes::{Kernel, Lanes, WIDTH, with_lanes};

/// Candidates that share the loads of a column.
const ABREAST: usize = 4;

/// Of eight rows.
#[derive(Clone, Copy)]
pub(super) struct Near {
    /// D²; 0 where there is no row, which is then never drawn.
    pub(super) squares: Column,
    pub(super) centers: [u32; WIDTH],
}

impl Near {
    /// Of rows that know of no center yet.
    pub(super) fn all(rows: usize) -> Vec<Self> {
        let tile = |first: usize| Self {
            squares: std::array::from_fn(|lane| if first + lane < rows { f64::INFINITY } else { 0.0 }),
            centers: [0; WIDTH],
        };
        (0..rows).step_by(WIDTH).map(tile).collect()
    }

    /// D² as integers.
    pub(super) fn weights(&self, steps: f64) -> [i64; WIDTH] {
        self.squares.map(|square| integer(square * steps))
    }
}

/// The largest D².
pub(super) fn largest(near: &[Near]) -> f64 {
    with_lanes(Largest { near })
}

/// Σ D² in steps.
pub(super) fn weight(near: &[Near], steps: f64) -> i64 {
    with_lanes(Weight { near, steps })
}

/// Σ min(D², squared distance) in steps for each of the `points`, one after another.
pub(super) fn left(tiles: &[Column], near: &[Near], points: &[f64], columns: usize, steps: f64) -> Vec<i64> {
    let abreast = |points: &[f64]| match points.len() / columns {
        1 => with_lanes(Left { tiles, near, points: Points::<1>::new(points), steps }).to_vec(),
        2 => with_lanes(Left { tiles, near, points: Points::<2>::new(points), steps }).to_vec(),
        3 => with_lanes(Left { tiles, near, points: Points::<3>::new(points), steps }).to_vec(),
        _ => with_lanes(Left { tiles, near, points: Points::<ABREAST>::new(points), steps }).to_vec(),
    };
    points.chunks(ABREAST * columns).flat_map(abreast).collect()
}

/// Makes a point center `number` of all rows to which it is the nearest.
pub(super) fn take(tiles: &[Column], near: &mut [Near], point: &[f64], number: u32) {
    with_lanes(Take { tiles, near, point: Points::<1>::new(point), number });
}

/// `N` points by columns.
struct Points<const N: usize> {
    values: [[f64; N]; SHORT],
    columns: usize,
}

impl<const N: usize> Points<N> {
    fn new(points: &[f64]) -> Self {
        let columns = points.len() / N;
        let mut values = [[0.0; N]; SHORT];
        for (i, point) in points.chunks_exact(columns).enumerate() {
            values.iter_mut().zip(point).for_each(|(column, x)| column[i] = *x);
        }
        Self { values, columns }
    }

    /// The squared distances of eight rows.
    #[inline(always)]
    fn squares<L: Lanes>(&self, lanes: L, tile: &[Column]) -> [L::Floats; N] {
        let mut squares = [lanes.splat(0.0); N];
        for (x, points) in tile.iter().zip(&self.values[..self.columns]) {
            let x = lanes.load(x);
            for i in 0..N {
                let difference = lanes.sub(x, lanes.splat(points[i]));
                squares[i] = lanes.add(squares[i], lanes.mul(difference, difference));
            }
        }
        squares
    }
}

/// What `count` added up over as many vectors, as integers.
#[inline(always)]
fn total<L: Lanes>(lanes: L, counts: L::Counts, vectors: usize) -> i64 {
    let none = ROUNDING.to_bits().wrapping_mul(vectors as u64);
    lanes.unpack(counts).into_iter().map(|lane| lane.wrapping_sub(none).cast_signed()).sum()
}

struct Largest<'a> {
    near: &'a [Near],
}

impl Kernel for Largest<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f64 {
        let mut largest = lanes.splat(0.0);
        for near in self.near {
            largest = lanes.max(largest, lanes.load(&near.squares));
        }
        lanes.largest(largest)
    }
}

struct Weight<'a> {
    near: &'a [Near],
    steps: f64,
}

impl Kernel for Weight<'_> {
    type Output = i64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> i64 {
        let (steps, rounding) = (lanes.splat(self.steps), lanes.splat(ROUNDING));
        let mut counts = lanes.no_counts();
        for near in self.near {
            let steps = lanes.mul(lanes.load(&near.squares), steps);
            counts = lanes.count(counts, lanes.add(steps, rounding));
        }
        total(lanes, counts, self.near.len())
    }
}

struct Left<'a, const N: usize> {
    tiles: &'a [Column],
    near: &'a [Near],
    points: Points<N>,
    steps: f64,
}

impl<const N: usize> Kernel for Left<'_, N> {
    type Output = [i64; N];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [i64; N] {
        let (steps, rounding) = (lanes.splat(self.steps), lanes.splat(ROUNDING));
        let mut counts = [lanes.no_counts(); N];
        for (tile, near) in self.tiles.chunks_exact(self.points.columns).zip(self.near) {
            let own = lanes.load(&near.squares);
            let squares = self.points.squares(lanes, tile);
            for i in 0..N {
                let steps = lanes.mul(lanes.min(squares[i], own), steps);
                counts[i] = lanes.count(counts[i], lanes.add(steps, rounding));
            }
        }
        counts.map(
            #[inline(always)]
            |counts| total(lanes, counts, self.near.len()),
        )
    }
}

struct Take<'a> {
    tiles: &'a [Column],
    near: &'a mut [Near],
    point: Points<1>,
    number: u32,
}

impl Kernel for Take<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for (tile, near) in self.tiles.chunks_exact(self.point.columns).zip(self.near) {
            let own = lanes.load(&near.squares);
            let [square] = self.point.squares(lanes, tile);
            let mut nearer = lanes.bits(lanes.greater(own, square));
            if nearer != 0 {
                near.squares = lanes.store(lanes.min(square, own));
            }
            while nearer != 0 {
                near.centers[nearer.trailing_zeros() as usize] = self.number;
                nearer &= nearer - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> f64 {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Rows one by one, in the same operations.
    fn square(tiles: &[Column], row: usize, point: &[f64]) -> f64 {
        let tile = &tiles[row / WIDTH * point.len()..][..point.len()];
        tile.iter().zip(point).map(|(x, p)| (x[row % WIDTH] - p).powi(2)).sum()
    }

    #[test]
    fn what_points_leave_and_take_is_what_rows_one_by_one_say() {
        let steps = 2f64.powi(40);
        for (rows, columns, count) in [(1usize, 1, 1), (8, 3, 2), (29, 16, 3), (500, 2, 4), (61, 7, 9)] {
            let mut tiles: Vec<Column> = vec![[0.0; WIDTH]; rows.div_ceil(WIDTH) * columns];
            for (i, column) in tiles.iter_mut().enumerate() {
                *column = std::array::from_fn(|lane| noise(i * WIDTH + lane));
            }
            let points: Vec<f64> = (0..count * columns).map(|i| noise(i + (1 << 20))).collect();
            let mut near = Near::all(rows);
            take(&tiles, &mut near, &vec![0.25; columns], 3);
            let own: Vec<f64> = (0..rows).map(|row| square(&tiles, row, &vec![0.25; columns])).collect();
            assert_eq!(largest(&near), own.iter().copied().fold(0.0, f64::max));
            assert_eq!(weight(&near, steps), own.iter().map(|own| integer(own * steps)).sum::<i64>());
            let expected: Vec<i64> = points
                .chunks_exact(columns)
                .map(|point| {
                    let least = |row: usize| own[row].min(square(&tiles, row, point));
                    (0..rows).map(|row| integer(least(row) * steps)).sum()
                })
                .collect();
            assert_eq!(left(&tiles, &near, &points, columns, steps), expected);
            take(&tiles, &mut near, &points[..columns], 7);
            assert_eq!(weight(&near, steps), expected[0]);
            for row in 0..rows {
                let nearer = square(&tiles, row, &points[..columns]) < own[row];
                assert_eq!(near[row / WIDTH].centers[row % WIDTH], if nearer { 7 } else { 3 });
            }
        }
    }
}
