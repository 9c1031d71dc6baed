//! What a server does by itself: it adds up usage, seals records, scrubs, and looks
//! for bases.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use at1w_container::Progress;
use at1w_registry::{Record, ScrubOptions, Scrubbed, Signer, Summary, parse_time};
use tracing::{error, info, warn};

use crate::background::{self, each};
use crate::differences;
use crate::error::{Answer, Problem, Result};
use crate::hub::Hub;
use crate::scrub::Running;

/// How often it is looked whether there is something to do, in seconds, at most.
const EVERY: u64 = 60;

/// How often hours that are over are sealed.
const SEALS: Duration = Duration::from_secs(3600);

/// The number of threads of a scrub.
const SCRUBBING: usize = 2;

/// How often reads are recorded.
const READS: Duration = Duration::from_secs(300);

/// Looks after the store as long as the server runs.
pub(crate) async fn run(hub: Arc<Hub>) {
    let (scrub_every, sample_every) = (hub.config.scrub.every, hub.config.meter.sample);
    let tick = |every: u64| Duration::from_secs(if every == 0 { EVERY } else { every.min(EVERY) });
    // A scrub takes days, and nothing else waits for it.
    tokio::spawn(each(Arc::clone(&hub), tick(scrub_every), scrub_if_due));
    if hub.config.differences.every > 0 {
        tokio::spawn(differences::run(Arc::clone(&hub), hub.config.differences.every));
    }
    let (mut sampled, mut sealed) = (None::<Instant>, None::<Instant>);
    let mut recorded = Instant::now();
    let is_due = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
    each(hub, tick(sample_every), move |hub| {
        if recorded.elapsed() >= READS {
            recorded = Instant::now();
            hub.reads.record(&hub.store)?;
        }
        if sample_every > 0 && is_due(sampled, Duration::from_secs(sample_every)) {
            sampled = Some(Instant::now());
            sample(hub)?;
        }
        if is_due(sealed, SEALS) {
            sealed = Some(Instant::now());
            hub.store.seal(signer(hub).as_deref())?;
        }
        Ok(())
    })
    .await;
}

/// Adds up what namespaces hold, in two ways: from the logs, for those who watch, and as what is in
/// use now, for the record.
fn sample(hub: &Hub) -> Result<()> {
    let store = &hub.store;
    let usage = store.usage(None)?;
    for fault in &usage.faults {
        warn!(fault, "a size is not known");
    }
    let namespaces = usage.namespaces.iter();
    let sizes = namespaces.map(|namespace| (namespace.name.as_str(), namespace.series.end()));
    hub.metrics.set_storage(sizes);
    let freed = store.summaries(None)?.iter().map(|(_, summary)| summary.freed).sum();
    hub.metrics.set_freed(freed);
    scrubbed(hub)?;
    let record = |(name, summary): &(String, Summary)| {
        let mut record = Record::new("sample", "");
        record.repo = Some(name.clone());
        record.bytes_logical = summary.logical;
        record.bytes_unique = summary.unique;
        record.bytes_stored = summary.used;
        record
    };
    let records: Vec<_> = store.stats()?.iter().map(record).collect();
    Ok(store.record(&records)?)
}

/// Returns what signs, where a key is configured.
pub(crate) fn signer(hub: &Hub) -> Option<Box<Signer<'_>>> {
    let signer = hub.config.signer.as_ref()?;
    Some(Box::new(|message: &str| signer.sign(message)))
}

/// Returns the namespaces, each after the end of its last whole scrub, in seconds since 1970, which
/// is 0 where there was none; the one whose scrub is the longest ago first.
fn scrubbed(hub: &Hub) -> Result<Vec<(u64, String)>> {
    let mut ends = Vec::new();
    for namespace in hub.store.namespaces()? {
        let last = hub.store.last_scrub(&namespace)?.filter(|last| last.statement.complete);
        let end = last.and_then(|last| parse_time(&last.statement.ended)).unwrap_or(0);
        ends.push((end, namespace));
    }
    ends.sort();
    hub.metrics.set_scrubbed(ends.first().map_or(0, |(end, _)| *end));
    Ok(ends)
}

/// Scrubs the namespaces whose scrubs are long enough ago.
fn scrub_if_due(hub: &Hub) -> Result<()> {
    let every = hub.config.scrub.every;
    if every == 0 {
        return Ok(());
    }
    for (end, namespace) in scrubbed(hub)? {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        if now.saturating_sub(end) < every {
            break;
        }
        // One that was started on a page goes first.
        let Some(running) = hub.scrubs.begin() else { break };
        let _end = hub.scrubs.end();
        info!(namespace, "a scrub begins, or goes on");
        let options = ScrubOptions::new().namespace(namespace.as_str()).resume(true);
        // One that fails keeps no other one waiting.
        if let Err(error) = scrub(hub, options, running) {
            error!(namespace, %error, "a scrub failed");
        }
        scrubbed(hub)?;
    }
    Ok(())
}

/// Scrubs at the rate of the configuration.
fn scrub(hub: &Hub, options: ScrubOptions<'_>, progress: Running) -> Result<Scrubbed> {
    let (began, rate) = (Instant::now(), hub.config.scrub.rate);
    let pace = Pace { began, done: Default::default(), rate, progress };
    let signer = signer(hub);
    let options = options.sign(signer.as_deref()).progress(&pace);
    // It sleeps on its own threads: those of all others are the clients'.
    let done = background::threads(SCRUBBING)?.install(|| hub.store.scrub(&options))?;
    hub.metrics.refuted("scrub", done.damaged.len() as u64);
    for damage in &done.damaged {
        error!(
            namespace = damage.namespace,
            object = damage.pack,
            offset = damage.offset,
            tensor = damage.tensor,
            problem = damage.problem,
            revisions = damage.revisions.join(", "),
            "damaged"
        );
    }
    let (bytes, damaged) = (done.bytes, done.damaged.len());
    match damaged {
        0 => info!(bytes, "a scrub has ended"),
        _ => warn!(bytes, damaged, "a scrub has ended: repair the store"),
    }
    Ok(done)
}

/// Holds work to a number of bytes a second.
struct Pace {
    began: Instant,
    done: std::sync::atomic::AtomicU64,
    /// 0 is any number.
    rate: u64,
    progress: Running,
}

impl Progress for Pace {
    fn begin(&self, total: u64) {
        self.progress.begin(total);
    }

    fn advance(&self, bytes: u64) {
        self.progress.advance(bytes);
        let done = self.done.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed) + bytes;
        if self.rate > 0 {
            let due = Duration::from_secs_f64(done as f64 / self.rate as f64);
            thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
    }
}

/// Starts a scrub of the whole store on a thread of its own.
pub(crate) fn start_scrub(hub: &Arc<Hub>) -> Answer<()> {
    let running = hub.scrubs.begin().ok_or_else(|| Problem::conflict("A scrub is running"))?;
    let hub = Arc::clone(hub);
    tokio::task::spawn_blocking(move || {
        // Also after a panic another one can be started.
        let end = hub.scrubs.end();
        let outcome = scrub(&hub, ScrubOptions::new(), running);
        if let Err(error) = &outcome {
            error!(%error, "the scrub failed");
        }
        end.with(outcome.map_err(|error| error.to_string()));
    });
    Ok(())
}
