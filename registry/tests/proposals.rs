//! Proposals: opening, merging and closing them.

mod common;

use std::time::Duration;

use at1w_registry::{
    CollectOptions, Error, Expected, Proposal, PushOptions, Pushed, RepoName, Status,
    proposal_branch,
};
use common::{Place, owned};

fn repo() -> RepoName {
    "lab/model".parse().unwrap()
}

fn push(place: &Place, files: &[(&str, Vec<u8>)], options: &PushOptions<'_>) -> Pushed {
    place.store().push(&place.source("source", files), &repo(), options).unwrap()
}

#[test]
fn a_proposal_is_merged_as_one_commit() {
    let place = Place::new();
    let store = place.store();
    place.push("lab/model", &[("a", "1".into()), ("gone", "1".into())]);
    let proposal = Proposal::new("title", "why", "me").unwrap();
    assert_eq!(store.propose(&repo(), "main", &proposal).unwrap(), 1);
    let branch = proposal_branch(1);
    let options = PushOptions::new().branch(&branch);
    push(&place, &[("a", "2".into())], &options.delete(true));
    push(&place, &[("new", "1".into())], &options);
    place.push("lab/model", &[("other", "1".into())]);
    let merged = store.merge(&repo(), 1, &PushOptions::new().message("m")).unwrap();
    let expected = [("a", b"2".to_vec()), ("new", b"1".to_vec()), ("other", b"1".to_vec())];
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&expected));
    let entry = store.entry(&repo()).unwrap();
    assert_eq!(entry.proposals[&1].status, Status::Merged(merged.commit));
    assert!(!entry.branches.contains_key(&branch) && entry.next_proposal() == 2);
    assert!(matches!(store.merge(&repo(), 1, &PushOptions::new()), Err(Error::Exists(_))));
}

#[test]
fn a_proposal_and_its_branch_are_made_at_once_and_conflicts_change_nothing() {
    let place = Place::new();
    let store = place.store();
    let head = place.push("lab/model", &[("a", "1".into())]).commit;
    let proposal = Proposal::new("title", "", "me").unwrap();
    let branch = proposal_branch(1);
    let options = PushOptions::new().branch(&branch).proposal(&proposal);
    let options = options.expected(Expected::New(Some(&head)));
    push(&place, &[("a", "2".into())], &options);
    assert_eq!(store.entry(&repo()).unwrap().proposals[&1], proposal);
    place.push("lab/model", &[("a", "3".into())]);
    let refused = store.merge(&repo(), 1, &PushOptions::new());
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_eq!(store.entry(&repo()).unwrap().proposals[&1].status, Status::Open);
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&[("a", b"3".to_vec())]));
}

#[test]
fn a_closed_proposal_is_kept_until_it_is_collected() {
    let place = Place::new();
    let store = place.store();
    place.push("lab/model", &[("a", "1".into())]);
    store.propose(&repo(), "main", &Proposal::new("title", "", "me").unwrap()).unwrap();
    let branch = proposal_branch(1);
    push(&place, &[("a", "2".into())], &PushOptions::new().branch(&branch));
    store.close(&repo(), 1).unwrap();
    store.reopen(&repo(), 1).unwrap();
    assert_eq!(place.pulled(&format!("lab/model@{branch}")).unwrap()["a"], b"2");
    store.close(&repo(), 1).unwrap();
    assert!(matches!(store.close(&repo(), 1), Err(Error::Exists(_))));
    for _ in 0..2 {
        store.collect(&CollectOptions::new().grace(Duration::ZERO)).unwrap();
    }
    assert!(matches!(store.reopen(&repo(), 1), Err(Error::Collected(_))));
    assert!(matches!(Proposal::new(&"a".repeat(257), "", "me"), Err(Error::Name { .. })));
}

#[test]
fn the_branch_of_a_proposal_is_not_made_or_removed_alone() {
    let place = Place::new();
    let store = place.store();
    place.push("lab/model", &[("a", "1".into())]);
    store.propose(&repo(), "main", &Proposal::new("title", "", "me").unwrap()).unwrap();
    let named = |name: &str| format!("lab/model@{name}").parse().unwrap();
    let huge = proposal_branch(u64::MAX);
    let outcomes = [
        store.branch(&named("main"), &huge).map(drop),
        store.tag(&named("main"), &huge).map(drop),
        store.remove(&named(&proposal_branch(1))),
        store.restore(&named(&proposal_branch(1))),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::Name { .. })), "{outcome:?}");
    }
    let entry = store.entry(&repo()).unwrap();
    assert!(entry.proposals[&1].status == Status::Open && entry.next_proposal() == 2);
}
