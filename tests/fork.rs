//! Checks that a process that has read a file can fork, and the child reads it too. Workers of data
//! loaders do so. Threads do not survive a fork.

#[cfg(unix)]
fn main() {
    use at1w_codec::Dtype;
    use at1w_tests::{Random, Tensor, open, packed, safetensors, weights};
    use fork::{Fork, fork, waitpid};

    let raw = weights(Dtype::BF16, 4 << 20, &mut Random::new(1));
    let original = safetensors(&[Tensor::new("w", Dtype::BF16, &[4 << 20], raw.clone())]);
    let reader = open(&packed(&original).unwrap()).unwrap();
    let read = || reader.tensor("w").unwrap().read_to_vec().unwrap() == raw;
    assert!(read());

    match fork().unwrap() {
        Fork::Child => {
            end_in_time();
            // Reads on several threads at once, packs as well, and forks a child of the child.
            let whole = all_at_once(&read) && packed(&original).is_ok();
            let status = match fork().unwrap() {
                Fork::Child => {
                    end_in_time();
                    !read()
                }
                Fork::Parent(child) => waitpid(child).unwrap() != 0 || !whole,
            };
            std::process::exit(status.into());
        }
        Fork::Parent(child) => {
            let status = waitpid(child).unwrap();
            assert_eq!(status, 0, "the child has waited for ever, or read something else");
        }
    }
    println!("a forked process reads and packs");
}

/// Reads on several threads that begin together and share one pool.
#[cfg(unix)]
fn all_at_once(read: &(impl Fn() -> bool + Sync)) -> bool {
    const READERS: usize = 8;
    let before = threads();
    let together = std::sync::Barrier::new(READERS);
    let whole = std::thread::scope(|scope| {
        let reader = || {
            together.wait();
            read()
        };
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(reader)).collect();
        readers.into_iter().all(|reader| reader.join().unwrap())
    });
    let pool = rayon::current_num_threads();
    // A thread that has ended may still be listed for a moment.
    let one_pool = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        threads() <= before + pool
    });
    whole && one_pool
}

/// Returns the number of threads of this process, where the system lists them.
#[cfg(unix)]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Ends a child that waits for ever with SIGABRT, so that no child is left behind.
#[cfg(unix)]
fn end_in_time() {
    std::thread::spawn(|| {
        std::thread::sleep(std::time::Duration::from_secs(60));
        std::process::abort();
    });
}

#[cfg(not(unix))]
fn main() {}
