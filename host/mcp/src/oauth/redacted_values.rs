//! Secrets that were obtained during authorization: tokens, codes, client secrets. Redacts them
//! from texts, as the operator's own secrets are redacted.

use super::super::launch::SecretSource;
use lastword_providers::secrets::Secrets;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

/// The largest number of values that are remembered. The oldest are dropped first; they have
/// expired by then.
const VALUES_MAX: usize = 128;

/// The values to redact.
#[derive(Default)]
pub(crate) struct RedactedValues(RwLock<RedactedState>);

#[derive(Default)]
struct RedactedState {
    values: VecDeque<String>,
    secrets: Secrets,
}

impl RedactedValues {
    /// Adds values to redact.
    pub(super) fn add<'v>(&self, values: impl IntoIterator<Item = &'v str>) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = state.values.len();

        for value in values {
            if !state.values.iter().any(|known| known == value) {
                state.values.push_back(value.to_owned());
            }
        }

        if state.values.len() == before {
            return;
        }

        while state.values.len() > VALUES_MAX {
            state.values.pop_front();
        }

        let named = state.values.iter().enumerate();
        let named = named.map(|(at, value)| (format!("oauth-{at}"), value.clone()));
        state.secrets = Secrets::for_redaction(named);
    }

    fn redact(&self, text: &str) -> String {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.secrets.redact(text).into_owned()
    }
}

/// Redacts the operator's secrets and those obtained during authorization.
pub(crate) struct RedactingSecrets {
    pub(crate) operator: Arc<dyn SecretSource>,
    pub(crate) redacted_values: Arc<RedactedValues>,
}

impl SecretSource for RedactingSecrets {
    fn fill(&self, text: &str) -> Result<String, String> {
        self.operator.fill(text)
    }

    fn redact(&self, text: &str) -> String {
        self.redacted_values.redact(&self.operator.redact(text))
    }
}
