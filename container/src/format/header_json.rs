//! The JSON of a safetensors header: reads its fields and checks their types.

use std::fmt;

use at1w_codec::Dtype;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::tensor_info::{Kind, TensorInfo};

/// The top level of the JSON: `__metadata__`, and every other key a tensor.
pub(super) struct Fields {
    pub(super) metadata: Option<Vec<(String, String)>>,
    pub(super) tensors: Vec<TensorInfo>,
}

#[derive(serde::Deserialize)]
struct RawInfo {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensor names to dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut metadata = None;
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                let entries = map.next_value::<Option<Metadata>>()?;
                if metadata.replace(entries).is_some() {
                    return Err(serde::de::Error::duplicate_field("__metadata__"));
                }
                continue;
            }
            let RawInfo { dtype, shape, data_offsets: (start, end) } = map.next_value()?;
            let kind = match Dtype::from_name(&dtype) {
                Some(dtype) => Kind::Known(dtype),
                None => Kind::Unknown(dtype.into()),
            };
            tensors.push(TensorInfo {
                name: name.into(),
                kind,
                shape: shape.into(),
                data: start..end,
            });
        }
        Ok(Fields { metadata: metadata.flatten().map(|m| m.0), tensors })
    }
}

/// A map of strings to strings, in its order.
struct Metadata(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings to strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Metadata(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
