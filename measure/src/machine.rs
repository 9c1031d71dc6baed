//! The machine that a report was made on.

use std::fs;
use std::thread;

use at1w_codec::default_backend;
use serde::Serialize;

/// The machine that a report was made on, as far as the system says.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Machine {
    /// The processor.
    pub processor: String,
    /// The number of threads that were used.
    pub threads: usize,
    /// The number of processors that there are for the process.
    pub cores: usize,
    /// The operating system and the architecture.
    pub system: String,
    /// The instruction set of the kernels.
    pub kernels: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        Self {
            processor: processor().unwrap_or_else(|| "unknown".into()),
            threads: rayon::current_num_threads(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            system: format!("{os} {arch}"),
            kernels: default_backend().to_string(),
        }
    }
}

/// Returns the name of the processor; only Linux says it in a file.
fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
