//! Parses hostile xorbs, shards and lines of commits as a server does.

pub(super) fn run(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    match kind % 3 {
        0 => at1w_server::parse_upload(rest, &[], &[]),
        1 => at1w_server::parse_upload(&[], rest, &[]),
        _ => at1w_server::parse_upload(&[], &[], rest),
    }
}
