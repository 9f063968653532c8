//! Products of a row with a price: eight lanes in a fixed order, so every instruction set gives the
//! same bits.

use crate::float::Float;
use crate::vecmath::Dd;

/// Lanes of a product; k is often small, so not the sixteen of other loops.
const WIDTH: usize = 8;

/// z as two arrays, which is what the kernels read.
#[derive(Clone, Debug, Default)]
pub(super) struct Price {
    pub(super) hi: Vec<f64>,
    pub(super) lo: Vec<f64>,
}

impl Price {
    pub(super) fn new(z: &[Dd]) -> Self {
        Self { hi: z.iter().map(|z| z.hi).collect(), lo: z.iter().map(|z| z.lo).collect() }
    }
}

/// (scale·row)·z in double precision.
#[inline(always)]
pub(super) fn dot<T: Float>(row: &[T], scale: f64, z: &[f64]) -> f64 {
    let mut sums = [0.0; WIDTH];
    let ((rows, row_tail), (prices, price_tail)) = (row.as_chunks::<WIDTH>(), z.as_chunks::<WIDTH>());
    for (row, price) in rows.iter().zip(prices) {
        for i in 0..WIDTH {
            sums[i] += row[i].to_f64() * scale * price[i];
        }
    }
    for ((sum, x), z) in sums.iter_mut().zip(row_tail).zip(price_tail) {
        *sum += x.to_f64() * scale * z;
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// (scale·row)·z as if in twice that precision.
#[inline(always)]
pub(super) fn dot_pair<T: Float>(row: &[T], scale: f64, z: &Price) -> Dd {
    let (mut hi, mut lo) = ([0.0; WIDTH], [0.0; WIDTH]);
    let (rows, tail) = row.as_chunks::<WIDTH>();
    let ((highs, high_tail), (lows, low_tail)) = (z.hi.as_chunks::<WIDTH>(), z.lo.as_chunks::<WIDTH>());
    for ((row, high), low) in rows.iter().zip(highs).zip(lows) {
        for i in 0..WIDTH {
            add(&mut hi[i], &mut lo[i], row[i].to_f64() * scale, high[i], low[i]);
        }
    }
    for (i, x) in tail.iter().enumerate() {
        add(&mut hi[i], &mut lo[i], x.to_f64() * scale, high_tail[i], low_tail[i]);
    }
    for half in [4, 2, 1] {
        for i in 0..half {
            let sum = Dd::two_sum(hi[i], hi[i + half]);
            hi[i] = sum.hi;
            lo[i] += lo[i + half] + sum.lo;
        }
    }
    Dd::two_sum(hi[0], lo[0])
}

/// hi + lo += x·(z + rest).
#[inline(always)]
fn add(hi: &mut f64, lo: &mut f64, x: f64, z: f64, rest: f64) {
    let product = Dd::two_product(x, z);
    let total = Dd::two_sum(*hi, product.hi);
    *hi = total.hi;
    *lo += total.lo + (product.lo + x * rest);
}
