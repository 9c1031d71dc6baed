//! The SHA extensions of ARM, on N messages in turn.

use core::arch::aarch64::*;

use pulp::cast;

use super::{BLOCK_LEN, K, State};

/// Returns whether this machine has the instructions of [`compress`].
pub(super) fn is_available() -> bool {
    std::arch::is_aarch64_feature_detected!("sha2")
}

/// Absorbs equally many blocks of each message.
#[target_feature(enable = "neon,sha2")]
pub(super) fn compress<const N: usize>(states: &mut [State; N], blocks: [&[[u8; BLOCK_LEN]]; N]) {
    let mut abcd = [vdupq_n_u32(0); N];
    let mut efgh = abcd;
    for (s, state) in states.iter().enumerate() {
        [abcd[s], efgh[s]] = cast(*state);
    }
    let constants: [uint32x4_t; 16] = cast(K);

    for i in 0..blocks[0].len() {
        let (abcd_before, efgh_before) = (abcd, efgh);
        let mut words = [[vdupq_n_u32(0); 4]; N];
        for (words, blocks) in words.iter_mut().zip(blocks) {
            let bytes: [uint8x16_t; 4] = cast(blocks[i]);
            for (words, bytes) in words.iter_mut().zip(bytes) {
                *words = vreinterpretq_u32_u8(vrev32q_u8(bytes));
            }
        }
        for (step, constants) in constants.into_iter().enumerate() {
            let (now, next, after, last) =
                (step % 4, (step + 1) % 4, (step + 2) % 4, (step + 3) % 4);
            for s in 0..N {
                let w = &mut words[s];
                let sum = vaddq_u32(w[now], constants);
                if step < 12 {
                    w[now] = vsha256su1q_u32(vsha256su0q_u32(w[now], w[next]), w[after], w[last]);
                }
                let before = abcd[s];
                abcd[s] = vsha256hq_u32(before, efgh[s], sum);
                efgh[s] = vsha256h2q_u32(efgh[s], before, sum);
            }
        }
        for s in 0..N {
            abcd[s] = vaddq_u32(abcd[s], abcd_before[s]);
            efgh[s] = vaddq_u32(efgh[s], efgh_before[s]);
        }
    }

    for (s, state) in states.iter_mut().enumerate() {
        *state = cast([abcd[s], efgh[s]]);
    }
}
