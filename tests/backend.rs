//! Tests a wrong `AT1W_SIMD` in the environment of a program that uses the library.

use std::process::Command;

use at1w_container::{Error, Result};
use at1w_tests::{open, packed, restored, small};

const VARIABLE: &str = "AT1W_SIMD";

/// The variable is read once per process: the test runs itself in another one.
#[test]
fn a_wrong_back_end_is_an_error() {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "sse9") {
        return refuses();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_wrong_back_end_is_an_error"])
        .env(VARIABLE, "sse9")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("1 passed; 0 failed"), "{report}");
}

fn refuses() {
    fn fault<T>(result: Result<T>) -> String {
        let error = result.err().expect("a wrong back-end");
        assert!(matches!(error.innermost(), Error::Backend(_)), "{error}");
        error.to_string()
    }
    let file = include_bytes!("golden/small.at1w");
    for message in [fault(packed(&small())), fault(open(file)), fault(restored(file))] {
        assert!(message.contains(r#"AT1W_SIMD="sse9" is not a back-end"#), "{message}");
    }
}
