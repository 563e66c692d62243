//! What a server says of itself.

use serde::{Deserialize, Serialize};

/// Whether the server takes work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`; `closing` while the host shuts down; `cannot-write` while the disk refuses, which may
    /// pass; `closed` once the host can never write again, which ends it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "ok"))]
    pub status: HealthStatus,
    /// Why it cannot write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether a server takes work, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HealthStatus {
    /// It takes work.
    Ok,
    /// Its host shuts down.
    Closing,
    /// The disk refuses, which may pass.
    CannotWrite,
    /// Its host can never write again, which ends it.
    Closed,
    /// A word of a later version.
    #[serde(other)]
    Other,
}

/// What answers here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// `lastword`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The package of interfaces that agents are written against.
    pub wit: String,
}
