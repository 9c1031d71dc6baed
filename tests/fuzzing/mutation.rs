//! Changes parts of valid containers, chosen by their meaning, and corrects the digests. So the
//! parsers behind the digests get input that is nearly right.

use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};

use super::{plain_header, read_all, seal};
use crate::files::{FILES, SmallFile};

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    static PLAIN: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let files = PLAIN.get_or_init(|| {
        let packed = FILES.iter().map(SmallFile::packed);
        packed.map(|file| plain_header(&file).expect("a container")).collect()
    });
    let mut file = u.choose(files)?.clone();
    for _ in 0..u.int_in_range(1..=6)? {
        let trailer = file.len() - 176;
        let index = file[trailer..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let index = usize::try_from(index).unwrap_or(0).clamp(8, trailer);
        let part = match u.int_in_range(0..=9)? {
            0 => trailer..file.len(),
            // Changes mostly records, and mostly their numbers.
            1..=3 => index..trailer,
            _ => 8..index,
        };
        if part.is_empty() {
            continue;
        }
        let at = part.start + u.arbitrary::<u32>()? as usize % part.len();
        match u.int_in_range(0..=4)? {
            0 => file[at] = u.arbitrary()?,
            1 => file[at] ^= 1 << u.int_in_range(0..=7)?,
            2 => file[at] = file[at].wrapping_add(u.arbitrary()?),
            3 => file[at] = *u.choose(&[0, 1, 0x7f, 0x80, 0xff])?,
            // Copies a piece over another one.
            _ => {
                let from = part.start + u.arbitrary::<u32>()? as usize % part.len();
                let len = u.int_in_range(1..=32)?.min(part.end - at.max(from));
                file.copy_within(from..from + len, at);
            }
        }
    }
    seal(&mut file);
    read_all(file);
    Ok(())
}
