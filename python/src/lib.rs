//! The native part of the Python package `at1w`: the base of its Python modules, and the part of
//! the safetensors interface that needs no framework. This crate knows no byte layout.

mod bases;
mod convert;
mod errors;
mod file;
mod memory;
mod proof;
mod remote;
mod save;
mod source;
mod store;
mod work;

use pyo3::prelude::*;

#[cfg(target_endian = "big")]
compile_error!("weights are little-endian, and are handed to frameworks as they are");

#[pymodule(gil_used = false)]
mod _at1w {
    #[pymodule_export]
    use crate::convert::{begins_packed, is_packed, pack, unpack, verify};
    #[pymodule_export]
    use crate::file::{File, deserialize};
    #[pymodule_export]
    use crate::proof::check_proof;
    #[pymodule_export]
    use crate::remote::{fetch, is_url};
    #[pymodule_export]
    use crate::save::{TensorSpec, serialize, serialize_file};
    #[pymodule_export]
    use crate::store::Store;

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("FEATURES", at1w_container::FEATURES)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
