//! Everything that can be set, with its default; where a value came from is not known here.

use std::path::PathBuf;

use broker_core::auth::Secret;

/// What a [`Daemon`](crate::Daemon) is to do.
///
/// ```
/// let options = broker_bin::Options { port: 0, ..Default::default() };
/// assert_eq!(options.host, "0.0.0.0");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// The name this program was called by: names the ports file. Default `natsd`.
    pub program: String,
    /// Host name or address to listen on. Default `0.0.0.0`.
    pub host: String,
    /// Port for clients; 0 lets the system choose. Default 4222.
    pub port: u16,
    /// Name shown to clients and operators. Default: the server's id.
    pub server_name: Option<String>,
    /// The one user who may connect. Default: anybody may.
    pub user: Option<String>,
    /// That user's password, plain or as a bcrypt hash.
    pub pass: Option<Secret>,
    /// A token that every client must present, plain or as a bcrypt hash.
    pub auth: Option<Secret>,
    /// File to write the process id to.
    pub pid_file: Option<PathBuf>,
    /// Directory to write `<program>_<pid>.ports` to.
    pub ports_file_dir: Option<PathBuf>,
    /// Longest payload, in bytes, shown in a traced message; 0 shows all of it. Default 0.
    pub max_traced_msg_len: usize,
    /// What is logged, and where to.
    pub log: LogOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            program: "natsd".into(),
            host: "0.0.0.0".into(),
            port: 4222,
            server_name: None,
            user: None,
            pass: None,
            auth: None,
            pid_file: None,
            ports_file_dir: None,
            max_traced_msg_len: 0,
            log: LogOptions::default(),
        }
    }
}

impl Options {
    /// Who may connect.
    ///
    /// # Errors
    ///
    /// Settings that contradict each other. nats-server starts with some of them, and then lets more
    /// people in than the operator meant.
    pub fn access(&self) -> Result<Access, OptionsError> {
        match (&self.user, &self.pass, &self.auth) {
            (None, None, None) => Ok(Access::Anybody),
            (None, None, Some(token)) => Ok(Access::Token(token.clone())),
            (Some(user), pass, None) => {
                Ok(Access::User { user: user.clone(), pass: pass.clone().unwrap_or_default() })
            }
            (Some(_), _, Some(_)) => Err(OptionsError::UserAndToken),
            (None, Some(_), _) => Err(OptionsError::PassWithoutUser),
        }
    }

    /// The settings agree with each other.
    ///
    /// # Errors
    ///
    /// As [`access`](Self::access).
    pub fn check(&self) -> Result<(), OptionsError> {
        self.access().map(drop)
    }
}

/// Who may connect.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Access {
    /// No credentials are asked for.
    Anybody,
    /// One user name and password.
    User {
        /// The name.
        user: String,
        /// The password, plain or as a bcrypt hash.
        pass: Secret,
    },
    /// One token.
    Token(Secret),
}

/// What is logged, and where to.
///
/// Of the three places the first that is set wins, as in nats-server: `file`, `remote_syslog`, `syslog`;
/// none of them is standard error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogOptions {
    /// File to append to. Default: none.
    pub file: Option<PathBuf>,
    /// When the file is longer than this, in bytes, it is moved aside and a new one is begun; 0 never
    /// does. Default 0.
    pub size_limit_bytes: u64,
    /// How many files to keep, the one written to among them; 0 keeps all. Default 0.
    pub max_files: u64,
    /// Log to the syslog of this machine. Default false.
    pub syslog: bool,
    /// Log to the syslog at this address: `udp://host:port`, `tcp://host:port` or `unix:///path`.
    pub remote_syslog: Option<String>,
    /// How a line is written. Default [`LogFormat::Text`].
    pub format: LogFormat,
    /// Log `[DBG]` lines.
    pub debug: bool,
    /// Log `[TRC]` lines: the raw protocol.
    pub trace: bool,
    /// Trace the system account too. It does not switch `trace` on.
    pub trace_verbose: bool,
    /// Begin lines with date and time. Default true.
    pub time: bool,
    /// Date and time in UTC, not in the machine's zone.
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

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogFormat {
    /// nats-server's: `[pid] date time [INF] text`.
    #[default]
    Text,
    /// One JSON object a line, for log collectors; see [`logging`](crate::logging).
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

/// A word that names no [`LogFormat`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no log format: text or json")]
pub struct NoLogFormat(String);

/// Settings that contradict each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A password, but nobody whose it is: the server would be open to all.
    #[error("--pass needs --user")]
    PassWithoutUser,
    /// Only one of them could be asked for.
    #[error("--auth cannot be combined with --user and --pass")]
    UserAndToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let options = Options { auth: Some(Secret::from("s3cr3t")), ..Options::default() };
        assert!(!format!("{options:?}").contains("s3cr3t"));
    }

    #[test]
    fn a_log_format_is_text_or_json() {
        assert_eq!("JSON".parse(), Ok(LogFormat::Json));
        assert_eq!("text".parse(), Ok(LogFormat::Text));
        let error = "xml".parse::<LogFormat>().unwrap_err();
        assert_eq!(error.to_string(), "\"xml\" is no log format: text or json");
    }

    #[test]
    fn a_password_without_a_user_is_refused() {
        let options = Options { pass: Some(Secret::from("p")), ..Options::default() };
        assert_eq!(options.access(), Err(OptionsError::PassWithoutUser));
    }

    #[test]
    fn a_user_without_a_password_has_the_empty_one() {
        let options = Options { user: Some("u".into()), ..Options::default() };
        assert_eq!(options.access(), Ok(Access::User { user: "u".into(), pass: Secret::from("") }));
    }
}
