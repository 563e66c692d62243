//! Implements `lastword:agent/control`, the control interface that a guest imports.

use super::Control;
use lastword_sandbox::HostResult;
use lastword_sandbox::bindings::lastword::agent::control::Host;
use std::sync::Arc;

/// One guest's access to its run's control.
pub(crate) struct ControlHost(pub(crate) Arc<Control>);

impl Host for ControlHost {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "control.interruption",
        skip_all
    )]
    async fn interruption(&mut self) -> HostResult<Option<String>> {
        self.0.called();
        Ok(self.0.interruption())
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "control.remaining-ms",
        skip_all
    )]
    async fn remaining_ms(&mut self) -> HostResult<Option<u64>> {
        self.0.called();
        let left = self.0.remaining();
        Ok(left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
    }
}
