//! Lists, page by page, and the parts of them that cannot be read.

use lastword_types::damage::Damage;
use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PageView<T> {
    /// The entries of the page.
    pub items: Vec<T>,
    /// The cursor of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The entries that belong to the page and cannot be read; absent if there are none.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Damage>,
}

impl<T> PageView<T> {
    /// Creates the only page of a list that can be read completely.
    #[must_use]
    pub fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next: None,
            damaged: Vec::new(),
        }
    }
}
