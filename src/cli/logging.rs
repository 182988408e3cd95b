//! Logs to standard error, for those who look into a run: `ICECORE_LOG=debug`.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable that says what is logged, such as `debug` or `icecore::store=trace`.
const VARIABLE: &str = "ICECORE_LOG";

/// Starts logging; what is not asked for stays silent below a warning.
pub(super) fn start() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).with_env_var(VARIABLE).from_env_lossy();
    let started = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
    // Somebody who uses this crate as a library may log already; then his way stands.
    let _already_logging = started.is_err();
}
