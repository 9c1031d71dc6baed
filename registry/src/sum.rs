//! JSON objects that end with the SHA-256 of all before it.

use at1w_container::Digest;

/// The length of the SHA-256 at the end, with its name.
const SUM_LEN: usize = ",'sum':''}".len() + 64;

/// Returns an object with the SHA-256 of all of it as its last field.
pub(crate) fn with_sum(json: &[u8]) -> Vec<u8> {
    let sum = format!(",\"sum\":\"{}\"}}", Digest::of(json));
    [&json[..json.len() - 1], sum.as_bytes()].concat()
}

/// Returns the object without its SHA-256; `None` if that is another one.
pub(crate) fn without_sum(bytes: &[u8]) -> Option<Vec<u8>> {
    let (json, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_LEN)?)?;
    let json = [json, b"}"].concat();
    let expected = format!(",\"sum\":\"{}\"}}", Digest::of(&json));
    (sum == expected.as_bytes()).then_some(json)
}
