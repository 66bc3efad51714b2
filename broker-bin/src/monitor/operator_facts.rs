//! What monitoring shows of trusted operators.

use std::sync::Arc;

#[cfg(feature = "jwt")]
use broker_core::auth::jwt::OperatorClaims;
#[cfg(feature = "jwt")]
use broker_core::operator::OperatorMode;

#[cfg(feature = "jwt")]
use crate::options::Operators;

/// The trusted operators and their accounts; the default without any.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OperatorFacts {
    /// The JWTs of the operators. They are public.
    pub tokens: Arc<[String]>,
    /// The claims in them.
    #[cfg(feature = "jwt")]
    pub claims: Arc<[OperatorClaims]>,
    /// The accounts as claims, if operators are trusted.
    #[cfg(feature = "jwt")]
    pub mode: Option<OperatorMode>,
}

impl OperatorFacts {
    #[cfg(feature = "jwt")]
    pub(crate) fn of(operators: &Operators) -> Self {
        Self {
            tokens: operators.jwts().into(),
            claims: operators.claims().into(),
            mode: Some(operators.mode().clone()),
        }
    }

    /// Returns the number of log-ins that were refused because the account is not one of the pinned ones.
    #[cfg(feature = "jwt")]
    pub(super) fn pinned_account_fails(&self) -> u64 {
        self.mode.as_ref().map_or(0, OperatorMode::pinned_account_fails)
    }

    #[cfg(not(feature = "jwt"))]
    #[expect(clippy::unused_self, reason = "the other implementation uses it")]
    pub(super) fn pinned_account_fails(&self) -> u64 {
        0
    }
}
