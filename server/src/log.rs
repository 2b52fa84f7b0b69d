//! The log of the process: lines on standard output, for people or for machines. Its level can be changed while it runs.

use crate::config::{LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;

/// Changes the level of a running log.
#[derive(Clone, Debug, Default)]
pub struct LogControl(Option<reload::Handle<LevelFilter, tracing_subscriber::Registry>>);

impl LogControl {
    /// Sets the least important level that is logged.
    pub fn set_level(&self, level: LogLevel) {
        if let Some(handle) = &self.0 {
            // Fails only if the subscriber is gone, and then there is no log to set.
            let _ = handle.modify(|filter| *filter = filter_of(level));
        }
    }
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
    }
}

/// Starts logging for the whole process. A second call changes nothing and returns a control without effect.
pub fn start(level: LogLevel, format: LogFormat) -> LogControl {
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let set = match format {
        LogFormat::Json => tracing::subscriber::set_global_default(
            registry.with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_target(false),
            ),
        ),
        LogFormat::Text => tracing::subscriber::set_global_default(
            registry.with(tracing_subscriber::fmt::layer().compact().with_ansi(colours).with_target(false)),
        ),
    };
    LogControl(set.is_ok().then_some(handle))
}
