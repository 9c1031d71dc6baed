//! Making a proof of a part of a tensor.

use super::options::OpenOptions;
use super::plan::Plan;
use super::proof::{Proof, runs_of};
use super::reader::Reader;
use super::slice::Slice;
use crate::error::{Error, Result};
use crate::format::chunk_table::chunk_table_len;
use crate::format::features::FINE_BYTES;
use crate::format::magic::VERSION;
use crate::format::proof_head::{PROOF_MAGIC, ProofHead, checksum};
use crate::format::stored_header::{self, DEFLATED};
use crate::source;

impl Reader {
    /// Makes a proof of a slice of a tensor; an empty slice is the whole tensor. Whoever knows the
    /// root checks it without the file ([`Proof`]). Only the chunks that the slice touches are
    /// read, and the proof is checked before it is returned.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::Slice`], [`Error::NotAlone`], [`Error::DamagedTensor`],
    /// [`Error::Read`] and [`Error::Limit`].
    pub fn prove(&self, name: &str, slice: &Slice) -> Result<Vec<u8>> {
        let index = self.header().index_of(name)?;
        let stored = self.at(index).stored;
        if stored.entry.base.is_some() {
            return Err(Error::NotAlone(name.into()));
        }
        let (_, runs) = runs_of(slice, stored.info)?;
        let text = slice.to_string();
        let slice_len = u16::try_from(text.len()).map_err(|_| Error::Slice {
            name: name.into(),
            shape: stored.info.shape().into(),
            problem: "it is too long for a proof".into(),
        })?;
        let plan = Plan::read(stored)?;
        let touched: Vec<_> = runs.chunks(stored.chunking()).collect();
        let model_end = stored.entry.end - chunk_table_len(stored.chunk_count());
        let model = model_end - stored.entry.model_len..model_end;
        // Where no chunk is touched, nothing needs the model.
        let model = (!touched.is_empty()).then_some(model);
        let payloads = touched.iter().map(|&chunk| plan.payload_range(chunk));
        let ranges: Vec<_> = model.into_iter().chain(payloads).collect();
        let read = source::read_ranges(stored.source, &ranges)?;

        // Only what the proof uses: that of other tensors of the file keeps no reader from it.
        let fine = !touched.is_empty() && plan.model.has_fine_bytes();
        let features = if fine { FINE_BYTES } else { 0 };

        let (encoding, header) = stored_header::store(self.header().bytes());
        let header_len = self.header().bytes().len() as u32;
        let head = ProofHead {
            magic: PROOF_MAGIC,
            version: VERSION as u8,
            features: features as u8,
            slice_len: slice_len.to_le_bytes(),
            header_len: header_len.to_le_bytes(),
            deflated_len: (if encoding == DEFLATED { header.len() as u32 } else { 0 })
                .to_le_bytes(),
            tensor: (index as u32).to_le_bytes(),
            model_len: (read.first().map_or(0, |model| model.len()) as u32).to_le_bytes(),
        };
        let mut proof = bytemuck::bytes_of(&head).to_vec();
        proof.extend_from_slice(text.as_bytes());
        proof.extend_from_slice(&header);
        for other in (0..self.len()).filter(|&other| other != index) {
            proof.extend_from_slice(&self.index.entry(other).content_digest.0);
        }
        plan.states().iter().for_each(|state| proof.extend_from_slice(&state.to_bytes()));
        proof.extend_from_slice(&stored.digest().0);
        for payload in read.iter().skip(1) {
            proof.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        }
        read.iter().for_each(|part| proof.extend_from_slice(part));
        proof.extend_from_slice(&checksum(&proof));

        let options = OpenOptions::new().root(self.root()).backend(self.backend);
        let checked = Proof::new(proof, &options.limits(self.limits))?;
        checked.read()?;
        Ok(checked.into_bytes())
    }
}
