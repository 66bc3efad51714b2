//! Claims that allow an account to import.

use serde::{Deserialize, Serialize};

use super::{Body, ExportType, Generic, KeyKind};

/// The claims of an activation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Activation {
    /// The subject that may be imported.
    #[serde(rename = "subject", skip_serializing_if = "String::is_empty")]
    pub import_subject: String,
    /// The kind: stream or service.
    #[serde(rename = "kind", skip_serializing_if = "ExportType::is_unknown")]
    pub import_type: ExportType,
    /// The account that exports, if a signing key of it is the issuer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer_account: String,
    /// Tags, kind and version.
    #[serde(flatten)]
    pub generic: Generic,
}

impl Body for Activation {
    const KIND: &'static str = "activation";
    const ISSUERS: &'static [KeyKind] = &[KeyKind::Account, KeyKind::Operator];
    const SUBJECT: Option<KeyKind> = Some(KeyKind::Account);

    fn set_generic(&mut self, version: i64) {
        self.generic.set(Self::KIND, version);
    }
}
