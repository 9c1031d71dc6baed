#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| at1w_tests::fuzzing::fuzz("object", input));
