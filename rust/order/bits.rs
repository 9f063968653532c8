//! One bit for each sample, and the positions of those that are set.

use super::scan::TILE;
use crate::simd::dispatch;

/// The places of the set bits of each byte, in order.
static PLACES: [[u8; 8]; 256] = {
    let mut places = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut set) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                places[byte][set] = bit;
                set += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    places
};

/// 64 bytes, each 0 or 1, as the bits of a word.
#[inline(always)]
pub(super) fn packed(bytes: &[u8; 64]) -> u64 {
    /// Moves the bit of byte i to bit 56 + i; no two products meet.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (eights, _) = bytes.as_chunks::<8>();
    let mut word = 0;
    for (i, &eight) in eights.iter().enumerate() {
        word |= (u64::from_le_bytes(eight).wrapping_mul(GATHER) >> 56) << (8 * i);
    }
    word
}

/// How many bits are set.
#[inline(always)]
pub(super) fn count(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

/// Positions of a word written at once, whether or not there are so many: most words of a sparse selection have
/// no more, and how many they have then decides nothing.
const AT_ONCE: usize = 4;

/// Words for each bit from which on empty words are passed by.
const SPARSE: usize = 4;

/// Where the set bits of the words of one tile stand.
pub(super) struct Places {
    places: [u16; TILE + 8],
    len: usize,
}

impl Places {
    pub(super) const fn new() -> Self {
        Self { places: [0; TILE + 8], len: 0 }
    }

    /// The places of the bits of `words`, ascending.
    #[inline(always)]
    pub(super) fn of(&mut self, words: &[u64]) -> impl ExactSizeIterator<Item = usize> {
        self.len = 0;
        let sparse = count(words) * SPARSE < words.len();
        for (first, &word) in (0..).step_by(64).zip(words) {
            // Where most words are empty, to pass them by is quicker than to decide nothing.
            if sparse && word == 0 {
                continue;
            }
            let count = word.count_ones() as usize;
            if count <= AT_ONCE {
                let mut bits = word;
                for place in self.room::<AT_ONCE>() {
                    *place = first + bits.trailing_zeros() as u16;
                    bits &= bits.wrapping_sub(1);
                }
                self.len += count;
            } else {
                for (byte, start) in word.to_le_bytes().into_iter().zip((first..).step_by(8)) {
                    *self.room() = PLACES[usize::from(byte)].map(|place| start + u16::from(place));
                    self.len += byte.count_ones() as usize;
                }
            }
        }
        self.places[..self.len].iter().map(|&place| usize::from(place))
    }

    /// Where the next places go, of which not all need to count.
    #[inline(always)]
    fn room<const N: usize>(&mut self) -> &mut [u16; N] {
        self.places[self.len..].first_chunk_mut().expect("a tile has room for all its bits")
    }
}

/// Sets the bits of `words` from `start` on as they are in `others`.
pub(super) fn splice(words: &mut [u64], others: &[u64], start: usize) {
    let Some((word, others)) = words.get_mut(start / 64..).zip(others.get(start / 64..)) else { return };
    let kept = (1 << (start % 64)) - 1;
    let first = word.first().copied().unwrap_or(0);
    word.copy_from_slice(others);
    if let Some(word) = word.first_mut() {
        *word = *word & !kept | first & kept;
    }
}

/// Writes the positions of the set bits, as many as there is room for; the first bit is sample `first`.
/// Returns how many are set.
pub(super) fn write(words: &[u64], first: usize, out: &mut [i64]) -> usize {
    dispatch(
        #[inline(always)]
        || {
            let mut at = 0;
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            for (byte, start) in bytes.zip((first as i64..).step_by(8)) {
                let (places, count) = (&PLACES[usize::from(byte)], byte.count_ones() as usize);
                let room = out.get_mut(at..).unwrap_or_default();
                // Eight are written where there is room, so that the count decides nothing.
                if let Some(room) = room.first_chunk_mut::<8>() {
                    *room = places.map(|place| start + i64::from(place));
                } else {
                    room.iter_mut()
                        .zip(places)
                        .take(count)
                        .for_each(|(slot, &place)| *slot = start + i64::from(place));
                }
                at += count;
            }
            at
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_bits_come_back_as_positions() {
        let noise = |i: u64| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
        for threshold in [0, 1, 4, 7, 8] {
            let bytes: Vec<u8> = (0..640).map(|i| u8::from(noise(i) < threshold)).collect();
            let words: Vec<u64> = bytes.as_chunks::<64>().0.iter().map(packed).collect();
            let expected: Vec<i64> = (1000..1640).filter(|&i| bytes[i as usize - 1000] == 1).collect();
            let mut out = vec![0; expected.len()];
            assert_eq!(write(&words, 1000, &mut out), count(&words));
            assert_eq!(out, expected);
            assert!(Places::new().of(&words).map(|place| place as i64 + 1000).eq(expected));
        }
    }

    #[test]
    fn bits_from_a_place_on_are_replaced() {
        let (ones, none) = ([u64::MAX; 3], [0; 3]);
        for start in [0, 1, 63, 64, 65, 191] {
            let mut words = none;
            splice(&mut words, &ones, start);
            assert!(Places::new().of(&words).eq(start..192), "{start}");
        }
    }
}
