//! Reads slices and byte ranges, and checks that they are parts of the whole.

use arbitrary::{Result, Unstructured};
use at1w_codec::Dtype;
use at1w_container::{Index, Slice};

use super::{LEVELS, data};
use crate::{Tensor, naive_slice, open, packed_at, safetensors};

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let whole_bytes: Vec<Dtype> = Dtype::ALL.into_iter().filter(|d| d.bits() >= 8).collect();
    let dtype = *u.choose(&whole_bytes)?;
    let shape: Vec<u64> =
        (0..u.int_in_range(0..=3)?).map(|_| u.int_in_range(1..=20)).collect::<Result<_>>()?;
    let elements = shape.iter().product::<u64>() as usize;
    let tensor = Tensor::new("t", dtype, &shape, data(u, dtype, elements)?);
    let before = Tensor::new("before", Dtype::U8, &[5], vec![9; 5]);
    let original = safetensors(&[before, tensor.clone()]);
    let packed = packed_at(*u.choose(&LEVELS)?, &original).expect("a valid file");
    let reader = open(&packed).expect("what was packed");
    for _ in 0..8 {
        let mut slice = Vec::new();
        for &dim in &shape {
            let (a, b) = (u.int_in_range(0..=dim - 1)? as i64, u.int_in_range(0..=dim)? as i64);
            slice.push(if u.arbitrary()? { Index::At(a) } else { Index::Range(Some(a), Some(b)) });
        }
        slice.truncate(u.int_in_range(0..=shape.len())?);
        let expected = naive_slice(&shape, dtype.bits() as usize / 8, &tensor.data, &slice);
        let read = reader.tensor("t").expect("its name").read_slice(&Slice(slice));
        assert!(read.expect("within the tensor") == expected);

        let start = u.int_in_range(0..=original.len())?;
        let end = u.int_in_range(start..=original.len())?;
        let read = reader.read_original(start as u64..end as u64);
        assert!(read.expect("within the file") == original[start..end]);
        // Any slice is right or an error.
        let _ = reader.tensor("t").expect("its name").read_slice(&Slice(vec![
            Index::Range(u.arbitrary()?, u.arbitrary()?),
            Index::At(u.arbitrary()?),
        ]));
    }
    Ok(())
}
