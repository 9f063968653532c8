//! Plain doubles: the twin that says what the instruction sets mean.

use super::{Lanes, SINGLES, WIDTH};
use crate::float::Float;

/// Eight doubles and no instruction set.
#[derive(Clone, Copy)]
pub(super) struct Plain;

#[inline(always)]
fn each<R, const N: usize>(f: impl FnMut(usize) -> R) -> [R; N] {
    std::array::from_fn(f)
}

impl Lanes for Plain {
    type Floats = [f64; WIDTH];
    type Counts = [u64; WIDTH];
    type Mask = [bool; WIDTH];
    type Sixteen = [f32; SINGLES];
    type Chosen = [bool; SINGLES];

    #[inline(always)]
    fn splat(self, x: f64) -> Self::Floats {
        [x; WIDTH]
    }
    #[inline(always)]
    fn load(self, from: &[f64; WIDTH]) -> Self::Floats {
        *from
    }
    #[inline(always)]
    fn widen(self, from: &[f32; WIDTH]) -> Self::Floats {
        from.map(f64::from)
    }
    #[inline(always)]
    fn store(self, x: Self::Floats) -> [f64; WIDTH] {
        x
    }
    #[inline(always)]
    fn narrow(self, x: Self::Floats) -> [f32; WIDTH] {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        each(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn product_sum(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn abs(self, a: Self::Floats) -> Self::Floats {
        a.map(f64::abs)
    }
    #[inline(always)]
    fn with_sign(self, size: Self::Floats, sign: Self::Floats) -> Self::Floats {
        each(|i| size[i].copysign(sign[i]))
    }
    #[inline(always)]
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn greater(self, a: Self::Floats, b: Self::Floats) -> Self::Mask {
        each(|i| a[i] > b[i])
    }
    #[inline(always)]
    fn not_within(self, a: Self::Floats, b: Self::Floats) -> Self::Mask {
        each(|i| a[i] > b[i] || a[i].is_nan() || b[i].is_nan())
    }
    #[inline(always)]
    fn and(self, a: Self::Mask, b: Self::Mask) -> Self::Mask {
        each(|i| a[i] && b[i])
    }
    #[inline(always)]
    fn except(self, a: Self::Mask, b: Self::Mask) -> Self::Mask {
        each(|i| a[i] && !b[i])
    }
    #[inline(always)]
    fn select(self, mask: Self::Mask, yes: Self::Floats, no: Self::Floats) -> Self::Floats {
        each(|i| if mask[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn keep(self, mask: Self::Mask, x: Self::Floats) -> Self::Floats {
        each(|i| if mask[i] { x[i] } else { 0.0 })
    }
    #[inline(always)]
    fn bits(self, mask: Self::Mask) -> u32 {
        mask.iter().rev().fold(0, |bits, &bit| bits << 1 | u32::from(bit))
    }
    #[inline(always)]
    fn no_counts(self) -> Self::Counts {
        [0; WIDTH]
    }
    #[inline(always)]
    fn count(self, counts: Self::Counts, x: Self::Floats) -> Self::Counts {
        each(|i| counts[i].wrapping_add(x[i].to_bits()))
    }
    #[inline(always)]
    fn count_where(self, counts: Self::Counts, mask: Self::Mask, x: Self::Floats) -> Self::Counts {
        each(|i| if mask[i] { counts[i].wrapping_add(x[i].to_bits()) } else { counts[i] })
    }
    #[inline(always)]
    fn unpack(self, counts: Self::Counts) -> [u64; WIDTH] {
        counts
    }
    #[inline(always)]
    fn compress(self, mask: Self::Mask, x: Self::Floats, to: &mut [f64; WIDTH]) {
        let kept = x.into_iter().zip(mask).filter(|(_, kept)| *kept);
        for (slot, (x, _)) in to.iter_mut().zip(kept) {
            *slot = x;
        }
    }
    #[inline(always)]
    fn columns<T: Float>(self, rows: [&[T; 4]; WIDTH]) -> [Self::Floats; 4] {
        std::array::from_fn(|c| each(|i| rows[i][c].to_f64()))
    }
    #[inline(always)]
    fn sixteen(self, x: f32) -> Self::Sixteen {
        [x; SINGLES]
    }
    #[inline(always)]
    fn singles(self, from: &[f32; SINGLES]) -> Self::Sixteen {
        *from
    }
    #[inline(always)]
    fn unpack_singles(self, x: Self::Sixteen) -> [f32; SINGLES] {
        x
    }
    #[inline(always)]
    fn mul_singles(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Sixteen {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn fma_singles(self, a: Self::Sixteen, b: Self::Sixteen, c: Self::Sixteen) -> Self::Sixteen {
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn abs_singles(self, a: Self::Sixteen) -> Self::Sixteen {
        a.map(f32::abs)
    }
    #[inline(always)]
    fn max_singles(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Sixteen {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn beyond(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Chosen {
        each(|i| a[i] > b[i] || a[i].is_nan() || b[i].is_nan())
    }
    #[inline(always)]
    fn exceeds(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Chosen {
        each(|i| a[i] > b[i])
    }
    #[inline(always)]
    fn but(self, a: Self::Chosen, b: Self::Chosen) -> Self::Chosen {
        each(|i| a[i] && !b[i])
    }
    #[inline(always)]
    fn chosen(self, chosen: Self::Chosen) -> u32 {
        chosen.iter().rev().fold(0, |bits, &bit| bits << 1 | u32::from(bit))
    }
    #[inline(always)]
    fn count_chosen(self, counts: Self::Counts, chosen: Self::Chosen) -> Self::Counts {
        each(|i| counts[i] + u64::from(chosen[2 * i]) + (u64::from(chosen[2 * i + 1]) << 32))
    }
    #[inline(always)]
    fn select_singles(self, chosen: Self::Chosen, yes: Self::Sixteen, no: Self::Sixteen) -> Self::Sixteen {
        each(|i| if chosen[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn keep_singles(self, chosen: Self::Chosen, x: Self::Sixteen) -> Self::Sixteen {
        each(|i| if chosen[i] { x[i] } else { 0.0 })
    }
    #[inline(always)]
    fn sign_singles(self, size: Self::Sixteen, sign: Self::Sixteen) -> Self::Sixteen {
        each(|i| size[i].copysign(sign[i]))
    }
    #[inline(always)]
    fn compress_singles(self, chosen: Self::Chosen, x: Self::Sixteen, to: &mut [f32; SINGLES]) {
        let kept = x.into_iter().zip(chosen).filter(|(_, kept)| *kept);
        for (slot, (x, _)) in to.iter_mut().zip(kept) {
            *slot = x;
        }
    }
    #[inline(always)]
    fn expand_singles(self, chosen: Self::Chosen, from: &[f32; SINGLES]) -> Self::Sixteen {
        let mut next = from.iter();
        each(|i| if chosen[i] { next.next().copied().unwrap_or_default() } else { 0.0 })
    }
    #[inline(always)]
    fn whole(self, x: Self::Sixteen) -> Self::Counts {
        let whole = x.map(|x| u64::from(x.round_ties_even() as u32));
        each(|i| whole[2 * i] | whole[2 * i + 1] << 32)
    }
    #[inline(always)]
    fn odd(self, x: Self::Counts) -> Self::Counts {
        x.map(|x| x >> 32)
    }
    #[inline(always)]
    fn plus(self, a: Self::Counts, b: Self::Counts) -> Self::Counts {
        each(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn square_even(self, x: Self::Counts) -> Self::Counts {
        x.map(|x| (x & 0xffff_ffff) * (x & 0xffff_ffff))
    }
    #[inline(always)]
    fn halves(self, x: Self::Sixteen) -> [Self::Floats; 2] {
        [each(|i| f64::from(x[i])), each(|i| f64::from(x[WIDTH + i]))]
    }
    #[inline(always)]
    fn join(self, [low, high]: [Self::Floats; 2]) -> Self::Sixteen {
        each(|i| if i < WIDTH { low[i] as f32 } else { high[i - WIDTH] as f32 })
    }
}
