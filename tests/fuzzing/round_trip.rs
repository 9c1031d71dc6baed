//! Packs tensors of any dtype and shape at any level, and restores them.

use arbitrary::{Result, Unstructured};
use at1w_codec::Dtype;

use super::{LEVELS, data};
use crate::{Tensor, open, packed_at, restored, safetensors};

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let level = *u.choose(&LEVELS)?;
    let mut tensors: Vec<Tensor> = Vec::new();
    for i in 0..u.int_in_range(1..=4)? {
        let name = format!("t{i}");
        if i > 0 && u.ratio(1, 5)? {
            tensors.push(Tensor { name, ..tensors[0].clone() });
            continue;
        }
        let dtype = *u.choose(&Dtype::ALL)?;
        let mut shape: Vec<u64> =
            (0..u.int_in_range(0..=3)?).map(|_| u.int_in_range(0..=40)).collect::<Result<_>>()?;
        if dtype.bits() < 8 {
            shape.push(4);
        }
        let elements = shape.iter().product::<u64>().min(20_000);
        if shape.iter().product::<u64>() != elements {
            shape = vec![elements / 4 * 4];
        }
        let elements = shape.iter().product::<u64>() as usize;
        tensors.push(Tensor::new(&name, dtype, &shape, data(u, dtype, elements)?));
    }
    let original = safetensors(&tensors);
    let packed = packed_at(level, &original).expect("a valid file");
    assert!(restored(&packed).expect("what was packed") == original);
    let reader = open(&packed).expect("what was packed");
    for tensor in &tensors {
        let read = reader.tensor(&tensor.name).and_then(|tensor| tensor.read_to_vec());
        assert!(read.expect("what was packed") == tensor.data);
    }
    Ok(())
}
