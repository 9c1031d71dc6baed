//! Uploads by Xet.

use std::sync::Arc;

use axum::body::Body;

use crate::address::RepoId;
use crate::call::Call;
use crate::error::{Answer, Problem};

pub(crate) async fn answer(_: Arc<Call>, _: &[&str], _: Body) -> Answer {
    Err(Problem::no_route())
}

pub(crate) fn write_token(_: &Call, _: &RepoId) -> Answer {
    Err(Problem::no_route())
}
