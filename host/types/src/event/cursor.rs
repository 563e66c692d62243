//! Places in the log. Knows nothing of what stands there.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! cursors {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

cursors! {
    /// An event's number within its session: 1, 2, 3 … without gaps. As a cursor, the last
    /// event that was seen; 0 is before the first.
    Seq;
    /// An event's place among all events of a host, those of all its workspaces: increasing, with
    /// gaps. As a cursor, the last event that was seen; 0 is before the first.
    Position;
}
