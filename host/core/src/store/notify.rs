//! Wakes whoever reads a session's log once more of it is committed. Carries numbers only:
//! the log itself is what is read.

use super::tx::Grown;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// The last committed number of every session that somebody follows.
#[derive(Default)]
pub(super) struct Notify {
    followed: Mutex<HashMap<i64, watch::Sender<i64>>>,
}

impl Notify {
    /// Follows a session. To be called before the first read, so that nothing committed in
    /// between is missed.
    pub(super) fn follow(&self, session: i64) -> watch::Receiver<i64> {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        // Those whom nobody follows any more go when somebody else comes.
        followed.retain(|_, sender| sender.receiver_count() > 0);
        followed
            .entry(session)
            .or_insert_with(|| watch::channel(0).0)
            .subscribe()
    }

    /// To be called after COMMIT, with the last number of each session that grew.
    pub(super) fn publish(&self, touched: &[Grown]) {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if followed.is_empty() {
            return;
        }
        for grown in touched {
            if let Some(sender) = followed.get(&grown.session) {
                sender.send_replace(grown.last);
            }
        }
    }
}
