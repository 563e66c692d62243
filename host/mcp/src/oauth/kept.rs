//! What was learnt while authorizing and nobody may see: tokens, codes, secrets of clients.
//! Keeps them out of texts, as the operator's own secrets are kept out.

use super::super::launch::Fill;
use lastword_providers::secrets::Secrets;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

/// Values that are remembered; the oldest are forgotten, which are of no use by then.
const VALUES_MAX: usize = 128;

/// All that was learnt.
#[derive(Default)]
pub(crate) struct Kept(RwLock<Learnt>);

#[derive(Default)]
struct Learnt {
    values: VecDeque<String>,
    secrets: Secrets,
}

impl Kept {
    /// Keeps these out from now on.
    pub(super) fn learn<'v>(&self, values: impl IntoIterator<Item = &'v str>) {
        let mut learnt = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = learnt.values.len();

        for value in values {
            if !learnt.values.iter().any(|known| known == value) {
                learnt.values.push_back(value.to_owned());
            }
        }

        if learnt.values.len() == before {
            return;
        }

        while learnt.values.len() > VALUES_MAX {
            learnt.values.pop_front();
        }

        let named = learnt.values.iter().enumerate();
        let named = named.map(|(at, value)| (format!("oauth-{at}"), value.clone()));
        learnt.secrets = Secrets::learnt(named);
    }

    fn redact(&self, text: &str) -> String {
        let learnt = self.0.read().unwrap_or_else(PoisonError::into_inner);
        learnt.secrets.redact(text).into_owned()
    }
}

/// The operator's secrets, and what was learnt beside them.
pub(crate) struct Redacting {
    pub(crate) operator: Arc<dyn Fill>,
    pub(crate) kept: Arc<Kept>,
}

impl Fill for Redacting {
    fn fill(&self, text: &str) -> Result<String, String> {
        self.operator.fill(text)
    }

    fn redact(&self, text: &str) -> String {
        self.kept.redact(&self.operator.redact(text))
    }
}
