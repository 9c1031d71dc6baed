//! Encoding that is proven: each chunk is decoded again before it is kept, with the model that
//! readers will have.

use at1w_codec::{Backend, Decoder, Dtype, Encoder, Level, Model, Position};

use crate::format::features::FINE_BYTES;

/// A model as it was made, as it is stored, and as readers read it. The first form knows more about
/// how to encode well.
pub(super) struct StoredModel {
    made: Model,
    pub(super) bytes: Vec<u8>,
    read: Model,
}

impl StoredModel {
    /// Returns `None` if the stored form can't be read.
    pub(super) fn new(made: Model) -> Option<Self> {
        let bytes = made.to_bytes();
        let read = Model::from_bytes(made.layout(), &bytes).ok()?;
        Some(Self { made, bytes, read })
    }

    /// Returns the features that readers of the model need.
    pub(super) fn features(&self) -> u64 {
        if self.read.has_fine_bytes() { FINE_BYTES } else { 0 }
    }

    /// Returns the number of bytes of an element.
    pub(super) fn width(&self) -> usize {
        self.made.layout().width()
    }
}

/// Encodings of shorter chunks are copied from memory that is kept, into no more than they need: to
/// clear memory for the most that they could take costs more.
const SHORT: usize = 64 << 10;

/// An encoder of chunks, which keeps its memory from one chunk to the next.
pub(super) struct Coder {
    encoder: Encoder,
    decoder: Decoder,
    back: Vec<u8>,
    /// Room for the encoding of a short chunk.
    room: Vec<u8>,
    /// Memory for what the base says of a chunk.
    pub(super) base: Vec<u8>,
}

impl Coder {
    pub(super) fn new(backend: Backend, level: Level) -> Self {
        Self {
            encoder: Encoder::new(level).with_backend(backend),
            decoder: Decoder::new().with_backend(backend),
            back: Vec::new(),
            room: Vec::new(),
            base: Vec::new(),
        }
    }

    /// Makes the model of a tensor of one chunk, and encodes it into the front of `out`, which may
    /// be longer; returns the model and the length, or `None` if the encoding does not decode to
    /// `raw`.
    pub(super) fn encode_tensor(
        &mut self,
        dtype: Dtype,
        shape: &[u64],
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<(StoredModel, usize)> {
        let short = raw.len() < SHORT;
        let room = if short { &mut self.room } else { &mut *out };
        room.resize(room.len().max(Encoder::max_encoded_len(raw.len())), 0);
        let encoded = self.encoder.encode_tensor(dtype, shape, raw, room);
        let (made, len) = encoded.expect("chunks are whole elements and short, and there is room");
        if short {
            out.clear();
            out.extend_from_slice(&self.room[..len]);
        }
        let model = StoredModel::new(made)?;
        let round_trips = self.round_trips(&model.read, Position::START, None, &out[..len], raw);
        round_trips.then_some((model, len))
    }

    /// Encodes into the front of `out`, which has room enough; returns the length, or `None` if the
    /// encoding does not decode to `raw`.
    pub(super) fn encode(
        &mut self,
        model: &StoredModel,
        position: Position,
        raw: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let encoded = self.encoder.encode(&model.made, position, raw, out);
        let len = encoded.expect("there is room enough");
        self.round_trips(&model.read, position, None, &out[..len], raw).then_some(len)
    }

    /// Encodes into `out` as a version of `base`; returns the length, or `None` as
    /// [`Coder::encode`] does.
    pub(super) fn encode_from(
        &mut self,
        model: &StoredModel,
        position: Position,
        base: &[u8],
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        out.clear();
        let encoded = self.encoder.encode_from(&model.made, position, base, raw, out);
        let len = encoded.expect("chunks are whole elements, and bases as long");
        self.round_trips(&model.read, position, Some(base), out, raw).then_some(len)
    }

    fn round_trips(
        &mut self,
        model: &Model,
        position: Position,
        base: Option<&[u8]>,
        encoded: &[u8],
        raw: &[u8],
    ) -> bool {
        self.back.resize(self.back.len().max(raw.len()), 0);
        let back = &mut self.back[..raw.len()];
        let decoded = match base {
            Some(base) => self.decoder.decode_from(model, position, base, encoded, back),
            None => self.decoder.decode(model, position, encoded, back),
        };
        decoded.is_ok() && back == raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_back_is_noticed() {
        let raw: Vec<u8> = (0..4000_u32).map(|i| ((i * i) >> 7) as u8 & 15).collect();
        let model = Model::of(Dtype::BF16, Level::Default, &[2000], [&raw[..]]).unwrap();
        let model = StoredModel::new(model).unwrap();
        let mut coder = Coder::new(Backend::best(), Level::Default);
        let mut out = vec![0; Encoder::max_encoded_len(raw.len())];
        let len = coder.encode(&model, Position::START, &raw, &mut out).unwrap();
        assert!(coder.round_trips(&model.read, Position::START, None, &out[..len], &raw));
        assert!(!coder.round_trips(&model.read, Position::START, None, &out[..len - 1], &raw));
        let mut other = raw.clone();
        other[1234] ^= 1;
        assert!(!coder.round_trips(&model.read, Position::START, None, &out[..len], &other));
    }
}
