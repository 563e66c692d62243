//! Lists, page by page, and what of them cannot be read.

use lastword_types::damage::Damage;
use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PageView<T> {
    /// What it holds.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What belongs into it and cannot be read; absent if all can.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Damage>,
}

impl<T> PageView<T> {
    /// All of a list, of which everything can be read.
    #[must_use]
    pub fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next: None,
            damaged: Vec::new(),
        }
    }
}
