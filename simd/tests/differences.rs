//! Every back-end against the scalar reference, and that against its definition.

mod common;

use at1w_simd::differences::{Classes, MAX_CLASSES, PADDING, Word, add, count};
use at1w_simd::{Backend, Isa};
use common::{available, noise, random};
use proptest::prelude::*;

/// Adds by the definition, word by word.
fn defined<W: Word>(float: bool, classes: &Classes, words: &[u8], base: &[u8]) -> Vec<u8> {
    let mut places: [usize; MAX_CLASSES] = [0; MAX_CLASSES];
    let class = |base: W| usize::from(classes.of(base.exponent()));
    for base in W::chunks(base) {
        places.iter_mut().skip(class(W::read(base)) + 1).for_each(|place| *place += 1);
    }
    let mut out = base.to_vec();
    for (out, base) in W::chunks_mut(&mut out).iter_mut().zip(W::chunks(base)) {
        let base = W::read(base);
        let class = class(base);
        let word = W::read(&W::chunks(words)[places[class]]);
        word.plus(base.only_if(!classes.is_alone(class as u8)), float).write(out);
        places[class] += 1;
    }
    out
}

fn check(
    backend: Backend,
    width: usize,
    float: bool,
    classes: &Classes,
    words: &[u8],
    base: &[u8],
) {
    let expected = match width {
        1 => defined::<u8>(float, classes, words, base),
        2 => defined::<u16>(float, classes, words, base),
        4 => defined::<u32>(float, classes, words, base),
        _ => defined::<u64>(float, classes, words, base),
    };
    let counts = count(backend, width, classes, base);
    assert_eq!(counts, count(Backend::SCALAR, width, classes, base));
    assert_eq!(counts.iter().sum::<usize>(), base.len() / width);
    let mut out = vec![0x55; base.len()];
    add(backend, width, float, classes, words, base, &mut out);
    assert!(out == expected);
}

macro_rules! suite {
    ($($name:ident: $isa:expr;)*) => {$(
        #[test]
        fn $name() {
            let Some(backend) = available($isa) else { return };
            proptest!(|(
                n in 0..700_usize,
                width in prop::sample::select(vec![1_usize, 2, 4, 8]),
                float in any::<bool>(),
                alone in any::<bool>(),
                mut firsts in prop::collection::btree_set(1..=255_u8, 0..4),
                narrow in any::<bool>(),
                seed in any::<u64>(),
            )| {
                let mut next = random(seed);
                if narrow {
                    firsts = firsts.iter().map(|first| 120 + first % 8).collect();
                }
                let firsts: Vec<u8> = firsts.into_iter().collect();
                let classes = Classes::new(&firsts, alone).unwrap();
                let mut base = noise(seed, n * width);
                if narrow {
                    // Exponents as weights have them.
                    base.chunks_exact_mut(width).for_each(|word| {
                        word[width - 1] = word[width - 1] & 0x80 | 0x3c | next() as u8 & 3;
                    });
                }
                let words = noise(seed.wrapping_add(1), n * width + PADDING);
                check(backend, width, float, &classes, &words, &base);
            });
        }
    )*};
}

suite! {
    scalar: Isa::Scalar;
    avx2: Isa::Avx2;
    avx512: Isa::Avx512;
    neon: Isa::Neon;
}

#[test]
#[should_panic(expected = "padding")]
fn differences_without_padding_panic() {
    let classes = Classes::new(&[7], false).unwrap();
    add(Backend::best(), 2, true, &classes, &[0; 64], &[0; 64], &mut [0; 64]);
}
