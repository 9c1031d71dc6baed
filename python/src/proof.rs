//! Proofs of tensors for those who know the root.

use at1w_container::{OpenOptions, Proof};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::errors::exception;
use crate::file::parse_digest;
use crate::memory::Fresh;

/// The root, the name of the tensor, the slice as text, and the tensor that `empty` made.
type Proven<'py> = (String, String, String, Bound<'py, PyAny>);

/// Checks a proof, under a root where one is named; reads what it proves into a new tensor that
/// `empty(dtype, shape)` makes.
#[pyfunction]
pub(crate) fn check_proof<'py>(
    py: Python<'py>,
    proof: PyBackedBytes,
    root: Option<&str>,
    empty: &Bound<'py, PyAny>,
) -> PyResult<Proven<'py>> {
    let root = root.map(parse_digest).transpose()?;
    let checked = py.detach(|| {
        let proof = Proof::new(proof.to_vec(), &OpenOptions::new().root(root))?;
        let (shape, bytes) = proof.read()?;
        Ok((proof, shape, bytes))
    });
    let (proof, shape, bytes) = checked.map_err(exception)?;
    let dtype = proof.tensor().dtype_name();
    let mut tensor = Fresh::new(empty, dtype, &shape, bytes.len() as u64)?;
    tensor.bytes().copy_from_slice(&bytes);
    let name = proof.tensor().name().to_owned();
    Ok((proof.root().to_string(), name, proof.slice().to_string(), tensor.into_tensor()))
}
