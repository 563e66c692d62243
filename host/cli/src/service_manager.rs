//! What `lastword serve` reports to the service manager that started it, if one did: that it is
//! ready, that it is stopping, and, where the manager watches it, that it is well.

use lastword::{Health, Host};
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::Instant;

/// How soon a host that was not well is checked again. A single slow sync is no reason to lose half
/// of the time that the service manager allows.
const AGAIN: Duration = Duration::from_secs(1);

/// Reports a state to the service manager. Does nothing without one.
pub(crate) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Reports to the watchdog of the service manager twice in the time that it allows, but only while
/// the host is well. Never returns if the service manager watches this process; returns at once if
/// it does not.
pub(crate) async fn feed_watchdog(host: &Host) {
    let allowed = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero());
    let Some(allowed) = allowed else {
        return;
    };

    let mut well = true;
    loop {
        let checked = Instant::now();
        let trouble = trouble(&host.health().await);
        let before = std::mem::replace(&mut well, trouble.is_none());
        match trouble {
            None => notify(NotifyState::Watchdog),
            Some(why) if before => tracing::warn!(
                %why,
                "the service manager is not told that this host is well; it ends this process after \
                 {} s without a report",
                allowed.as_secs_f64()
            ),
            Some(_) => {}
        }

        let pause = allowed / 2;
        let pause = if well { pause } else { pause.min(AGAIN) };
        tokio::time::sleep_until(checked + pause).await;
    }
}

/// Returns why the host is not well, if it is not. A host that ends in order is: how long that may
/// take is for the service manager's other limit.
fn trouble(health: &Health) -> Option<String> {
    match health {
        Health::Ready | Health::Closing => None,
        Health::CannotWrite { why } | Health::Closed { why } => Some(why.clone()),
        other => Some(format!("{other:?}")),
    }
}
