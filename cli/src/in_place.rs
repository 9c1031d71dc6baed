//! Packing and restoring in place.

use std::io::{self, IsTerminal};
use std::path::Path;

use at1w_container::repository::InPlace;

use crate::failure::{Failure, Result};
use crate::output::printable;
use crate::progress::Bar;
use crate::report::{Report, Totals, speed};

/// Asks whether to go on with a hub cache.
pub(crate) fn ask(path: &Path) -> Result<()> {
    let shown = path.display();
    let warning = format!(
        "{shown} is a hub cache, which other programs may share. Packed files in it are read by \
         programs whose Python has the hook of at1w ('python -m at1w.hook install'). Programs \
         without it, such as other environments, llama.cpp or uploads of its files, no longer read \
         them. 'at1w unpack --in-place' restores them"
    );
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Usage(format!("{warning}. Say --yes to go on")));
    }
    eprint!("at1w: {}.\nGo on? [y/N] ", printable(&warning));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    match read {
        Ok(_) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) => Ok(()),
        _ => Err(Failure::Other("nothing was changed".into())),
    }
}

/// Tells of the files that were replaced: by packed ones, or by restored ones.
pub(crate) fn tell(path: &Path, done: &InPlace, report: &mut Report<'_>, bar: Bar, restored: bool) {
    let elapsed = bar.elapsed();
    drop(bar);
    let InPlace { replaced, unchanged, others, .. } = done;
    let (mut original, mut packed) = (0, 0);
    for file in replaced {
        original += file.summary.original_len;
        packed += file.summary.packed_len;
        let place = if path.is_dir() { path.join(&file.path) } else { path.to_owned() };
        match restored {
            true => report.unpacked(&place, &place, &file.summary, ""),
            false => report.packed(&place, &place, &file.summary, ""),
        }
    }
    let sizes = match restored {
        true => report.size(original),
        false => report.sizes(original, packed),
    };
    let replaced = replaced.len();
    report.line(&format!(
        "{}  {sizes}  {replaced} replaced, {unchanged} were so already, {others} others  {}",
        printable(&path.display().to_string()),
        speed(original, elapsed)
    ));
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    report.faults(folder, &done.faults);
    report.add(Totals {
        packed: if restored { 0 } else { replaced as u64 },
        unpacked: if restored { replaced as u64 } else { 0 },
        unchanged: *unchanged,
        original_bytes: original,
        packed_bytes: packed,
        seconds: elapsed.as_secs_f64(),
        ..Totals::default()
    });
}
