//! Checks that damage is refused, or changes nothing that is read. Tries one case in seven;
//! `ci/sweeps` tries all of them.

use at1w_tests::files::FILES;
use at1w_tests::open;
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

#[test]
fn files_are_of_the_kinds_that_they_are_named_for() {
    let models = |name: &str| -> Vec<String> {
        let file = FILES.iter().find(|file| file.name == name).unwrap().packed();
        let reader = open(&file).unwrap();
        reader.tensors().map(|tensor| tensor.model().unwrap().to_string()).collect()
    };
    assert!(models("contexts").iter().any(|model| model.ends_with("contexts")));
    assert!(models("prediction").iter().any(|model| model.ends_with("prediction")));
    assert!(models("byte contexts").iter().any(|model| model.ends_with("bytes")));
    for name in ["alias lanes", "byte contexts"] {
        let file = FILES.iter().find(|file| file.name == name).unwrap().packed();
        assert_eq!(open(&file).unwrap().info().required_features, 1, "{name}");
    }
    assert!(models("versions").iter().any(|model| model == "differences"));
    let file = FILES.iter().find(|file| file.name == "chunks, shared").unwrap().packed();
    let reader = open(&file).unwrap();
    assert!(reader.tensors().any(|tensor| tensor.chunk_count() > 1 && tensor.stored_len() == 0));
}
