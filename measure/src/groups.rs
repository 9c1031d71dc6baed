//! The tensors of a file, by dtype and kind.

use std::collections::BTreeMap;

use at1w_container::TensorInfo;

use crate::kind::Kind;
use crate::result::Group;

/// Tensors by dtype and kind.
#[derive(Default)]
pub(crate) struct Groups(BTreeMap<(String, Kind), Group>);

impl Groups {
    pub(crate) fn add(&mut self, info: &TensorInfo, packed_bytes: u64, bound_bytes: f64) {
        let kind = Kind::of(info.name(), info.shape());
        let dtype = info.dtype_name().to_owned();
        let group = self.0.entry((dtype.clone(), kind)).or_insert_with(|| Group {
            dtype,
            kind,
            tensors: 0,
            elements: 0,
            raw_bytes: 0,
            packed_bytes: 0,
            bound_bytes: 0.0,
        });
        group.tensors += 1;
        group.elements += info.shape().iter().product::<u64>();
        group.raw_bytes += info.raw_len();
        group.packed_bytes += packed_bytes;
        group.bound_bytes += bound_bytes;
    }
}

impl From<Groups> for Vec<Group> {
    fn from(groups: Groups) -> Self {
        groups.0.into_values().collect()
    }
}
