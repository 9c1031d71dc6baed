//! The tensor records of a file, checked against the header and against each other.

use std::vec;

use at1w_codec::{Encoder, Model};

use crate::digest::Digest;
use crate::format::bases::Bases;
use crate::format::chunk_table::chunk_table_len;
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::magic::MAGIC;
use crate::format::record::TensorRecord;
use crate::format::tensor_info::TensorInfo;

/// The records of all tensors, and what follows from them.
pub(crate) struct Records {
    pub(crate) records: Vec<TensorRecord>,
    /// The offset of each tensor in the file, and the end of the last one.
    pub(crate) offsets: Vec<u64>,
    /// The content digest of each tensor.
    pub(crate) content_digests: Vec<Digest>,
    /// The bases of the tensors that have one.
    pub(crate) bases: Bases,
    /// The index of the base of each tensor; none at all where no tensor has one.
    pub(crate) base_of: Vec<Option<u32>>,
    /// The length of the chunk tables of all tensors, in bytes.
    pub(crate) chunk_tables_len: u64,
    /// The length of the models of all tensors, in bytes.
    pub(crate) models_len: u64,
}

impl Records {
    /// Checks the records of a file whose index is at `index_offset`. `of_many` are the content
    /// digests of the tensors of several chunks, `bases` the bytes of the bases of a file that
    /// may have some.
    ///
    /// The records are what the writer meant, which does not make the writer honest: every number
    /// is checked.
    pub(crate) fn check(
        records: Vec<TensorRecord>,
        of_many: Vec<Digest>,
        bases: Option<&[u8]>,
        header: &Header,
        index_offset: u64,
    ) -> Result<Self, String> {
        let based = || records.iter().filter(|record| record.is_based());
        let same: Vec<_> = based().map(|record| record.stored_len() == 0).collect();
        let bases = match bases {
            Some(bytes) => Bases::parse(bytes, &same)?,
            None if same.is_empty() => Bases::default(),
            None => {
                return Err("a tensor has a base, and the file does not name the feature".into());
            }
        };
        let mut next = 0..;
        let mut base_of = |record: &TensorRecord| record.is_based().then(|| next.next()).flatten();
        let base_of = match bases.bases.is_empty() {
            true => Vec::new(),
            false => records.iter().map(&mut base_of).collect(),
        };
        let mut checked = Self {
            bases,
            base_of,
            offsets: Vec::with_capacity(records.len() + 1),
            content_digests: Vec::with_capacity(records.len()),
            records,
            chunk_tables_len: 0,
            models_len: 0,
        };
        let mut of_many = of_many.into_iter();
        let mut end = MAGIC.len() as u64;
        for (index, info) in header.tensors().iter().enumerate() {
            let record = checked.records[index];
            let fail = |problem: &str| format!("tensor {:?} {problem}", info.name());
            if !record.is_known() {
                return Err(fail("has a model kind or flags that this version does not know"));
            }
            checked.offsets.push(end);
            if record.is_based() && info.raw_len() == 0 {
                return Err(fail("has a base and no bytes"));
            }
            let added = match record.is_shared() {
                true => checked.add_shared(record, header, info, &mut of_many),
                false => checked.add_stored(record, info, &mut of_many, end, index_offset),
            };
            end = added.map_err(fail)?.unwrap_or(end);
        }
        checked.offsets.push(end);
        if end != index_offset || of_many.next().is_some() {
            return Err("bytes are left over that belong to no tensor".into());
        }
        Ok(checked)
    }

    /// Adds a tensor with stored bytes of its own, which begin at `start`; returns their end.
    fn add_stored(
        &mut self,
        record: TensorRecord,
        info: &TensorInfo,
        of_many: &mut vec::IntoIter<Digest>,
        start: u64,
        index_offset: u64,
    ) -> Result<Option<u64>, &'static str> {
        let chunks = Chunking::of(info).count();
        let model_len = u64::from(record.model_len());
        let table_len = match record.is_based() && record.stored_len() == 0 {
            true => 0,
            false => chunk_table_len(chunks),
        };
        let most = match chunks {
            1 => Model::MAX_LEN as u64 + Encoder::max_encoded_len(info.raw_len() as usize) as u64,
            _ => u64::MAX,
        };
        if model_len > Model::MAX_LEN as u64 || record.stored_len() > most {
            return Err("takes more than any encoding of it");
        }
        let end = start
            .checked_add(record.stored_len())
            .filter(|&end| end <= index_offset && table_len + model_len <= record.stored_len())
            .ok_or("does not fit where it should be")?;
        self.content_digests.push(match chunks {
            1 => Digest(record.digest),
            _ => of_many.next().ok_or("lacks its content digest")?,
        });
        self.chunk_tables_len += table_len;
        self.models_len += model_len;
        Ok(Some(end))
    }

    /// Adds a tensor that shares the stored bytes of an earlier one. The earlier one shares none
    /// itself: so there are no cycles.
    fn add_shared(
        &mut self,
        record: TensorRecord,
        header: &Header,
        info: &TensorInfo,
        of_many: &mut vec::IntoIter<Digest>,
    ) -> Result<Option<u64>, &'static str> {
        let content_digest = match Chunking::of(info).count() {
            1 => Some(Digest(record.digest)),
            _ => of_many.next(),
        };
        let index = record.model_len() as usize;
        let other = self.records[..self.content_digests.len()].get(index);
        let same = other.is_some_and(|other| !other.is_shared() && other.digest == record.digest)
            && header.tensors()[index].is_like(info)
            && content_digest == Some(self.content_digests[index]);
        if !same || record.stored_len() != 0 {
            return Err("shares the bytes of a tensor that is another");
        }
        self.content_digests.extend(content_digest);
        Ok(None)
    }
}
