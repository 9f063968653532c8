//! One bit for each sample, and the positions of those that are set.

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

/// Writes the positions of the set bits, as many as there is room for; the first bit is sample `first`.
pub(super) fn write(words: &[u64], first: usize, out: &mut [i64]) {
    dispatch(
        #[inline(always)]
        || {
            let mut at = 0;
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            for (byte, start) in bytes.zip((first as i64..).step_by(8)) {
                let places = &PLACES[byte as usize];
                let count = byte.count_ones() as usize;
                let room = out.get_mut(at..).unwrap_or_default();
                // Eight are written where there is room, so that the count decides nothing.
                let room = if room.len() < 8 {
                    let end = count.min(room.len());
                    &mut room[..end]
                } else {
                    &mut room[..8]
                };
                for (slot, &place) in room.iter_mut().zip(places) {
                    *slot = start + i64::from(place);
                }
                at += count;
            }
        },
    );
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
            write(&words, 1000, &mut out);
            assert_eq!(out, expected);
        }
    }
}
