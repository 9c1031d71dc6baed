//! zipnn, a compressor of weights in Python, run as a process of its own.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use at1w_container::{Error, Progress};
use serde::Deserialize;

use crate::result::LevelResult;

/// The script that compresses a file.
const SCRIPT: &str = include_str!("zipnn.py");

/// The time between two looks at the process.
const TICK: Duration = Duration::from_millis(20);

/// What the script prints.
#[derive(Deserialize)]
struct Facts {
    packed_bytes: u64,
    pack_seconds: f64,
    read_seconds: f64,
}

/// Whether `python3` can import it.
pub(crate) fn is_there() -> bool {
    let mut command = Command::new("python3");
    command.args(["-c", "import zipnn"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Compresses a file whose tensors are mostly of this dtype.
pub(crate) fn measure(
    path: &Path,
    dtype: &str,
    progress: &dyn Progress,
) -> Result<LevelResult, Error> {
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(path).arg(words(dtype));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |cause| Error::Io { path: "python3".into(), cause };
    let mut child = command.spawn().map_err(failed)?;
    let done = wait(&mut child, progress).map_err(failed)?;
    if !done {
        return Err(Error::Cancelled);
    }
    // A line each, which pipes hold.
    let (mut out, mut problem) = (String::new(), String::new());
    child.stdout.take().map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut out)).map_err(failed)?;
    child
        .stderr
        .take()
        .map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut problem))
        .map_err(failed)?;
    let facts: Facts = serde_json::from_str(&out).map_err(|_| {
        let last = problem.lines().last().unwrap_or("it printed nothing");
        failed(io::Error::other(last.to_owned()))
    })?;
    let len = path.metadata().map_err(|cause| Error::Io { path: path.into(), cause })?.len();
    progress.advance(2 * len);
    let Facts { packed_bytes, pack_seconds, read_seconds } = facts;
    Ok(LevelResult { level: String::new(), packed_bytes, pack_seconds, read_seconds })
}

/// Waits for the process; returns whether nobody asked to stop, which ends it.
fn wait(child: &mut Child, progress: &dyn Progress) -> io::Result<bool> {
    while child.try_wait()?.is_none() {
        if progress.cancelled() {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(TICK);
    }
    Ok(!progress.cancelled())
}

/// Returns the name of zipnn for words of a dtype. It takes floats alone: the bytes of any other
/// dtype are 8-bit ones.
fn words(dtype: &str) -> &'static str {
    match dtype {
        "BF16" => "bfloat16",
        "F16" => "float16",
        "F32" => "float32",
        _ => "float8_e4m3fn",
    }
}
