//! The reference, which compilers vectorize as far as it goes.

use super::word::Word;
use super::{Classes, MAX_CLASSES};

/// The number of words that are counted in bytes.
const BLOCK: usize = 128;

#[inline(always)]
pub(super) fn count<W: Word>(classes: &Classes, base: &[u8]) -> [usize; MAX_CLASSES] {
    let words = W::chunks(base);
    // The number of words that are in each class or a later one.
    let mut reach = [words.len(), 0, 0, 0];
    for words in words.chunks(BLOCK) {
        for (reach, &first) in reach[1..].iter_mut().zip(classes.firsts()) {
            let some = words.iter().fold(0_u8, |some, word| {
                some.wrapping_add(u8::from(W::read(word).exponent() >= first))
            });
            *reach += usize::from(some);
        }
    }
    let [all, first, second, third] = reach;
    [all - first, first - second, second - third, third]
}

#[inline(always)]
pub(super) fn add<W: Word>(
    float: bool,
    classes: &Classes,
    mut places: [usize; MAX_CLASSES],
    differences: &[u8],
    base: &[u8],
    out: &mut [u8],
) {
    let (base, out, words) = (W::chunks(base), W::chunks_mut(out), W::chunks(differences));
    if classes.count() == 1 {
        let keep = !classes.is_alone(0);
        for ((out, base), word) in out.iter_mut().zip(base).zip(&words[places[0]..]) {
            W::read(word).plus(W::read(base).only_if(keep), float).write(out);
        }
        return;
    }
    for (out, base) in out.iter_mut().zip(base) {
        let base = W::read(base);
        let class = classes.of(base.exponent());
        let place = &mut places[usize::from(class) % MAX_CLASSES];
        let base = base.only_if(!classes.is_alone(class));
        W::read(&words[*place]).plus(base, float).write(out);
        *place += 1;
    }
}
