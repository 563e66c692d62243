//! The guest's side: `lastword:agent/control`.

use super::Control;
use lastword_sandbox::HostResult;
use lastword_sandbox::bindings::lastword::agent::control::Host;
use std::sync::Arc;

impl Host for Arc<Control> {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "control.interruption",
        skip_all
    )]
    async fn interruption(&mut self) -> HostResult<Option<String>> {
        self.called();
        Ok(Control::interruption(self))
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "control.remaining-ms",
        skip_all
    )]
    async fn remaining_ms(&mut self) -> HostResult<Option<u64>> {
        self.called();
        let left = self.remaining();
        Ok(left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
    }
}
