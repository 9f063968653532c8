//! Where a small sample of an array is taken. The sample only decides how work is cut, never its
//! result: an unlucky one costs time.

/// One position in each of `count` equal strides of `0..len`, at an offset that follows no period the
/// data could have (multiples of the golden ratio, scrambled).
pub(super) fn positions(len: usize, count: usize) -> impl Iterator<Item = usize> {
    let stride = (len / count).max(1);
    (0..count.min(len)).map(move |i| {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        i * stride + ((mixed ^ mixed >> 29) >> 8) as usize % stride
    })
}
