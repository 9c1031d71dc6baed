//! Opens arbitrary bytes and reads all there is. Built for fuzzing, the container does not insist
//! on the digests of trailer and index, so that mutations reach the code behind them.

#![no_main]

use at1w_container::{Limits, OpenOptions, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { index_len: 1 << 20, tensor_len: 1 << 20 };
    let options = OpenOptions { limits, root: None };
    let Ok(reader) = Reader::new(Box::new(bytes.to_vec()), &options) else { return };
    for tensor in reader.tensors().take(64) {
        if let Ok(bytes) = tensor.read_to_vec() {
            assert_eq!(at1w_container::Digest::of(&bytes), tensor.digest());
        }
        let _ = tensor.read_slice(&"0:1, ...".parse().expect("a slice"));
    }
    let end = reader.info().original_len.min(4096);
    let _ = reader.read_original(end / 2..end);
});
