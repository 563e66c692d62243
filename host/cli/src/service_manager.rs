//! What `lastword serve` reports to the service manager that started it, if one did: that it is
//! ready, that it is stopping, and, where the manager watches it, that it is alive.

use lastword::{Health, Host};
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::Instant;

/// How soon a host that did not answer is checked again. A single slow sync is no reason to lose half
/// of the time that the service manager allows.
const AGAIN: Duration = Duration::from_secs(1);

/// Reports a state to the service manager. Does nothing without one.
pub(crate) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Reports to the watchdog of the service manager twice in the time that it allows, as long as the
/// host answers. Never returns if the service manager watches this process; returns at once if
/// it does not.
pub(crate) async fn feed_watchdog(host: &Host) {
    let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero());
    let Some(allowed) = allowed else {
        return;
    };

    let mut alive = true;
    loop {
        let checked = Instant::now();
        let trouble = silence(&host.health().await);
        let before = std::mem::replace(&mut alive, trouble.is_none());
        match trouble {
            None => notify(NotifyState::Watchdog),
            Some(why) if before => tracing::warn!(
                %why,
                "the service manager is not told that this host is alive; it ends this process after \
                 {} s without a report",
                allowed.as_secs_f64()
            ),
            Some(_) => {}
        }

        let pause = allowed / 2;
        let pause = if alive { pause } else { pause.min(AGAIN) };
        tokio::time::sleep_until(checked + pause).await;
    }
}

/// Returns why the host has to be started anew, if it has to be. One that ends in order has its own
/// limit for that. One whose disk is full keeps the ends of its runs until there is space, which a
/// new one could not.
fn silence(health: &Health) -> Option<String> {
    match health {
        Health::Stalled { why } | Health::Closed { why } => Some(why.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_started_anew_only_if_that_helps() {
        let why = || "why".to_owned();
        for health in [
            Health::Stalled { why: why() },
            Health::Closed { why: why() },
        ] {
            assert_eq!(silence(&health), Some(why()));
        }
        let full = Health::CannotWrite { why: why() };
        for health in [Health::Ready, Health::Closing, full] {
            assert_eq!(silence(&health), None);
        }
    }
}
