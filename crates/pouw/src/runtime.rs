//! What every command needs before it starts: logs, an executor.

use tracing_subscriber::EnvFilter;

use crate::cli::Common;

/// Starts logging to stderr and the executor.
///
/// # Errors
/// For a log filter that doesn't parse, or where the system gives no threads.
pub fn start_runtime(common: &Common) -> anyhow::Result<tokio::runtime::Runtime> {
    let filter = EnvFilter::try_new(common.log.as_deref().unwrap_or("warn"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Returns on Ctrl-C or SIGTERM.
pub(crate) async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM can't be heard");
            let _heard = tokio::signal::ctrl_c().await;
        }
    }
}
