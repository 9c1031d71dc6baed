//! Removing what uploads that were never completed have left in the store.

use std::time::{Duration, SystemTime};

use tracing::warn;

use crate::error::Result;
use crate::hub::Hub;

/// How often that is done.
const EVERY: Duration = Duration::from_secs(3600);

/// How long parts of uploads by Git LFS are kept: longer than their addresses are good.
const PARTS: Duration = Duration::from_secs(2 * 24 * 3600);

/// How long xorbs are kept whose files never came. Clients name them for three weeks.
const XORBS: Duration = Duration::from_secs(28 * 24 * 3600);

/// Sweeps now and then, as long as the server runs.
pub(crate) async fn run(hub: std::sync::Arc<Hub>) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let hub = std::sync::Arc::clone(&hub);
        match tokio::task::spawn_blocking(move || sweep(&hub, SystemTime::now())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "uploads that were not completed stay"),
            Err(error) => warn!(%error, "sweeping failed"),
        }
    }
}

fn sweep(hub: &Hub, now: SystemTime) -> Result<()> {
    let objects = hub.store.objects();
    for namespace in objects.folders("xet")? {
        for (folder, age) in [("parts", PARTS), ("xorbs", XORBS)] {
            let listed = objects.list(&format!("xet/{namespace}/{folder}"))?;
            let old = |meta: &at1w_remote::Meta| {
                now.duration_since(meta.modified).unwrap_or_default() > age
            };
            let old: Vec<_> = listed.into_iter().filter(old).map(|meta| meta.key).collect();
            objects.delete(&old)?;
        }
    }
    Ok(())
}
