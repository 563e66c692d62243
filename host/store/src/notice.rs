//! Findings of a store that was opened, which its operator should know although the host can start.

use lastword_types::clock::UnixMillis;
use std::fmt;
use std::path::PathBuf;

/// A finding about a data directory. Its `Display` says what happened, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The database was brought to the format of this version, which earlier ones cannot read.
    Upgraded {
        /// The format that it had.
        from: i64,
        /// The format that it has.
        to: i64,
    },
    /// The database lacks commits that were made to it.
    Missing(Missing),
    /// The record of commits belongs to another database: this one was put in its place. Reported
    /// once.
    OtherDatabase,
    /// The record of commits cannot be read or written, so that commits that go missing from now on
    /// will not be noticed.
    Unrecorded {
        /// The path of the record.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// Latched causes cannot be kept outside the database.
    NoCauses {
        /// The path of the file for the causes.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// Other users may enter the data directory, or list it.
    OpenToOthers {
        /// The data directory.
        directory: PathBuf,
        /// The permission bits of its mode.
        mode: u32,
    },
    /// A file can be read by other users, and its permissions could not be changed.
    Readable {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
}

/// Commits that are missing from the database, because its write-ahead log was damaged or an older
/// copy was put in its place. Reported once; from then on the database counts as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first missing position. Each event has a position, and so has each commit without an
    /// event.
    pub first: u64,
    /// The last missing position.
    pub last: u64,
    /// When the last event in the database was written; `None` if it has none.
    pub since: Option<UnixMillis>,
    /// When the last missing commit was made.
    pub until: UnixMillis,
    /// The path of a copy of the write-ahead log as it was found, if there was one and it could be
    /// copied.
    pub kept: Option<PathBuf>,
}

impl Missing {
    /// Returns the largest possible number of missing events and commits.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, first, last) = (self.count(), self.first, self.last);
        write!(
            f,
            "the database lacks what was written to it last: up to {count} events and changes \
             (positions {first} to {last}), "
        )?;
        match self.since {
            Some(since) => write!(f, "from {} ", Utc(since))?,
            None => write!(f, "all that there was ")?,
        }
        write!(
            f,
            "until {}. Its write-ahead log was damaged or cut off, or an older copy was put in \
             its place; everything before is there. If you restored a backup, this is as it should \
             be. It is said once",
            Utc(self.until)
        )?;
        match &self.kept {
            Some(kept) => write!(f, "; the log as it was found is kept in {}", kept.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgraded { from, to } => write!(
                f,
                "the database had format {from} and has format {to} now, which an earlier lastword \
                 cannot read; to go back to that, restore a backup from before. It is said once"
            ),
            Self::Missing(missing) => missing.fmt(f),
            Self::OtherDatabase => write!(
                f,
                "the database is another one than the last host had here; what that one held is \
                 not in it. If you put it there, this is as it should be. It is said once"
            ),
            Self::Unrecorded { path, why } => write!(
                f,
                "how far the database is committed cannot be noted in {}: {why}; should the \
                 database lose something, the next start will not say so",
                path.display()
            ),
            Self::NoCauses { path, why } => write!(
                f,
                "{} cannot be used: {why}; a run that is stopped while the disk is full will be \
                 told as ended by a crash if the host ends before there is space",
                path.display()
            ),
            Self::OpenToOthers { directory, mode } => write!(
                f,
                "other users can look into the data directory {} (mode {mode:04o}); what it holds \
                 is closed to them, its names are not: `chmod 700 {0}`, or under systemd \
                 `StateDirectoryMode=0700`",
                directory.display()
            ),
            Self::Readable { path, why } => write!(
                f,
                "other users may read {}, and its permissions cannot be changed: {why}; \
                 `chmod 600` it as its owner",
                path.display()
            ),
        }
    }
}

/// A time in a form for people.
struct Utc(UnixMillis);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0 / 1000;
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// Returns the date of a day, given in days since 1970-01-01, in the Gregorian calendar. Years are
/// counted from March, so that a leap day is the last day of its year.
fn date(day: u64) -> (u64, u64, u64) {
    let since_0000 = day + 719_468;
    let (era, of_era) = (since_0000 / 146_097, since_0000 % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, of_year - (153 * march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_read_them() {
        for (ms, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399_999, "2000-02-28 23:59:59 UTC"),
            (951_868_800_000, "2000-03-01 00:00:00 UTC"),
            (1_709_164_800_000, "2024-02-29 00:00:00 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
            (1_796_020_880_123, "2026-11-30 06:41:20 UTC"),
        ] {
            assert_eq!(Utc(UnixMillis(ms)).to_string(), expected);
        }
    }
}
