//! Level and destination of the log.

use std::path::PathBuf;

use crate::config::field::Show;

use super::Options;

/// Level, format and destination of the log.
///
/// Of the destinations the first that is set is used, as in nats-server: `file`, `remote_syslog`,
/// `syslog`; otherwise standard error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogOptions {
    /// File to append to. Default: none.
    pub file: Option<PathBuf>,
    /// Size in bytes at which the file is rotated; 0 disables rotation. Default 0.
    pub size_limit_bytes: u64,
    /// Number of files to keep, including the current one; 0 keeps all. Default 0.
    pub max_files: u64,
    /// Logs to the syslog of this machine. Default false.
    pub syslog: bool,
    /// Logs to the syslog at this address: `udp://host:port`, `tcp://host:port` or `unix:///path`.
    pub remote_syslog: Option<String>,
    /// Format of lines. Default [`LogFormat::Text`].
    pub format: LogFormat,
    /// Logs `[DBG]` lines.
    pub debug: bool,
    /// Logs `[TRC]` lines: the raw protocol.
    pub trace: bool,
    /// Traces the system account too. Does not enable `trace`.
    pub trace_verbose: bool,
    /// Begins lines with date and time. Default true.
    pub time: bool,
    /// Logs date and time in UTC instead of the machine's zone.
    pub utc: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            file: None,
            size_limit_bytes: 0,
            max_files: 0,
            syslog: false,
            remote_syslog: None,
            format: LogFormat::Text,
            debug: false,
            trace: false,
            trace_verbose: false,
            time: true,
            utc: false,
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// nats-server's format: `[pid] date time [INF] text`.
    #[default]
    Text,
    /// One JSON object per line, for log collectors; see [`logging`](crate::logging).
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = NoLogFormat;

    fn from_str(text: &str) -> Result<Self, NoLogFormat> {
        match text.to_ascii_lowercase().as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(NoLogFormat(text.to_owned())),
        }
    }
}

/// The text is not a [`LogFormat`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no log format: text or json")]
pub struct NoLogFormat(String);

impl Show for LogFormat {
    fn show(&self) -> String {
        String::from(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl Options {
    /// Returns the log options.
    pub fn log(&self) -> LogOptions {
        LogOptions {
            file: self.log_file.clone(),
            size_limit_bytes: self.log_size_limit.try_into().unwrap_or(0),
            max_files: self.log_max_num.try_into().unwrap_or(0),
            syslog: self.syslog,
            remote_syslog: self.remote_syslog.clone(),
            format: self.log_format,
            debug: self.debug,
            trace: self.trace,
            trace_verbose: self.trace_verbose,
            time: self.logtime,
            utc: self.logtime_utc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_format_is_text_or_json() {
        assert_eq!("JSON".parse(), Ok(LogFormat::Json));
        assert_eq!("text".parse(), Ok(LogFormat::Text));
        let error = "xml".parse::<LogFormat>().unwrap_err();
        assert_eq!(error.to_string(), "\"xml\" is no log format: text or json");
    }

    #[test]
    fn the_default_log_options_agree() {
        assert_eq!(Options::default().log(), LogOptions::default());
    }
}
