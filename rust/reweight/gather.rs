//! The few samples that a threshold leaves, brought together for kernels that cost more than reading.

use super::passes::vectors;
use crate::float::Float;
use crate::lanes::{Kernel, Lanes, SINGLES, WIDTH, with_lanes};

/// Room beyond the samples for the last vector that is written.
pub(super) const SPARE: usize = SINGLES;

/// The largest |ψ| that, times `scale`, is not above `cut`: with the scale a power of two, y is above the cut
/// exactly when |ψ| is above this, but for a y that is too small for a double, which is above no cut.
pub(super) fn unscaled<T: Float>(cut: f64, scale: f64) -> T {
    let near = T::from_f64(cut / scale.abs());
    if near.to_f64() * scale.abs() > cut { near.next_below() } else { near }
}

/// Writes the numbers above `above` in size to the start of `to`, in order, and those that are none; how
/// many they are, and the largest size of all that are numbers. `to` has [`SPARE`] more than `psi`.
pub(super) fn gather<T: Float>(psi: &[T], above: T, to: &mut [T]) -> (usize, f64) {
    match (T::typed(psi), T::typed_mut(to)) {
        (Ok(psi), Ok(to)) => with_lanes(Gather { psi, above: above.to_f64(), to }),
        (Err(psi), Err(to)) => with_lanes(Gather { psi, above: above.to_f64() as f32, to }),
        _ => unreachable!("both are of one type"),
    }
}

struct Gather<'a, T> {
    psi: &'a [T],
    above: T,
    to: &'a mut [T],
}

impl Kernel for Gather<'_, f64> {
    type Output = (usize, f64);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let (above, mut largest) = (lanes.splat(self.above), lanes.splat(0.0));
        let (full, tail) = vectors::<_, WIDTH>(self.psi);
        let mut used = 0;
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                let x = lanes.load(x);
                let size = lanes.abs(x);
                largest = lanes.max(size, largest);
                let kept = lanes.not_within(size, above);
                if let Some(to) = self.to[used..].first_chunk_mut() {
                    lanes.compress(kept, x, to);
                }
                used += lanes.held(kept) as usize;
            }
        }
        (used, lanes.largest(largest))
    }
}

impl Kernel for Gather<'_, f32> {
    type Output = (usize, f64);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let (above, mut largest) = (lanes.sixteen(self.above), lanes.sixteen(0.0));
        let (full, tail) = vectors::<_, SINGLES>(self.psi);
        let mut used = 0;
        for part in [full, tail.as_slice()] {
            for x in part {
                lanes.prefetch(x);
                let x = lanes.singles(x);
                let size = lanes.abs_singles(x);
                largest = lanes.max_singles(size, largest);
                let kept = lanes.beyond(size, above);
                if let Some(to) = self.to[used..].first_chunk_mut() {
                    lanes.compress_singles(kept, x, to);
                }
                used += lanes.held_singles(kept) as usize;
            }
        }
        (used, lanes.unpack_singles(largest).into_iter().fold(0.0, f32::max).into())
    }
}
