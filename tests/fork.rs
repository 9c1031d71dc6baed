//! A process that was forked from one which has read a file reads it too, as workers of data
//! loaders do: threads do not survive a fork.

#[cfg(unix)]
fn main() {
    use std::time::{Duration, Instant};

    use at1w_codec::Dtype;
    use at1w_tests::{Random, Tensor, open, packed, safetensors, weights};
    use fork::{Fork, fork, waitpid_nohang};

    let raw = weights(Dtype::BF16, 4 << 20, &mut Random::new(1));
    let original = safetensors(&[Tensor::new("w", Dtype::BF16, &[4 << 20], raw.clone())]);
    let reader = open(&packed(&original).unwrap()).unwrap();
    let read = || reader.tensor("w").unwrap().read_to_vec().unwrap() == raw;
    assert!(read());

    match fork().unwrap() {
        Fork::Child => {
            // Packing as well, and a child of the child.
            let whole = read() && packed(&original).is_ok();
            let status = match fork().unwrap() {
                Fork::Child => !read(),
                Fork::Parent(child) => fork::waitpid(child).unwrap() != 0 || !whole,
            };
            std::process::exit(status.into());
        }
        Fork::Parent(child) => {
            let start = Instant::now();
            let status = loop {
                match waitpid_nohang(child).unwrap() {
                    Some(status) => break status,
                    None => std::thread::sleep(Duration::from_millis(10)),
                }
                assert!(start.elapsed() < Duration::from_secs(60), "the child waits for ever");
            };
            assert_eq!(status, 0, "the child has read something else");
        }
    }
    println!("a forked process reads and packs");
}

#[cfg(not(unix))]
fn main() {}
