//! Sets up logging to stderr.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

use crate::args::{Arguments, Command, LogFormat};

/// Starts logging: warnings only, unless `-v` asks for more; the daemon also logs its operations.
pub(crate) fn start(Arguments { command, global }: &Arguments, colors: bool) {
    let is_daemon = matches!(command, Command::Watch(_));
    let level = match global.verbose + u8::from(is_daemon) {
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
