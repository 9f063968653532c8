//! Plain doubles: the twin that says what the instruction sets mean.

use super::{Lanes, WIDTH};

/// Eight doubles and no instruction set.
#[derive(Clone, Copy)]
pub(super) struct Plain;

#[inline(always)]
fn each<R>(f: impl FnMut(usize) -> R) -> [R; WIDTH] {
    std::array::from_fn(f)
}

impl Lanes for Plain {
    type Floats = [f64; WIDTH];
    type Counts = [u64; WIDTH];
    type Mask = [bool; WIDTH];

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
    fn escapes(self, a: Self::Floats, b: Self::Floats) -> Self::Mask {
        each(|i| a[i] > b[i] || a[i].is_nan())
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
}
