//! Whatever is damaged is refused, or changes nothing that is read. One case in seven;
//! `ci/sweeps` tries all of them.

use at1w_tests::sweep::sweep;

#[test]
fn no_damage_is_read_as_something_else() {
    for tally in sweep(7) {
        assert_eq!(tally.wrong, 0, "{tally:?}");
        assert_eq!(tally.tried, tally.refused + tally.equal, "{tally:?}");
        // Nearly every byte has a meaning.
        assert!(tally.equal <= tally.tried / 8, "{tally:?}");
    }
}
