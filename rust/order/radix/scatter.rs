//! Writing to many places of an array at once, each from its beginning to its end.

use std::marker::PhantomData;

/// What is left of a place.
struct Place {
    next: usize,
    end: usize,
}

/// Fills its own places of an array.
pub(super) struct Writer<'a, D> {
    target: *mut D,
    places: Vec<Place>,
    _target: PhantomData<&'a mut [D]>,
}

// SAFETY: a writer's places are its own, so it may work on any thread.
unsafe impl<D: Send> Send for Writer<'_, D> {}

impl<'a, D: Copy> Writer<'a, D> {
    /// Writers that share `target`: by place first and by writer second, writer w gets room for
    /// `counts[w][p]` values of place p, which is the order that a stable sort keeps.
    pub(super) fn all(target: &'a mut [D], counts: &[Vec<usize>]) -> Vec<Self> {
        let room: usize = counts.iter().flatten().sum();
        assert_eq!(room, target.len(), "each value has one place");
        let target = target.as_mut_ptr();
        let mut writers: Vec<Self> =
            counts.iter().map(|_| Self { target, places: Vec::new(), _target: PhantomData }).collect();
        let mut next = 0;
        for place in 0..counts.first().map_or(0, Vec::len) {
            for (writer, counts) in writers.iter_mut().zip(counts) {
                let end = next + counts[place];
                writer.places.push(Place { next, end });
                next = end;
            }
        }
        writers
    }

    /// Appends each value to the place beside it.
    #[inline(always)]
    pub(super) fn extend(&mut self, values: impl Iterator<Item = (usize, D)>) {
        // In variables, which no value that is written could change.
        let (target, places) = (self.target, &mut self.places[..]);
        for (place, value) in values {
            let Place { next, end } = &mut places[place];
            let at = *next;
            assert!(at < *end, "a place got more values than were counted");
            // SAFETY: this position lies before the end of a place of this writer alone; by `all` the places
            // lie within the target, which is borrowed for as long as the writer lives.
            unsafe { target.wrapping_add(at).write(value) };
            *next = at + 1;
        }
    }
}
