//! Log lines, on stderr.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

use crate::args::{Global, LogFormat};

/// Starts logging: warnings only, unless more is asked for.
pub(crate) fn start(global: &Global, colors: bool) {
    let level = match global.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let lines = fmt().with_max_level(level).with_writer(std::io::stderr);
    let lines = lines.with_target(false).with_ansi(colors);
    match global.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
