//! A step of the [dense route](super::dense) where criteria are so few that the curvature ∇²φ of all rows
//! costs little beside reading them: Σψλ and, over the rows that move, Σψψᵀ in one reading, the sums in
//! registers.

use super::effect::Answers;
use super::panel::{COLUMNS, Panel, dots_of_columns};
use crate::fixed::{Grid, Steps};
use crate::float::Float;
use crate::lanes::{Counter, Kernel, Lanes, with_lanes};

/// Criteria of which all sums stay in registers.
pub(super) const FEW: usize = 4;
/// Sums of as many criteria: theirs and those of their products.
const SUMS: usize = FEW * (FEW + 1) / 2;
/// The coarse half of this grid holds all that a metric has to know of ψψᵀ, |ψ| being below 2.
pub(super) const PRODUCTS: Grid = Grid::below(2);

/// Of at most [`FEW`] criteria Σψλ, by `grid`, then Σψψᵀ over the rows that move, lower triangle, by
/// [`PRODUCTS`]: over the rows of `panel`, at most [`Grid::ROOM`] of them, to the coarse halves.
pub(super) fn curved<T: Float>(panel: Panel<'_, T>, answers: Answers<'_, T>, grid: Grid) -> Vec<Steps> {
    match panel.k {
        2 => with_lanes(Curved::<_, 2> { panel, answers, grid }),
        3 => with_lanes(Curved::<_, 3> { panel, answers, grid }),
        _ => with_lanes(Curved::<_, FEW> { panel, answers, grid }),
    }
}

struct Curved<'a, T, const K: usize> {
    panel: Panel<'a, T>,
    answers: Answers<'a, T>,
    grid: Grid,
}

impl<T: Float, const K: usize> Kernel for Curved<'_, T, K> {
    type Output = Vec<Steps>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Vec<Steps> {
        let Self { panel, mut answers, grid } = self;
        let mut effects = [Counter::<L, false>::new(lanes, grid); K];
        let mut squares = [Counter::<L, false>::new(lanes, PRODUCTS); SUMS];
        let mut columns = [lanes.splat(0.0); COLUMNS];
        let mut eights = 0;
        Panel { k: K, ..panel }.each_eight(
            lanes,
            #[inline(always)]
            |first, eight| {
                eight.turn(lanes, &mut columns);
                let v = dots_of_columns(lanes, &columns[..K], answers.z);
                let (weights, moves) = answers.answer(lanes, first, v);
                eights += 1;
                let mut at = 0;
                for c in 0..K {
                    effects[c].add_product(lanes, columns[c], weights);
                    let moving = lanes.keep(moves, columns[c]);
                    for &other in &columns[..=c] {
                        squares[at].add_product(lanes, moving, other);
                        at += 1;
                    }
                }
            },
        );
        let sums = effects.into_iter().chain(squares.into_iter().take(K * (K + 1) / 2));
        sums.map(|sum| sum.steps(lanes, eights)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::Prices;
    use super::super::dot::dot;
    use super::super::effect::Written;
    use super::super::panel::octets;
    use super::*;
    use crate::fixed::Fixed;
    use crate::reweight::Bound;
    use crate::vecmath::Dd;

    #[test]
    fn rows_that_move_add_their_curvature_in_the_same_reading() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let prices = Prices { l1: 0.2, l2: 0.7 };
        for k in 2..=FEW {
            for n in [1, 8, 21, 300] {
                let rows: Vec<f64> = (0..n * k).map(|_| 3.0 * next()).collect();
                let z: Vec<f64> = (0..k).map(|_| next()).collect();
                let (scale, box_, grid) = (0.5, [-0.3, 0.1], Grid::below(2));
                let (mut weights, mut sums) = (Vec::new(), vec![0.0; k + k * (k + 1) / 2]);
                for row in rows.chunks_exact(k) {
                    let v = Dd::new(dot(row, scale, &z));
                    let (weight, moves) = prices.respond(v, box_);
                    weights.push(weight + 0.0);
                    let products = (0..k).flat_map(|i| (0..=i).map(move |j| (i, j)));
                    let products = products.map(|(i, j)| row[i] * scale * row[j] * scale);
                    let products = products.map(|x| if moves { x } else { 0.0 });
                    let terms = row.iter().map(|x| x * scale * weight).chain(products);
                    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
                }
                let mut to = vec![f64::NAN; n];
                for written in [Written::No, Written::Yes] {
                    let [lower, upper] = box_.map(Bound::All);
                    let z = octets([&z]);
                    let answers = Answers { z: &z, prices, lower, upper, to: &mut to, written };
                    let steps = curved(Panel { rows: &rows, k, scale }, answers, grid);
                    assert_eq!(steps.len(), sums.len());
                    for (i, (steps, wanted)) in steps.into_iter().zip(&sums).enumerate() {
                        let grid = if i < k { grid } else { PRODUCTS };
                        let mut sum = Fixed::default();
                        sum += steps;
                        let off = (sum.value(&grid).value() - wanted).abs();
                        assert!(off <= grid.coarse_error(n) + 1e-14 * n as f64, "k = {k}, n = {n}: {off:e}");
                    }
                    assert_eq!(to.iter().all(|x| x.is_nan()), written == Written::No);
                }
                assert!(to.iter().zip(&weights).all(|(x, y)| (x - y).abs() <= 1e-15), "{to:?} {weights:?}");
            }
        }
    }
}
