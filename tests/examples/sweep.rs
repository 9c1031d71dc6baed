//! Prints what came of every way to damage small files, and leaves these files in the folder that
//! is named, if one is. For `ci/sweeps`.

use std::error::Error;
use std::path::PathBuf;

use at1w_tests::files::{FILES, pair};
use at1w_tests::sweep::{Tally, sweep};

fn main() -> Result<(), Box<dyn Error>> {
    let tallies = sweep(1);
    println!("| file and damage | tried | refused | read as it was | silently wrong |");
    println!("|---|---:|---:|---:|---:|");
    let print = |what: &str, tally: &Tally| {
        let Tally { tried, refused, equal, wrong, .. } = tally;
        println!("| {what} | {tried} | {refused} | {equal} | {wrong} |");
    };
    let mut all = Tally::default();
    for tally in &tallies {
        print(&tally.what, tally);
        all.tried += tally.tried;
        all.refused += tally.refused;
        all.equal += tally.equal;
        all.wrong += tally.wrong;
    }
    print("all", &all);
    assert_eq!(all.wrong, 0);
    assert!(all.tried >= 100_000);

    if let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) {
        // Versions are read without their bases there.
        for file in FILES.iter().filter(|file| file.name != "versions") {
            std::fs::write(folder.join(file.name).with_extension("at1w"), file.packed())?;
        }
        for (name, file) in ["splice-1", "splice-2"].into_iter().zip(pair()) {
            std::fs::write(folder.join(name), file)?;
        }
    }
    Ok(())
}
