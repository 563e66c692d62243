//! The health and the version of a server.

use serde::{Deserialize, Serialize};

/// Whether the server accepts work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`; `closing` while the host shuts down; `cannot-write` while it cannot write to the disk,
    /// which may pass; `closed` once the host can never write again, after which it ends.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "ok"))]
    pub status: HealthStatus,
    /// Why it cannot write, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether a server accepts work, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HealthStatus {
    /// It accepts work.
    Ok,
    /// Its host is shutting down.
    Closing,
    /// It cannot write to the disk, which may pass.
    CannotWrite,
    /// Its host can never write again, and will end.
    Closed,
    /// A word of a later version.
    #[serde(other)]
    Other,
}

/// The program and the version of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// The name of the program, `lastword`.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// The WIT package that agents are written against, with its version.
    pub wit: String,
}
