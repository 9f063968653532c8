//! Many terms into an exact sum. An accumulator takes a term in some ten nanoseconds; terms of about one
//! size are counted on a [`Grid`] that holds all their bits, eight at a time, and only the count is added.

use crate::fixed::{Exact, Grid, exponent, power_of_two};
use crate::lanes::{Kernel, Lanes, Tally, WIDTH, with_lanes};
use crate::simd::dispatch;

/// Bits below the largest term's that a term may begin at for the grid to hold all of it.
const SPAN: i32 = 44;
/// Largest exponents for which the grid is not cut off by the range of doubles.
const RANGE: std::ops::Range<i32> = -800..990;

/// Adds `terms`.
pub(super) fn add_all(sum: &mut Exact, terms: &[f64]) {
    for terms in terms.chunks(Grid::ROOM) {
        // Without their signs the bits of numbers are in order, those of what is not finite last.
        let top = dispatch(
            #[inline(always)]
            || terms.iter().fold(0u64, |most, x| most.max(x.abs().to_bits())),
        );
        let top = exponent(f64::from_bits(top));
        if !RANGE.contains(&top) {
            sum.extend(terms.iter().copied());
            continue;
        }
        let least = power_of_two(top - SPAN);
        let grid = Grid::below(top + 1);
        let small = with_lanes(Counted { sum, terms, least, grid });
        if small {
            sum.extend(terms.iter().copied().filter(|x| x.abs() < least));
        }
    }
}

struct Counted<'a> {
    sum: &'a mut Exact,
    terms: &'a [f64],
    least: f64,
    grid: Grid,
}

impl Kernel for Counted<'_> {
    /// Whether there are terms other than 0 below `least`, which are left out.
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> bool {
        let Self { sum, terms, least, grid } = self;
        // As no double lies between, x > below is x ≥ least.
        let (below, zero) = (lanes.splat(least.next_down()), lanes.splat(0.0));
        let mut tally = Tally::new(lanes, grid);
        let mut small = 0;
        let (eights, rest) = terms.as_chunks::<WIDTH>();
        let mut last = [0.0; WIDTH];
        last[..rest.len()].copy_from_slice(rest);
        for eight in eights.iter().chain([&last]) {
            let x = lanes.load(eight);
            let size = lanes.abs(x);
            let large = lanes.greater(size, below);
            small |= lanes.bits(lanes.except(lanes.greater(size, zero), large));
            tally.add(lanes, lanes.keep(large, x));
        }
        let steps = tally.steps(lanes, eights.len() + 1);
        for (count, zero) in [(steps.high, grid.high), (steps.low, grid.low)] {
            // A count has more bits than a double.
            let (step, head) = (zero / (1.5 * (1u64 << 52) as f64), count >> 32 << 32);
            sum.add(head as f64 * step);
            sum.add((count - head) as f64 * step);
        }
        small != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_sum_is_the_exact_sum() {
        let terms = |spread: i32| -> Vec<f64> {
            let size = |i: u32| f64::from(i % 1009) / 1009.0 + f64::from(i % 7) * 1e-13;
            (0..20_001u32).map(|i| (size(i) - 0.4) * power_of_two(i as i32 % spread - 20)).collect()
        };
        let ends = [1e-320, 1e300, 1e-290].map(|end| vec![end; 100]);
        for terms in [1, 40, 60, 300].map(terms).into_iter().chain(ends) {
            let (mut counted, mut exact) = (Exact::default(), Exact::default());
            add_all(&mut counted, &terms);
            exact.extend(terms.iter().copied());
            assert_eq!(counted.value(), exact.value());
        }
        let mut sum = Exact::default();
        add_all(&mut sum, &[1.0, f64::INFINITY]);
        assert_eq!(sum.value().hi, f64::INFINITY);
    }
}
