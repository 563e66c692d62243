//! Positions in the log. A reader continues after the last event that it has seen.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

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

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.parse().map(Self)
            }
        }
    )*};
}

cursors! {
    /// The number of an event within its session: 1, 2, 3 … without gaps. As a cursor, the last
    /// event that was seen; 0 is before the first.
    Seq;
    /// The position of an event among all events of a host, in all workspaces: increasing, with
    /// gaps. As a cursor, the last event that was seen; 0 is before the first.
    Position;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for number in [0, 7, u64::MAX] {
            assert_eq!(Seq(number).to_string().parse(), Ok(Seq(number)));
            assert_eq!(Position(number).to_string().parse(), Ok(Position(number)));
        }
        for text in ["", "-1", "1 ", "18446744073709551616"] {
            assert!(text.parse::<Seq>().is_err(), "{text:?}");
        }
    }
}
