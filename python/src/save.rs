//! Saving tensors that frameworks have in memory, in either format.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use at1w_container::fs::write_atomically;
use at1w_container::{Dtype, Error, Level, PackOptions, Staged, StagedTensor, UnknownLevel, pack};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::bases::open_bases;
use crate::errors::{SafetensorError, exception};
use crate::memory::Promised;
use crate::work::watched;

/// Describes a tensor for `serialize` and `serialize_file`.
///
/// `dtype` is a name such as "float32" or "bfloat16". `shape` is the shape in the framework:
/// "float4_e2m1fn_x2" has two elements in a byte, so its last dimension is doubled here. The
/// `data_len` bytes at `data_ptr` are the elements, dense, in row-major order and little-endian.
/// They must stay alive and unchanged until the tensor is saved.
#[pyclass(frozen, module = "at1w")]
pub(crate) struct TensorSpec {
    dtype: Dtype,
    /// The shape in elements, as in the header.
    #[pyo3(get)]
    shape: Vec<u64>,
    pub(crate) data: Promised,
}

#[pymethods]
impl TensorSpec {
    #[new]
    #[pyo3(signature = (*, dtype, shape, data_ptr, data_len))]
    fn new(dtype: &str, mut shape: Vec<u64>, data_ptr: usize, data_len: usize) -> PyResult<Self> {
        let dtype = parse_dtype(dtype)?;
        if let (Dtype::F4, Some(last)) = (dtype, shape.last_mut()) {
            *last = last.checked_mul(2).ok_or_else(|| {
                SafetensorError::new_err(format!("a last dimension of {last} bytes is too large"))
            })?;
        }
        Ok(Self { dtype, shape, data: Promised::new(data_ptr, data_len)? })
    }

    /// The dtype as a safetensors header spells it, such as "F32".
    #[getter]
    fn dtype(&self) -> &str {
        self.dtype.name()
    }

    /// The address of the bytes.
    #[getter]
    fn data_ptr(&self) -> usize {
        self.data.address
    }

    /// The number of bytes.
    #[getter]
    fn data_len(&self) -> usize {
        self.data.len
    }

    fn __repr__(&self) -> String {
        let Self { dtype, shape, data: Promised { address, len } } = self;
        let dtype = dtype.name();
        format!("TensorSpec(dtype='{dtype}', shape={shape:?}, data_ptr={address}, data_len={len})")
    }
}

/// The dtypes that can be saved, by their names in frameworks.
const DTYPES: [(&str, Dtype); 20] = [
    ("bool", Dtype::Bool),
    ("int8", Dtype::I8),
    ("uint8", Dtype::U8),
    ("int16", Dtype::I16),
    ("uint16", Dtype::U16),
    ("int32", Dtype::I32),
    ("uint32", Dtype::U32),
    ("int64", Dtype::I64),
    ("uint64", Dtype::U64),
    ("float16", Dtype::F16),
    ("float32", Dtype::F32),
    ("float64", Dtype::F64),
    ("bfloat16", Dtype::BF16),
    ("float8_e4m3fn", Dtype::F8E4M3),
    ("float8_e4m3fnuz", Dtype::F8E4M3Fnuz),
    ("float8_e5m2", Dtype::F8E5M2),
    ("float8_e5m2fnuz", Dtype::F8E5M2Fnuz),
    ("float8_e8m0fnu", Dtype::F8E8M0),
    ("float4_e2m1fn_x2", Dtype::F4),
    ("complex64", Dtype::C64),
];

fn parse_dtype(name: &str) -> PyResult<Dtype> {
    let known = DTYPES.iter().find(|(known, _)| *known == name);
    known.map(|&(_, dtype)| dtype).ok_or_else(|| {
        let all: Vec<_> = DTYPES.iter().map(|(name, _)| *name).collect();
        SafetensorError::new_err(format!(
            "Unknown dtype {name:?}. Supported dtypes: {}",
            all.join(", ")
        ))
    })
}

/// Tensors that a caller wants saved, by name.
type Specs = Vec<(String, Py<TensorSpec>)>;

/// Returns the bytes of a safetensors file with these tensors.
///
/// Raises SafetensorError if the file would not be valid, such as for a `data_len` that does not
/// fit dtype and shape.
#[pyfunction]
#[pyo3(signature = (tensor_dict, metadata = None))]
pub(crate) fn serialize<'py>(
    py: Python<'py>,
    tensor_dict: &Bound<'py, PyDict>,
    metadata: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let (specs, metadata) = (specs(tensor_dict)?, entries(metadata)?);
    let staged = stage(&specs, metadata.as_deref()).map_err(exception)?;
    PyBytes::new_with(py, staged.file_len() as usize, |mut out| {
        py.detach(|| staged.write(&mut out, &())).map_err(exception)
    })
}

/// Saves these tensors as a file: packed if its name ends in ".at1w", else safetensors. The file
/// appears whole or not at all, and replaces an existing one. `level` is "fast", "default" or
/// "max", from fast to small; `base` lists files of which a packed one keeps only the difference.
/// Both have no effect on a safetensors file.
///
/// Raises SafetensorError as `serialize` does, and OSError.
#[pyfunction]
#[pyo3(signature = (tensor_dict, filename, metadata = None, *, level = "default", base = vec![]))]
pub(crate) fn serialize_file(
    py: Python<'_>,
    tensor_dict: &Bound<'_, PyDict>,
    filename: PathBuf,
    metadata: Option<&Bound<'_, PyDict>>,
    level: &str,
    base: Vec<PathBuf>,
) -> PyResult<()> {
    let level = parse_level(level)?;
    let (specs, metadata) = (specs(tensor_dict)?, entries(metadata)?);
    watched(py, None, |watch| {
        let staged = stage(&specs, metadata.as_deref())?;
        let bases = open_bases(if is_at1w(&filename) { base } else { vec![] })?;
        bases.iter().try_for_each(|base| base.check_target(&filename))?;
        write_atomically(&filename, true, |out| {
            let mut out = BufWriter::new(out);
            if is_at1w(&filename) {
                let options = PackOptions::new().level(level).progress(watch).bases(&bases);
                pack(&staged, &mut out, &options)?;
            } else {
                staged.write(&mut out, watch)?;
            }
            out.flush().map_err(Error::Write)
        })
    })
}

/// Returns the level of this name.
pub(crate) fn parse_level(name: &str) -> PyResult<Level> {
    name.parse().map_err(|unknown: UnknownLevel| PyValueError::new_err(unknown.to_string()))
}

fn is_at1w(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "at1w")
}

fn specs(tensors: &Bound<'_, PyDict>) -> PyResult<Specs> {
    let spec = |(name, spec): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name: String = name.extract()?;
        let spec = spec.cast_into::<TensorSpec>().map_err(|_| {
            PyTypeError::new_err(format!("tensor {name:?} is described by no TensorSpec"))
        })?;
        Ok((name, spec.unbind()))
    };
    tensors.iter().map(spec).collect()
}

fn entries(metadata: Option<&Bound<'_, PyDict>>) -> PyResult<Option<Vec<(String, String)>>> {
    let entries = |metadata: &Bound<'_, PyDict>| {
        metadata.iter().map(|(key, value)| Ok((key.extract()?, value.extract()?))).collect()
    };
    metadata.map(entries).transpose()
}

fn stage<'a>(specs: &'a Specs, metadata: Option<&[(String, String)]>) -> Result<Staged<'a>, Error> {
    let tensors = specs.iter().map(|(name, spec)| {
        let TensorSpec { dtype, shape, data } = spec.get();
        StagedTensor { name, dtype: *dtype, shape, data: data.bytes() }
    });
    Staged::new(tensors.collect(), metadata)
}
