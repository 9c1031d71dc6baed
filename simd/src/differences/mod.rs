//! Words as differences to those of a base, sorted into classes by the exponent of the base: the
//! differences of a class lie one after the other, and go back to their places.

mod scalar;
mod word;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::Backend;
#[cfg(target_arch = "x86_64")]
use crate::backend::Token;

pub use word::Word;

/// The most classes that there are.
pub const MAX_CLASSES: usize = 4;

/// The number of bytes that must follow the differences of [`add`].
pub const PADDING: usize = 64;

/// The class of each exponent of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes {
    count: usize,
    /// The first exponent of each class but the first, in rising order.
    firsts: [u8; MAX_CLASSES - 1],
    /// Whether the base is taken as 0 in class 0.
    alone: bool,
}

impl Classes {
    /// Makes classes, the first of which begins at exponent 0, and the others at these; `None`
    /// unless these rise, are not 0, and are few enough. `alone` says that the base is taken as 0
    /// in class 0.
    pub fn new(firsts: &[u8], alone: bool) -> Option<Self> {
        let rise = firsts.first() != Some(&0) && firsts.windows(2).all(|pair| pair[0] < pair[1]);
        let mut all = [u8::MAX; MAX_CLASSES - 1];
        all.get_mut(..firsts.len()).filter(|_| rise)?.copy_from_slice(firsts);
        Some(Self { count: 1 + firsts.len(), firsts: all, alone })
    }

    /// Counts the classes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the first exponent of each class but the first.
    pub fn firsts(&self) -> &[u8] {
        &self.firsts[..self.count - 1]
    }

    /// Whether the base is taken as 0 in this class.
    #[inline(always)]
    pub fn is_alone(&self, class: u8) -> bool {
        self.alone & (class == 0)
    }

    /// Returns the class of an exponent.
    #[inline(always)]
    pub fn of(&self, exponent: u8) -> u8 {
        let mut class = 0;
        for (i, &first) in self.firsts.iter().enumerate() {
            class += u8::from(exponent >= first) & u8::from(i + 1 < self.count);
        }
        class
    }
}

/// Counts the words of a base in each class.
///
/// # Panics
/// Unless `width` is 1, 2, 4 or 8, and there are whole words.
pub fn count(
    backend: Backend,
    width: usize,
    classes: &Classes,
    base: &[u8],
) -> [usize; MAX_CLASSES] {
    whole_words(width, base);
    backend.vectorize(
        #[inline(always)]
        || match width {
            1 => scalar::count::<u8>(classes, base),
            2 => scalar::count::<u16>(classes, base),
            4 => scalar::count::<u32>(classes, base),
            _ => scalar::count::<u64>(classes, base),
        },
    )
}

/// Adds differences to the words of a base. `differences` has those of class 0, then those of class
/// 1, and so on, as many as [`count`] says, and [`PADDING`] bytes more. `float` says that words are
/// floats, which are subtracted as integers that rise with them.
///
/// # Panics
/// Unless `width` is 1, 2, 4 or 8, there are whole words, and as many in `base` and `out`, and the
/// differences are long enough.
pub fn add(
    backend: Backend,
    width: usize,
    float: bool,
    classes: &Classes,
    differences: &[u8],
    base: &[u8],
    out: &mut [u8],
) {
    whole_words(width, base);
    assert_eq!(base.len(), out.len(), "a word of the base for each");
    assert!(differences.len() >= out.len() + PADDING, "differences for all words, and padding");
    let counts = count(backend, width, classes, base);
    let mut places = [0; MAX_CLASSES];
    for class in 1..MAX_CLASSES {
        places[class] = places[class - 1] + counts[class - 1];
    }
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    #[cfg(target_arch = "x86_64")]
    let done = match float && classes.count > 1 {
        true => add_floats(backend, width, classes, &mut places, differences, base, out),
        false => 0,
    };
    let (base, out) = (&base[done..], &mut out[done..]);
    backend.vectorize(
        #[inline(always)]
        || match width {
            1 => scalar::add::<u8>(float, classes, places, differences, base, out),
            2 => scalar::add::<u16>(float, classes, places, differences, base, out),
            4 => scalar::add::<u32>(float, classes, places, differences, base, out),
            _ => scalar::add::<u64>(float, classes, places, differences, base, out),
        },
    );
}

/// Adds differences to floats of several classes, as far as a kernel does; returns the number of
/// bytes that are done.
#[cfg(target_arch = "x86_64")]
fn add_floats(
    backend: Backend,
    width: usize,
    classes: &Classes,
    places: &mut [usize; MAX_CLASSES],
    differences: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> usize {
    match (backend.token, width) {
        // SAFETY: the token exists, so this machine has AVX-512 with VBMI2, and POPCNT.
        (Token::Avx512(_), 2) => unsafe { avx512::add16(classes, places, differences, base, out) },
        // SAFETY: the token exists, so this machine has AVX-512 and POPCNT.
        (Token::Avx512(_), 4) => unsafe { avx512::add32(classes, places, differences, base, out) },
        // SAFETY: the token exists, so this machine has AVX2 and POPCNT.
        (Token::Avx2(..), 2) => unsafe { avx2::add16(classes, places, differences, base, out) },
        // SAFETY: the token exists, so this machine has AVX2 and POPCNT.
        (Token::Avx2(..), 4) => unsafe { avx2::add32(classes, places, differences, base, out) },
        _ => 0,
    }
}

fn whole_words(width: usize, words: &[u8]) {
    assert!(matches!(width, 1 | 2 | 4 | 8), "words of {width} bytes");
    assert!(words.len().is_multiple_of(width), "a part of a word");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_their_firsts() {
        for firsts in [&[][..], &[1], &[100, 255], &[3, 4, 5]] {
            let classes = Classes::new(firsts, false).unwrap();
            assert_eq!((classes.count(), classes.firsts()), (firsts.len() + 1, firsts));
            for exponent in 0..=u8::MAX {
                let class = firsts.iter().filter(|&&first| first <= exponent).count();
                assert_eq!(classes.of(exponent), class as u8);
            }
        }
        for firsts in [&[0][..], &[5, 5], &[6, 5], &[1, 2, 3, 4]] {
            assert_eq!(Classes::new(firsts, true), None);
        }
    }
}
