//! Listening: connections, their limits, and a graceful end.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use at1w_registry::Store;
use at1w_remote::choose_encryption;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::config::{Config, LogForm};
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::patient::Patient;
use crate::route::{answer, answer_monitor};
use crate::tls::acceptor;

/// The number of connections for metrics.
const MONITORS: usize = 16;

/// How long requests may go on after the server was asked to end.
const GRACE: Duration = Duration::from_secs(30);

/// Serves a store until the process is asked to end. `ready` is told the address once the server
/// listens, and where its secrets lie.
///
/// # Errors
/// [`Error::Io`] if the address is taken, and those of opening the store.
pub fn serve(store: Store, config: Config, ready: impl FnOnce(&str, &str)) -> Result<()> {
    log(config.log)?;
    let failed = |cause| Error::Io { what: "starting threads".into(), cause };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    choose_encryption();
    allow_open_files(config.limits.connections);
    let tls = acceptor(&config.tls)?;
    let hub = Arc::new(Hub::open(store, config)?);
    let outcome = runtime.block_on(run(hub, tls, ready));
    // What runs on other threads, such as a packing, ends with the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn log(form: LogForm) -> Result<()> {
    const NAME: &str = "AT1W_LOG";
    let asked = std::env::var(NAME).unwrap_or_default();
    let asked = if asked.is_empty() { "info" } else { &asked };
    let filter = tracing_subscriber::EnvFilter::try_new(asked)
        .map_err(|error| Error::Config { path: NAME.into(), problem: error.to_string() })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    // Whoever embeds the server may have chosen a log of his own.
    let _ = match form {
        LogForm::Text => lines.with_target(false).try_init(),
        LogForm::Json => lines.json().try_init(),
    };
    Ok(())
}

async fn run(
    hub: Arc<Hub>,
    tls: Option<TlsAcceptor>,
    ready: impl FnOnce(&str, &str),
) -> Result<()> {
    let address = hub.config.listen;
    let failed = |cause| Error::Io { what: format!("listening on {address}"), cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let mut end = std::pin::pin!(asked_to_end()?);
    let secrets = hub.config.secrets_of(&hub.store);
    let scheme = if tls.is_some() { "https" } else { "http" };
    ready(&format!("{scheme}://{address}"), &secrets.display().to_string());
    info!(%address, store = hub.store.address(), "listening");
    if !address.ip().is_loopback() && hub.config.public_url.is_empty() {
        warn!("without public_url clients are sent to whatever address they say: set it");
    }
    let limits = &hub.config.limits;
    let connections = Arc::new(Semaphore::new(limits.connections.max(1)));
    let idle = Duration::from_secs(limits.idle_time.max(1));
    let shake = Duration::from_secs(limits.header_time.max(1));
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(shake)
        .max_headers(100)
        .max_buf_size(64 << 10);
    tokio::spawn(crate::sweep::run(Arc::clone(&hub)));
    tokio::spawn(crate::upkeep::run(Arc::clone(&hub)));
    if let Some(address) = hub.config.metrics.listen {
        let failed = |cause| Error::Io { what: format!("listening on {address}"), cause };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        info!(%address, "metrics");
        tokio::spawn(monitor(Arc::clone(&hub), listener, server.clone(), shake));
    }
    let (graceful, ending) = (GracefulShutdown::new(), Arc::clone(&hub));
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&connections).acquire_owned() => permit,
            () = &mut end => break,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut end => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, as a rule: others end meanwhile.
                warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let hub = Arc::clone(&hub);
        let service = service_fn(move |request| answer(Arc::clone(&hub), peer, request));
        let (server, watcher, tls) = (server.clone(), graceful.watcher(), tls.clone());
        tokio::spawn(async move {
            let outcome = match tls {
                None => {
                    let io = TokioIo::new(Patient::new(stream, idle, permit));
                    watcher.watch(server.serve_connection(io, service)).await
                }
                Some(tls) => {
                    let stream = match tokio::time::timeout(shake, tls.accept(stream)).await {
                        Ok(Ok(stream)) => stream,
                        _ => return debug!(%peer, "no agreement about TLS"),
                    };
                    let io = TokioIo::new(Patient::new(stream, idle, permit));
                    watcher.watch(server.serve_connection(io, service)).await
                }
            };
            if let Err(error) = outcome {
                debug!(%peer, %error, "a connection broke");
            }
        });
    }
    hub.ending.store(true, Ordering::Relaxed);
    info!("ending: no new connections, requests are completed");
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        warn!("some requests did not end in time");
    }
    let last = tokio::task::spawn_blocking(move || ending.reads.record(&ending.store)).await;
    if let Ok(Err(error)) = last {
        warn!(%error, "the last reads were not recorded");
    }
    Ok(())
}

/// Answers at the address that has the numbers for Prometheus.
async fn monitor(hub: Arc<Hub>, listener: TcpListener, server: http1::Builder, shake: Duration) {
    let connections = Arc::new(Semaphore::new(MONITORS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a connection for metrics was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let hub = Arc::clone(&hub);
        let service = service_fn(move |request| answer_monitor(Arc::clone(&hub), request));
        let io = TokioIo::new(Patient::new(stream, shake, permit));
        let connection = server.serve_connection(io, service);
        tokio::spawn(async move { drop(connection.await) });
    }
}

/// Has the process open as many files as it may, and warns where connections would run out of them.
fn allow_open_files(connections: usize) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let raised = setrlimit(Resource::Nofile, most).is_ok();
        let allowed = if raised { limit.maximum } else { limit.current };
        // A request has its connection, a file on its way, and packs that it reads from.
        if allowed.is_some_and(|allowed| allowed < 4 * connections as u64) {
            warn!(allowed, connections, "few open files are allowed: raise the limit (ulimit -n)");
        }
    }
    #[cfg(not(unix))]
    let _ = connections;
}

/// Returns what waits until the process is asked to end. From the return on it ends in no other
/// way.
#[cfg(unix)]
fn asked_to_end() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |cause| Error::Io { what: "waiting for signals".into(), cause };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Returns what waits until the process is asked to end.
#[cfg(not(unix))]
fn asked_to_end() -> Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
