//! Writing to as many places at once as a digit has values: few enough that the first-level cache keeps the
//! line that each of them is filling, and what follows is asked for while the line before it fills.

use std::marker::PhantomData;

use super::PLACES;

/// Bytes of a line of cache.
const LINE: usize = 64;

/// Fills its own places of an array.
pub(super) struct Writer<'a, D> {
    target: *mut D,
    next: [usize; PLACES],
    ends: [usize; PLACES],
    _target: PhantomData<&'a mut [D]>,
}

// SAFETY: a writer's places are its own, so it may work on any thread.
unsafe impl<D: Send> Send for Writer<'_, D> {}

impl<'a, D: Copy> Writer<'a, D> {
    /// Writers that share `target`: by place first and by writer second, writer w gets room for
    /// `counts[w][p]` values of place p, which is the order that a stable sort keeps.
    pub(super) fn all(target: &'a mut [D], counts: &[[usize; PLACES]]) -> Vec<Self> {
        let room: usize = counts.iter().flatten().sum();
        assert_eq!(room, target.len(), "each value has one place");
        let target = target.as_mut_ptr();
        let mut start = 0;
        let mut writers: Vec<Self> = counts
            .iter()
            .map(|_| Self { target, next: [0; PLACES], ends: [0; PLACES], _target: PhantomData })
            .collect();
        for place in 0..PLACES {
            for (writer, counts) in writers.iter_mut().zip(counts) {
                writer.next[place] = start;
                start += counts[place];
                writer.ends[place] = start;
            }
        }
        writers
    }

    /// Appends `value` to `place`.
    #[inline(always)]
    pub(super) fn push(&mut self, place: usize, value: D) {
        let at = self.next[place];
        assert!(at < self.ends[place], "a place got more values than were counted");
        ask_for(self.target.wrapping_add(at + LINE / size_of::<D>()));
        // SAFETY: this position lies before the end of a place of this writer alone; by `all` the places
        // lie within the target, which is borrowed for as long as the writer lives.
        unsafe { self.target.wrapping_add(at).write(value) };
        self.next[place] = at + 1;
    }
}

/// Asks for the line of cache at `address`, which may lie anywhere, to write to it.
#[inline(always)]
fn ask_for<D>(address: *mut D) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a hint, which touches no memory and faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(address.cast_const().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
