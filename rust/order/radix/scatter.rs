//! Writing to two thousand places at once: each place's values are collected in a line of cache and go to
//! memory a whole line at a time, so memory is touched once a line and not once a value.

use std::marker::PhantomData;

use super::PLACES;

/// Values of a line.
const LINE: usize = 8;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line<D>([D; LINE]);

/// Fills its own places of an array.
pub(super) struct Writer<'a, D> {
    target: *mut D,
    lines: Box<[Line<D>; PLACES]>,
    next: [usize; PLACES],
    starts: [usize; PLACES],
    ends: [usize; PLACES],
    _target: PhantomData<&'a mut [D]>,
}

// SAFETY: a writer's places are its own, so it may work on any thread.
unsafe impl<D: Send> Send for Writer<'_, D> {}

impl<'a, D: Copy + Default> Writer<'a, D> {
    /// Writers that share `target`: by place first and by writer second, writer w gets room for
    /// `counts[w][p]` values of place p, which is the order that a stable sort keeps.
    pub(super) fn all(target: &'a mut [D], counts: &[[usize; PLACES]]) -> Vec<Self> {
        let room: usize = counts.iter().flatten().sum();
        assert_eq!(room, target.len(), "each value has one place");
        let mut starts = vec![[0; PLACES]; counts.len()];
        let mut next = 0;
        for place in 0..PLACES {
            for (starts, counts) in starts.iter_mut().zip(counts) {
                starts[place] = next;
                next += counts[place];
            }
        }
        // Positions are counted from a boundary of lines in memory, so that full lines are whole there.
        let skew = target.as_ptr().addr() / size_of::<D>() % LINE;
        let target = target.as_mut_ptr().wrapping_sub(skew);
        starts
            .into_iter()
            .zip(counts)
            .map(|(starts, counts)| Self {
                target,
                lines: vec![Line([D::default(); LINE]); PLACES].try_into().unwrap_or_else(|_| unreachable!()),
                next: starts.map(|start| start + skew),
                starts: starts.map(|start| start + skew),
                ends: std::array::from_fn(|place| starts[place] + counts[place] + skew),
                _target: PhantomData,
            })
            .collect()
    }

    /// Appends `value` to `place`.
    #[inline(always)]
    pub(super) fn push(&mut self, place: usize, value: D) {
        let at = self.next[place];
        self.lines[place].0[at % LINE] = value;
        self.next[place] = at + 1;
        if at % LINE == LINE - 1 {
            if at + 1 - LINE >= self.starts[place] {
                self.flush(place, at + 1 - LINE, at + 1);
            } else {
                self.flush(place, self.starts[place], at + 1);
            }
        }
    }

    /// Writes what the lines still hold.
    pub(super) fn finish(&mut self) {
        for place in 0..PLACES {
            let to = self.next[place];
            self.flush(place, (to - to % LINE).max(self.starts[place]), to);
        }
    }

    /// Writes the values `from`..`to` of the place's line.
    #[inline(always)]
    fn flush(&mut self, place: usize, from: usize, to: usize) {
        assert!(to <= self.ends[place], "a place got more values than were counted");
        let line = &self.lines[place].0;
        // SAFETY: starts ≤ from ≤ to ≤ ends of this place, which by `all` (less the skew) lie within the target, borrowed for
        // as long as the writer lives, and belong to this writer alone; a line holds the values whose positions modulo LINE are its own, so from % LINE
        // and the to − from ≤ LINE values behind it lie within the line.
        unsafe {
            let values = line.as_ptr().add(from % LINE);
            std::ptr::copy_nonoverlapping(values, self.target.wrapping_add(from), to - from);
        }
    }
}
