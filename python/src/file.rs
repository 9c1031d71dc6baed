//! An open file of weights, packed or not.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use at1w_container::{
    Digest, Error, Index, OpenOptions, Progress, ReadAt, Result, Slice, TensorInfo, Wanted,
    Weights, open_file, printable,
};
use at1w_remote::{Cache, OpenError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyByteArray, PyDict};

use crate::bases::folders_of;
use crate::errors::{SafetensorError, exception, located};
use crate::memory::{Fresh, Lent, Promised};
use crate::remote;
use crate::save::TensorSpec;
use crate::source::{Bytes, Count, Counted, Ranges};
use crate::work::{Watch, reading, watched, watched_by};

/// An open file of weights, packed or not.
#[pyclass(frozen, module = "at1w._at1w")]
pub(crate) struct File {
    weights: Weights,
    /// `None` for bytes in memory.
    path: Option<PathBuf>,
    count: Count,
    /// The flag that interrupts waiting for what is remote; `None` for what is not.
    flag: Option<Arc<AtomicBool>>,
    /// The copy in the cache that is read in the place of a remote file.
    cached: Option<(Cache, String)>,
}

/// The part to take of a dimension: one position, or start, stop and step.
#[derive(FromPyObject)]
pub(crate) enum Part {
    #[pyo3(transparent)]
    At(i64),
    #[pyo3(transparent)]
    Steps((i64, i64, NonZeroU64)),
}

impl From<Part> for Index {
    fn from(part: Part) -> Self {
        match part {
            Part::At(at) => Self::At(at),
            Part::Steps((start, stop, step)) => Self::Steps(Some(start), Some(stop), step),
        }
    }
}

#[pymethods]
impl File {
    /// Opens the file at a path. Accepts both backends of safetensors, "mmap" and "pread", and maps
    /// the file with neither: a mapped file that shrinks would end the process, and mapping is
    /// hardly faster.
    #[new]
    #[pyo3(signature = (path, backend = "pread", root = None, keep = false, bases = vec![]))]
    fn open(
        py: Python<'_>,
        path: PathBuf,
        backend: &str,
        root: Option<&str>,
        keep: bool,
        bases: Vec<PathBuf>,
    ) -> PyResult<Self> {
        if !["mmap", "pread"].contains(&backend) {
            return Err(SafetensorError::new_err(format!(
                "backend {backend:?} is invalid (expected one of: \"mmap\", \"pread\")"
            )));
        }
        let root = root.map(parse_digest).transpose()?;
        if remote::address(&path).is_some() {
            let open = |watch: &Watch| Self::at(path, root, keep, watch);
            return Ok(watched_by(py, None, open, remote::raised)?.looking_in(bases, None));
        }
        py.detach(|| {
            let file = open_file(&path, Wanted::Weights)
                .and_then(|source| Self::new(source, root))
                .map_err(|error| error.in_file(&path))?;
            let file = file.looking_in(bases, Some(&path));
            Ok(Self { path: Some(path), ..file })
        })
        .map_err(exception)
    }

    /// Opens a file that is in memory.
    #[staticmethod]
    fn from_bytes(data: PyBackedBytes) -> PyResult<Self> {
        Self::new(Bytes(data), None).map_err(exception)
    }

    /// Opens a file that Python reads: `read(starts, ends)` returns the bytes of each range.
    #[staticmethod]
    fn from_ranges(
        py: Python<'_>,
        label: PathBuf,
        len: u64,
        read: Py<PyAny>,
        root: Option<&str>,
    ) -> PyResult<Self> {
        let root = root.map(parse_digest).transpose()?;
        let open = |watch: &Watch| {
            let file = Self::new(Ranges { len, read }, root).map_err(|e| e.in_file(&label))?;
            Ok(Self { path: Some(label), flag: Some(watch.flag()), ..file })
        };
        watched(py, None, open)
    }

    /// Returns the names of the tensors, in the order of their data.
    fn names(&self) -> Vec<&str> {
        self.weights.header().tensors().iter().map(TensorInfo::name).collect()
    }

    /// Returns the dtype of a tensor, as the header spells it, and its shape.
    fn info(&self, name: &str) -> PyResult<(&str, &[u64])> {
        let tensor = self.weights.header().tensor(name).map_err(|error| self.exception(error))?;
        Ok((tensor.dtype_name(), tensor.shape()))
    }

    /// Returns the length of a tensor in bytes.
    fn tensor_len(&self, name: &str) -> PyResult<u64> {
        self.weights.tensor_len(name).map_err(|error| self.exception(error))
    }

    /// Names a tensor for messages, after the file if that has a path.
    fn place(&self, name: &str) -> String {
        let tensor = format!("tensor {name:?}");
        let place = match &self.path {
            Some(path) => format!("{}: {tensor}", path.display()),
            None => tensor,
        };
        printable(&place).into_owned()
    }

    /// Returns the `__metadata__` of the header.
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let header = self.weights.header();
        let entries = header.has_metadata().then(|| PyDict::new(py));
        if let Some(entries) = &entries {
            header.metadata().try_for_each(|(key, value)| entries.set_item(key, value))?;
        }
        Ok(entries)
    }

    /// The root of a packed file, in hexadecimal digits.
    #[getter]
    fn root(&self) -> Option<String> {
        self.weights.root().map(|root| root.to_string())
    }

    /// The SHA-256 of the file that a packed one restores to, in hexadecimal digits.
    #[getter]
    fn original_sha256(&self) -> Option<String> {
        self.weights.packed().map(|reader| reader.info().original_digest.to_string())
    }

    /// The length of the safetensors file in bytes; of a packed file, of the one it restores to.
    #[getter]
    fn original_len(&self) -> u64 {
        self.weights.original_len()
    }

    /// The number of bytes read of the file since it was opened, its index included.
    #[getter]
    fn bytes_read(&self) -> u64 {
        self.count.get()
    }

    /// Makes a proof of a slice of a tensor, written as text.
    fn prove(&self, py: Python<'_>, name: &str, slice: &str) -> PyResult<Vec<u8>> {
        let slice: Slice =
            slice.parse().map_err(|error| PyValueError::new_err(format!("{error}")))?;
        let reader = self.weights.packed().ok_or(Error::NoRoot);
        py.detach(|| reader?.prove(name, &slice)).map_err(|error| self.exception(error))
    }

    /// Returns the receipt of what was read, as JSON.
    fn receipt(&self) -> PyResult<String> {
        let receipt = serde_json::to_string(&self.weights.receipt());
        receipt.map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Reads tensors, each into a new one that `empty(dtype, shape)` makes.
    fn read<'py>(
        &self,
        names: Vec<PyBackedStr>,
        empty: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut tensors =
            names.iter().map(|name| self.fresh(name, empty)).collect::<PyResult<Vec<_>>>()?;
        let outs = tensors.iter_mut().map(Fresh::bytes);
        let mut wanted: Vec<_> = names.iter().map(|name| &**name).zip(outs).collect();
        // Small tensors take time as well.
        let total = wanted.iter().map(|(_, out)| (64 << 10).max(out.len() as u64)).sum();
        self.reading(empty.py(), total, |progress| self.weights.read(&mut wanted, progress))?;
        Ok(tensors.into_iter().map(Fresh::into_tensor).collect())
    }

    /// Turns memory that holds the bases of tensors into those tensors. Returns the names of those
    /// that are done, the root if all of the file are, and the exception of the first that is not.
    #[allow(clippy::type_complexity, reason = "called by one function, which names them")]
    fn update(
        &self,
        py: Python<'_>,
        tensors: Vec<(PyBackedStr, Py<TensorSpec>)>,
    ) -> PyResult<(Vec<String>, Option<String>, Option<PyErr>)> {
        let Some(reader) = self.weights.packed() else {
            let problem = "a safetensors file is no difference to memory: load it, or pack it";
            return Err(SafetensorError::new_err(problem));
        };
        let lent = tensors.iter().map(|(_, spec)| {
            let Promised { address, len } = spec.get().data;
            (spec.bind(py).clone().into_any(), address, len)
        });
        let mut lent = Lent::all(lent.collect()).map_err(|(one, other)| {
            let [one, other] = [one, other].map(|at| &tensors[at].0);
            PyValueError::new_err(format!(
                "{}: its memory is also that of {other:?}",
                self.place(one)
            ))
        })?;
        let outs = lent.iter_mut().map(Lent::bytes);
        let mut memory: Vec<_> = tensors.iter().map(|(name, _)| &**name).zip(outs).collect();
        let total = memory.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let updated = reading(py, total, self.flag.as_ref(), |progress| {
            Ok(reader.update(&mut memory, progress))
        })?;
        let names = updated.names.into_iter().map(str::to_owned).collect();
        let root = updated.root.map(|root| root.to_string());
        Ok((names, root, updated.failed.map(|error| self.exception(error))))
    }

    /// Reads tensors, each into a dense, writable tensor that is there: its name, the tensor, the
    /// address of its memory and the length of it in bytes.
    fn read_into(
        &self,
        py: Python<'_>,
        wanted: Vec<(PyBackedStr, Bound<'_, PyAny>, usize, usize)>,
    ) -> PyResult<()> {
        let mut names = Vec::with_capacity(wanted.len());
        let mut memory = Vec::with_capacity(wanted.len());
        let mut total = 0;
        for (name, tensor, address, len) in wanted {
            let needed = self.weights.tensor_len(&name).map_err(|error| self.exception(error))?;
            if len as u64 != needed {
                let problem = format!("{needed} bytes do not fit memory of {len}");
                return Err(PyValueError::new_err(format!("{}: {problem}", self.place(&name))));
            }
            // Small tensors take time as well.
            total += (64 << 10).max(needed);
            names.push(name);
            memory.push((tensor, address, len));
        }
        let mut memory = Lent::all(memory).map_err(|(one, other)| {
            let place = self.place(&names[one]);
            PyValueError::new_err(format!("{place}: its memory is also that of {:?}", names[other]))
        })?;
        let outs = memory.iter_mut().map(Lent::bytes);
        let mut wanted: Vec<_> = names.iter().map(|name| &**name).zip(outs).collect();
        self.reading(py, total, |progress| self.weights.read(&mut wanted, progress))
    }

    /// Has what is remote sent ahead: these tensors will be read.
    fn prefetch(&self, py: Python<'_>, names: Vec<PyBackedStr>) -> PyResult<()> {
        let names: Vec<_> = names.iter().map(|name| &**name).collect();
        py.detach(|| self.weights.prefetch(&names)).map_err(|error| self.exception(error))
    }

    /// Whether the file is remote: what is read of it is asked for.
    #[getter]
    fn is_remote(&self) -> bool {
        self.flag.is_some()
    }

    /// Reads parts of tensors like `read_slice`, together.
    fn read_slices<'py>(
        &self,
        wanted: Vec<(PyBackedStr, Vec<Part>)>,
        empty: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut parts = Vec::with_capacity(wanted.len());
        let mut total = 0;
        for (name, slice) in wanted {
            let slice = Slice(slice.into_iter().map(Index::from).collect());
            let (tensor, len) = self.fresh_slice(&name, &slice, empty)?;
            total += (64 << 10).max(len);
            parts.push((name, slice, tensor));
        }
        let wanted = parts.iter_mut();
        let mut wanted: Vec<_> =
            wanted.map(|(name, slice, tensor)| (&**name, &*slice, tensor.bytes())).collect();
        self.reading(empty.py(), total, |progress| {
            self.weights.read_slices(&mut wanted, progress)
        })?;
        Ok(parts.into_iter().map(|(_, _, tensor)| tensor.into_tensor()).collect())
    }

    /// Reads a tensor like `read`, and checks that its SHA-256 is `sha256`.
    fn read_pinned<'py>(
        &self,
        name: &str,
        sha256: &str,
        empty: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let digest = parse_digest(sha256)?;
        let mut tensor = self.fresh(name, empty)?;
        let out = tensor.bytes();
        self.reading(empty.py(), out.len() as u64, |progress| {
            self.weights.read_pinned(name, digest, out, progress)
        })?;
        Ok(tensor.into_tensor())
    }

    /// Reads rows of a tensor like `read`: any, in any order.
    fn read_rows<'py>(
        &self,
        name: &str,
        rows: Vec<i64>,
        empty: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let shape = self.weights.rows_shape(name, &rows);
        let (shape, len) = shape.map_err(|error| self.exception(error))?;
        let (dtype, _) = self.info(name)?;
        let mut tensor = self.empty(name, empty, dtype, &shape, len)?;
        let out = tensor.bytes();
        self.reading(empty.py(), len, |progress| {
            self.weights.read_rows(name, &rows, out, progress)
        })?;
        Ok(tensor.into_tensor())
    }

    /// Reads a part of a tensor like `read`. The part has an entry for each dimension.
    fn read_slice<'py>(
        &self,
        name: &str,
        parts: Vec<Part>,
        empty: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let slice = Slice(parts.into_iter().map(Index::from).collect());
        let (mut tensor, len) = self.fresh_slice(name, &slice, empty)?;
        let out = tensor.bytes();
        self.reading(empty.py(), len, |progress| {
            self.weights.read_slice(name, &slice, out, progress)
        })?;
        Ok(tensor.into_tensor())
    }
}

impl File {
    /// Opens a file of a store, which messages name by `label`.
    pub(crate) fn of_store(
        source: Box<dyn ReadAt>,
        options: &OpenOptions,
        label: PathBuf,
    ) -> Result<Self> {
        let count = Count::default();
        let weights = Weights::new(Box::new(Counted(source, count.clone())), options);
        let weights = weights.map_err(|error| error.in_file(&label))?;
        Ok(Self { weights, path: Some(label), count, flag: None, cached: None })
    }

    /// Opens the file at an address.
    fn at(
        path: PathBuf,
        root: Option<Digest>,
        keep: bool,
        watch: &Watch,
    ) -> Result<Self, OpenError> {
        let count = Count::default();
        let wrap = |source| -> Box<dyn ReadAt> { Box::new(Counted(source, count.clone())) };
        let address = remote::address(&path).unwrap_or_default();
        let opened = remote::open(address, root, (Cache::of_user()?, keep), watch, wrap)?;
        let (weights, cached, flag) = (opened.weights, opened.cached, Some(watch.flag()));
        Ok(Self { weights, path: Some(path), count, flag, cached })
    }

    /// Looks for bases in folders, beside the file, and where the environment says.
    fn looking_in(self, folders: Vec<PathBuf>, path: Option<&Path>) -> Self {
        let finder = Arc::new(folders_of(folders, path));
        Self { weights: self.weights.with_bases(finder), ..self }
    }

    fn new(source: impl ReadAt + 'static, root: Option<Digest>) -> Result<Self> {
        let count = Count::default();
        let source = Box::new(Counted(source, count.clone()));
        let weights = Weights::new(source, &OpenOptions::new().root(root))?;
        Ok(Self { weights, path: None, count, flag: None, cached: None })
    }

    fn fresh<'py>(&self, name: &str, empty: &Bound<'py, PyAny>) -> PyResult<Fresh<'py>> {
        let len = self.weights.tensor_len(name).map_err(|error| self.exception(error))?;
        let (dtype, shape) = self.info(name)?;
        self.empty(name, empty, dtype, shape, len)
    }

    /// Makes a new tensor of the framework for a slice; returns it with its length in bytes.
    fn fresh_slice<'py>(
        &self,
        name: &str,
        slice: &Slice,
        empty: &Bound<'py, PyAny>,
    ) -> PyResult<(Fresh<'py>, u64)> {
        let shape = self.weights.slice_shape(name, slice);
        let (shape, len) = shape.map_err(|error| self.exception(error))?;
        let (dtype, _) = self.info(name)?;
        Ok((self.empty(name, empty, dtype, &shape, len)?, len))
    }

    /// Makes a new tensor of the framework, to read this one into.
    fn empty<'py>(
        &self,
        name: &str,
        empty: &Bound<'py, PyAny>,
        dtype: &str,
        shape: &[u64],
        len: u64,
    ) -> PyResult<Fresh<'py>> {
        Fresh::new(empty, dtype, shape, len)
            .map_err(|error| located(empty.py(), error, &self.place(name)))
    }

    fn reading(
        &self,
        py: Python<'_>,
        bytes: u64,
        read: impl FnOnce(&dyn Progress) -> Result<()> + Send,
    ) -> PyResult<()> {
        reading(py, bytes, self.flag.as_ref(), |progress| {
            read(progress).map_err(|error| self.in_file(error))
        })
    }

    fn exception(&self, error: Error) -> PyErr {
        exception(self.in_file(error))
    }

    fn in_file(&self, error: Error) -> Error {
        if let Some((cache, key)) = &self.cached
            && error.is_integrity()
            && !error.is_of_base()
        {
            // Whoever opens the file again gets it from its server.
            cache.remove(key);
        }
        match &self.path {
            Some(path) => error.in_file(path),
            None => error,
        }
    }
}

/// Returns the tensors of a file in memory: `[(name, {"shape", "dtype", "data"}), ...]`, in the
/// order of their data.
#[pyfunction]
pub(crate) fn deserialize<'py>(
    py: Python<'py>,
    bytes: PyBackedBytes,
) -> PyResult<Vec<(String, Bound<'py, PyDict>)>> {
    let file = File::from_bytes(bytes)?;
    let tensors = file.weights.header().tensors().iter();
    tensors
        .map(|tensor| {
            let name = tensor.name();
            let len = file.weights.tensor_len(name).map_err(exception)?;
            let data = PyByteArray::new_with(py, len as usize, |out| {
                file.weights.read(&mut [(name, out)], &()).map_err(exception)
            })?;
            let entry = PyDict::new(py);
            entry.set_item("shape", tensor.shape())?;
            entry.set_item("dtype", tensor.dtype_name())?;
            entry.set_item("data", data)?;
            Ok((name.to_owned(), entry))
        })
        .collect()
}

pub(crate) fn parse_digest(text: &str) -> PyResult<Digest> {
    text.parse().map_err(|error| PyValueError::new_err(format!("{text:?}: {error}")))
}
