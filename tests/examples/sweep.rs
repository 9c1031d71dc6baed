//! Prints what came of every way to damage small files. For `ci/sweeps`.

use at1w_tests::sweep::{Tally, sweep};

fn main() {
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
}
