//! Decisions of a service that is asked over the broker itself.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::{Denied, Grant};
use crate::subject::Subject;
use crate::sync::{Arc, Mutex};

/// Judges the payload of an answer that arrives at this time.
pub(crate) type Judge = Box<dyn FnOnce(&[u8], SystemTime) -> Result<Grant, Denied> + Send>;

/// A request to a service, whose answer decides about a client.
///
/// The session publishes the request in the account of the service, and waits for the first answer without holding
/// a thread. Without an answer in time the client is denied as [`Denied::Credentials`]. At most
/// [`OPEN_QUESTIONS`](crate::limits::OPEN_QUESTIONS) wait at once, so that an absent service cannot fill the memory;
/// further clients are denied as [`Denied::Unavailable`].
///
/// ```
/// use std::time::Duration;
/// use broker_core::Subject;
/// use broker_core::auth::{Authenticator, Credentials, Decision, Denied, Grant, Question};
///
/// /// Asks a service that subscribes to `may.login`, and answers `yes`.
/// struct Asking;
///
/// impl Authenticator for Asking {
///     fn is_required(&self) -> bool {
///         true
///     }
///
///     fn authenticate(&self, credentials: &Credentials) -> Decision {
///         let Ok(subject) = Subject::parse("may.login") else { return Denied::Unavailable.into() };
///         let user = credentials.user.clone();
///         Question::new("$G", subject, user.clone())
///             .with_timeout(Duration::from_secs(1))
///             .judged_by(move |answer, _| match answer {
///                 b"yes" => Ok(Grant::user(user)),
///                 _ => Err(Denied::Credentials),
///             })
///             .into()
///     }
/// }
/// ```
#[must_use]
pub struct Question {
    pub(crate) account: Arc<str>,
    pub(crate) subject: Subject,
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) timeout: Duration,
    pub(crate) judge: Judge,
    pub(crate) reason: DenialReason,
}

/// The reason for which the answer to a question denies. The judge leaves it for the session that has asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct DenialReason(Arc<Mutex<Option<String>>>);

impl DenialReason {
    #[cfg(feature = "jwt")]
    pub(crate) fn leave(&self, reason: String) {
        *self.0.lock() = Some(reason);
    }

    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().take()
    }
}

impl Question {
    /// Creates a request to `subject` in an account. Until [`Self::judged_by`] is called, every answer denies.
    pub fn new(
        account: impl Into<Arc<str>>,
        subject: Subject,
        payload: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            account: account.into(),
            subject,
            headers: Vec::new(),
            payload: payload.into(),
            timeout: Duration::from_secs(2),
            judge: Box::new(|_, _| Err(Denied::Credentials)),
            reason: DenialReason::default(),
        }
    }

    /// Adds a header block in wire form: see [`RawMessage::with_headers`](crate::RawMessage::with_headers).
    pub fn with_headers(mut self, block: impl Into<Vec<u8>>) -> Self {
        self.headers = block.into();
        self
    }

    /// Sets the longest time to wait for the answer; 2 seconds by default, a minute at most.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets where the judge leaves the reason of a denial.
    #[cfg(feature = "jwt")]
    pub(crate) fn with_reason(mut self, reason: DenialReason) -> Self {
        self.reason = reason;
        self
    }

    /// Sets the function that judges the payload of the answer and its time by the wall clock of the broker. The thread that delivers the answer calls it.
    pub fn judged_by(
        mut self,
        judge: impl FnOnce(&[u8], SystemTime) -> Result<Grant, Denied> + Send + 'static,
    ) -> Self {
        self.judge = Box::new(judge);
        self
    }
}

/// Prints no payload, which may contain secrets.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("account", &self.account)
            .field("subject", &self.subject)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
