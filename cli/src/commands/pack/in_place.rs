//! Packing and restoring in place.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use at1w_container::repository::{InPlace, Options, is_hub_cache, pack_in_place, unpack_in_place};

use super::{Pack, speed};
use crate::Global;
use crate::failure::{Failure, Result, report_faults, report_note};
use crate::output::{percent, printable, to_stdout};
use crate::progress::Bar;

impl Pack {
    pub(super) fn pack_in_place(&self, path: &Path, global: &Global) -> Result<()> {
        if self.dry_run {
            return self.print_forecast(path, None, global);
        }
        if !self.yes && is_hub_cache(path, &self.options(&())?)? {
            ask(path)?;
        }
        let bar = Bar::new(global.quiet)?;
        let done = pack_in_place(path, &self.options(&bar)?)?;
        report(path, &done, bar, global)
    }
}

/// Restores the packed files of a directory, or one file, in place.
pub(crate) fn restore(path: &Path, global: &Global) -> Result<()> {
    let bar = Bar::new(global.quiet)?;
    let done = unpack_in_place(path, &Options::new().progress(&bar))?;
    report(path, &done, bar, global)
}

/// Asks whether to go on with a hub cache.
fn ask(path: &Path) -> Result<()> {
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

fn report(path: &Path, done: &InPlace, bar: Bar, global: &Global) -> Result<()> {
    let elapsed = bar.elapsed();
    drop(bar);
    let (mut original, mut packed) = (0, 0);
    for file in &done.replaced {
        original += file.summary.original_len;
        packed += file.summary.packed_len;
    }
    let printed = if global.quiet {
        Ok(())
    } else {
        to_stdout(|out| {
            for file in &done.replaced {
                let place = if path.is_dir() { path.join(&file.path) } else { path.to_owned() };
                let summary = &file.summary;
                let ratio = percent(summary.packed_len, summary.original_len);
                let (original, packed) = (summary.original_len, summary.packed_len);
                let place = place.display().to_string();
                writeln!(
                    out,
                    "{}  {original} bytes, packed {packed} ({ratio} %)",
                    printable(&place)
                )?;
            }
            writeln!(
                out,
                "{}  {original} bytes, packed {packed} ({} %)  {} replaced, {} were so already, \
                 {} others  {}",
                printable(&path.display().to_string()),
                percent(packed, original),
                done.replaced.len(),
                done.unchanged,
                done.others,
                speed(original, elapsed)
            )
        })
    };
    if !done.outside.is_empty() && !global.quiet {
        let paths = done.outside.join(", ");
        report_note(&format!("links that lead out of {} were left: {paths}", path.display()));
    }
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let reported = report_faults(folder, &done.faults);
    reported.map_or(printed, |reported| Err(Failure::Reported(reported)))
}
