//! The definition of the planes, and the tail of every other back-end.

/// The bytes of a little-endian word.
pub(super) trait WordBytes: Copy {
    fn rotate_left(self) -> Self;
    fn rotate_right(self) -> Self;
}

macro_rules! word {
    ($int:ty) => {
        impl WordBytes for [u8; size_of::<$int>()] {
            #[inline(always)]
            fn rotate_left(self) -> Self {
                <$int>::from_le_bytes(self).rotate_left(1).to_le_bytes()
            }

            #[inline(always)]
            fn rotate_right(self) -> Self {
                <$int>::from_le_bytes(self).rotate_right(1).to_le_bytes()
            }
        }
    };
}

word!(u16);
word!(u32);
word!(u64);

/// Splits words. Each plane takes as many bytes as there are words.
pub(super) fn split<const W: usize>(rotate: bool, words: &[[u8; W]], planes: [&mut [u8]; W])
where
    [u8; W]: WordBytes,
{
    if rotate {
        split_mapped(words, planes, WordBytes::rotate_left);
    } else {
        split_mapped(words, planes, |word| word);
    }
}

/// Merges planes. Each has as many bytes as there are words.
pub(super) fn merge<const W: usize>(rotate: bool, planes: [&[u8]; W], words: &mut [[u8; W]])
where
    [u8; W]: WordBytes,
{
    if rotate {
        merge_mapped(planes, words, WordBytes::rotate_right);
    } else {
        merge_mapped(planes, words, |word| word);
    }
}

#[inline(always)]
fn split_mapped<const W: usize>(
    words: &[[u8; W]],
    planes: [&mut [u8]; W],
    map: impl Fn([u8; W]) -> [u8; W],
) {
    // Equal lengths that are known here let the loop do without checks.
    let planes = planes.map(|plane| &mut plane[..words.len()]);
    for (i, &word) in words.iter().enumerate() {
        let word = map(word);
        for p in 0..W {
            planes[p][i] = word[p];
        }
    }
}

#[inline(always)]
fn merge_mapped<const W: usize>(
    planes: [&[u8]; W],
    words: &mut [[u8; W]],
    map: impl Fn([u8; W]) -> [u8; W],
) {
    let planes = planes.map(|plane| &plane[..words.len()]);
    for (i, word) in words.iter_mut().enumerate() {
        *word = map(planes.map(|plane| plane[i]));
    }
}
