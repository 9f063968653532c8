//! Weights of singles most of which follow from a comparison: they rest, or are all that the box allows. The
//! few others are brought together for the kernel that costs more than reading, and what it made of them is
//! brought back to its place; a pass then costs what its memory does.

use super::gather::{SPARE, unscaled};
use super::passes::{each, vectors};
use super::price::Cuts;
use crate::lanes::{Kernel, Lanes, SINGLES, with_lanes};

/// Samples that are spared at a time: near enough to be read twice.
pub(super) const SPARED: usize = 1 << 14;

/// Share by which the cuts are moved apart, more than any rounding: between them it is for the price to say
/// what the weight is.
pub(super) const APART: f64 = 1e-6;

/// Which weights are certain: 0 up to `woken` in |ψ|, and the first of `weights` for ψ above the first of
/// `full`, the second for ψ below the second.
#[derive(Clone, Copy)]
pub(super) struct Certain {
    woken: f32,
    full: [f32; 2],
    weights: [f32; 2],
}

impl Certain {
    /// At the price of `cuts`, within `room` on both sides of e = `scale`·ψ.
    pub(super) fn new(cuts: &Cuts, room: [f64; 2], scale: f64) -> Self {
        let end = |psi: f64| {
            let side = usize::from(psi * scale < 0.0);
            let full = unscaled::<f32>(cuts.full[side] * (1.0 + APART), scale);
            // A weight of 0 has no sign.
            let weight = if room[side] == 0.0 { 0.0 } else { room[side].copysign(psi * scale) as f32 };
            (full.copysign(psi as f32), weight)
        };
        let [(full, weight), (negative, negative_weight)] = [1.0, -1.0].map(end);
        let woken = unscaled(cuts.woken * (1.0 - APART), scale);
        Self { woken, full: [full, negative], weights: [weight, negative_weight] }
    }

    /// Writes the uncertain ones of `psi` to the start of `to`, in order; how many they are. `to` has
    /// [`SPARE`] more than `psi`.
    pub(super) fn uncertain(&self, psi: &[f32], to: &mut [f32], is_boxed: bool) -> usize {
        if is_boxed {
            with_lanes(Uncertain::<true> { psi, certain: self, to })
        } else {
            with_lanes(Uncertain::<false> { psi, certain: self, to })
        }
    }

    /// Writes the weights of `psi` to `to`, those of the uncertain ones from `from`, which has [`SPARE`]
    /// more; past the caches where it `streams`. How many of the certain ones are not 0.
    pub(super) fn spread(
        &self,
        psi: &[f32],
        from: &[f32],
        to: &mut [f32],
        streams: bool,
        is_boxed: bool,
    ) -> usize {
        let certain = self;
        if is_boxed {
            with_lanes(Spread::<true> { psi, certain, from, to, streams })
        } else {
            with_lanes(Spread::<false> { psi, certain, from, to, streams })
        }
    }
}

/// Where the uncertain ones of `rows` rows, or their weights, go.
pub(super) fn buffer(rows: usize) -> Vec<f32> {
    vec![0.0; SPARED.min(rows) + SPARE]
}

/// [`Certain`] in lanes.
struct Ends<L: Lanes> {
    woken: L::Sixteen,
    full: [L::Sixteen; 2],
}

impl<L: Lanes> Ends<L> {
    #[inline(always)]
    fn new(lanes: L, certain: &Certain) -> Self {
        let [first, second] = certain.full;
        Self { woken: lanes.sixteen(certain.woken), full: [lanes.sixteen(first), lanes.sixteen(second)] }
    }

    /// The uncertain ones, and the full ones of both sides.
    #[inline(always)]
    fn part<const BOXED: bool>(&self, lanes: L, x: L::Sixteen) -> (L::Chosen, [L::Chosen; 2]) {
        let mut uncertain = lanes.beyond(lanes.abs_singles(x), self.woken);
        let full = [lanes.exceeds(x, self.full[0]), lanes.exceeds(self.full[1], x)];
        if BOXED {
            uncertain = lanes.but(lanes.but(uncertain, full[0]), full[1]);
        }
        (uncertain, full)
    }
}

struct Uncertain<'a, const BOXED: bool> {
    psi: &'a [f32],
    certain: &'a Certain,
    to: &'a mut [f32],
}

impl<const BOXED: bool> Kernel for Uncertain<'_, BOXED> {
    type Output = usize;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> usize {
        let ends = Ends::new(lanes, self.certain);
        let (full, tail) = vectors::<_, SINGLES>(self.psi);
        let mut used = 0;
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                let x = lanes.singles(x);
                let (uncertain, _) = ends.part::<BOXED>(lanes, x);
                if let Some(to) = self.to[used..].first_chunk_mut() {
                    lanes.compress_singles(uncertain, x, to);
                }
                used += lanes.held_singles(uncertain) as usize;
            }
        }
        used
    }
}

struct Spread<'a, const BOXED: bool> {
    psi: &'a [f32],
    certain: &'a Certain,
    from: &'a [f32],
    to: &'a mut [f32],
    streams: bool,
}

impl<const BOXED: bool> Kernel for Spread<'_, BOXED> {
    type Output = usize;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> usize {
        let ends = Ends::new(lanes, self.certain);
        let [first, second] = self.certain.weights;
        let weights = [lanes.sixteen(first), lanes.sixteen(second)];
        let mut used = 0;
        let mut held = [lanes.no_counts(); 2];
        each(
            lanes,
            self.psi,
            self.to,
            self.streams,
            #[inline(always)]
            |x| {
                let (uncertain, full) = ends.part::<BOXED>(lanes, lanes.singles(x));
                let from = self.from[used..].first_chunk().unwrap_or(&[0.0; SINGLES]);
                used += lanes.held_singles(uncertain) as usize;
                let mut weight = lanes.expand_singles(uncertain, from);
                if BOXED {
                    for (i, full) in full.into_iter().enumerate() {
                        weight = lanes.select_singles(full, weights[i], weight);
                        held[i] = lanes.count_chosen(held[i], full);
                    }
                }
                lanes.unpack_singles(weight)
            },
        );
        let held = held.into_iter().zip(self.certain.weights).filter(|(_, weight)| *weight != 0.0);
        held.map(|(held, _)| lanes.counted(held) as usize).sum()
    }
}
