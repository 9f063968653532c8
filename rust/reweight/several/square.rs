//! Σψψᵀ of chosen rows: the one step of a solve that costs k² a row. A tile of sums stays in registers
//! while a block of rows, packed in octets of columns, goes by in a core's nearest cache. Every sum takes
//! its rows in order, so neither instruction sets nor threads change a bit.

use std::ops::Range;

use super::panel::load;
use crate::error::Result;
use crate::lanes::{Kernel, Lanes, WIDTH, with_lanes};
use crate::par::Context;

/// Rows of a block: two octets of columns of it are 16 KB.
const BLOCK: usize = 128;
/// Rows of a tile of sums; it is an octet wide.
const TILE: usize = 4;

/// Σψψᵀ over the rows `which` of those of k numbers in `rows`: the lower triangle of a k×k matrix.
pub(super) fn square(context: &Context<'_>, rows: &[f64], k: usize, which: &[usize]) -> Result<Vec<f64>> {
    let octets = k.div_ceil(WIDTH);
    // Bands of octets, of about equal areas of the triangle.
    let bands = context.threads().min(octets);
    let edge = |band: usize| ((band as f64 / bands as f64).sqrt() * octets as f64).round() as usize;
    let parts = context.map_chunks(bands, 1, |band| {
        with_lanes(Square { rows, k, which, band: edge(band.start)..edge(band.end) })
    })?;
    let mut matrix = vec![0.0; k * k];
    for (row, sums) in matrix.chunks_exact_mut(k).zip(parts.into_iter().flatten().flatten()) {
        let sums = sums.as_flattened();
        row[..sums.len().min(k)].copy_from_slice(&sums[..sums.len().min(k)]);
    }
    Ok(matrix)
}

struct Square<'a> {
    rows: &'a [f64],
    k: usize,
    which: &'a [usize],
    /// Octets of rows of the matrix.
    band: Range<usize>,
}

impl Kernel for Square<'_> {
    /// Of each octet eight rows of the matrix, up to its octet of the diagonal.
    type Output = Vec<[Vec<[f64; WIDTH]>; WIDTH]>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let Self { rows, k, which, band } = self;
        let mut matrix: Self::Output =
            band.clone().map(|o| std::array::from_fn(|_| vec![[0.0; WIDTH]; o + 1])).collect();
        let mut packed = vec![[[0.0; WIDTH]; BLOCK]; band.end];
        for block in which.chunks(BLOCK) {
            for (place, &i) in block.iter().enumerate() {
                let row = &rows[i * k..(i + 1) * k];
                for (octet, numbers) in packed.iter_mut().zip(row.chunks(WIDTH)) {
                    octet[place] = lanes.store(load(lanes, numbers));
                }
            }
            for (o, sums) in band.clone().zip(&mut matrix) {
                let used = (k - o * WIDTH).min(WIDTH);
                for first in (0..used).step_by(TILE) {
                    for across in 0..=o {
                        let mut tile: [L::Floats; TILE] =
                            std::array::from_fn(|t| lanes.load(&sums[first + t][across]));
                        for (x, y) in packed[across].iter().zip(&packed[o]).take(block.len()) {
                            let x = lanes.load(x);
                            for (t, sum) in tile.iter_mut().enumerate() {
                                *sum = lanes.add(*sum, lanes.mul(x, lanes.splat(y[first + t])));
                            }
                        }
                        for (t, sum) in tile.into_iter().enumerate() {
                            sums[first + t][across] = lanes.store(sum);
                        }
                    }
                }
            }
        }
        matrix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_takes_its_rows_in_order() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        for k in [2, 4, 7, 8, 9, 20, 32, 41] {
            let rows: Vec<f64> = (0..300 * k).map(|_| next()).collect();
            for which in [vec![], vec![7], (0..300).step_by(2).collect::<Vec<_>>(), (0..300).collect()] {
                let mut naive = vec![0.0; k * k];
                for &row in &which {
                    let row = &rows[row * k..(row + 1) * k];
                    for i in 0..k {
                        for j in 0..=i {
                            naive[i * k + j] += row[i] * row[j];
                        }
                    }
                }
                for threads in [1, 2, 7] {
                    let context = Context::new(Some(threads), &|| false).unwrap();
                    let square = square(&context, &rows, k, &which).unwrap();
                    let lower = |matrix: &[f64]| -> Vec<f64> {
                        (0..k).flat_map(|i| matrix[i * k..=i * k + i].to_vec()).collect()
                    };
                    assert_eq!(lower(&square), lower(&naive), "k = {k}, {} rows", which.len());
                }
            }
        }
    }
}
