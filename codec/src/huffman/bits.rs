//! Bit streams, most significant bit first.

/// Appends codes to a byte vector.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Pending bits, left-aligned.
    pending: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: 0, count: 0 }
    }

    /// Appends the low `length` bits of `code`, 1 to 16 of them.
    pub(super) fn put(&mut self, code: u16, length: u8) {
        self.count += u32::from(length);
        self.pending |= u64::from(code) << (64 - self.count);
        if self.count >= 32 {
            self.out.extend_from_slice(&((self.pending >> 32) as u32).to_be_bytes());
            self.pending <<= 32;
            self.count -= 32;
        }
    }

    /// Pads with zeros to a whole byte.
    pub(super) fn finish(self) {
        let bytes = self.count.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.pending.to_be_bytes()[..bytes]);
    }
}

/// Reads codes from bytes; reads zeros past the end, which [`BitReader::at_end`] then tells.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read.
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next bits, left-aligned; at least 57 of them are valid.
    pub(super) fn window(&self) -> u64 {
        let rest = self.bytes.get(self.position / 8..).unwrap_or(&[]);
        let word = match rest.first_chunk() {
            Some(&word) => word,
            None => {
                let mut word = [0; 8];
                word[..rest.len()].copy_from_slice(rest);
                word
            }
        };
        u64::from_be_bytes(word) << (self.position % 8)
    }

    pub(super) fn advance(&mut self, bits: usize) {
        self.position += bits;
    }

    /// Whether exactly the bytes were read, and only zeros are left in the last one.
    pub(super) fn at_end(&self) -> bool {
        self.position.div_ceil(8) == self.bytes.len() && self.window() == 0
    }
}
