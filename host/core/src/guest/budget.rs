//! The budget of one run: tokens, money, tool calls. The use of a child run also counts against
//! the budgets of its ancestors.

use super::control::Control;
use lastword_sandbox::Limits;
use lastword_types::session::Usage;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One run's budget. Exceeding it ends the run with `limit(KIND)`.
pub(crate) struct Budget {
    control: Arc<Control>,
    above: Option<Arc<Budget>>,
    tokens: Account,
    cost: Account,
    calls: Account,
}

struct Account {
    kind: &'static str,
    what: &'static str,
    max: u64,
    used: AtomicU64,
}

impl Account {
    fn new(kind: &'static str, what: &'static str, max: Option<u64>) -> Self {
        Self {
            kind,
            what,
            max: max.unwrap_or(u64::MAX),
            used: AtomicU64::new(0),
        }
    }

    /// Adds to the use. Returns whether it is still within the maximum.
    fn take(&self, amount: u64) -> bool {
        let add = |used: u64| Some(used.saturating_add(amount));
        let before = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        before.unwrap_or(u64::MAX).saturating_add(amount) <= self.max
    }
}

impl Budget {
    pub(crate) fn new(
        control: &Arc<Control>,
        limits: &Limits,
        above: Option<Arc<Budget>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            control: Arc::clone(control),
            above,
            tokens: Account::new("tokens", "tokens of models", limits.tokens),
            cost: Account::new("cost", "millionths of a US dollar", limits.cost_micros),
            calls: Account::new(
                "tool-calls",
                "tool calls",
                Some(u64::from(limits.tool_calls)),
            ),
        })
    }

    /// Counts the use of a model call, even beyond the budget. Returns whether the run may
    /// continue.
    pub(crate) fn usage(&self, usage: Usage) -> bool {
        let tokens = usage.input_tokens.saturating_add(usage.output_tokens);
        let own = self.charge(&self.tokens, tokens) & self.charge(&self.cost, usage.cost_micros);
        own & self.above.as_ref().is_none_or(|above| above.usage(usage))
    }

    /// Returns the use so far: tokens, millionths of a US dollar, tool calls.
    pub(crate) fn used(&self) -> (u64, u64, u64) {
        let used = |account: &Account| account.used.load(Ordering::Acquire);
        (used(&self.tokens), used(&self.cost), used(&self.calls))
    }

    /// Counts a tool call before it is made. Returns whether it may be made.
    pub(crate) fn call(&self) -> bool {
        let own = self.charge(&self.calls, 1);
        own & self.above.as_ref().is_none_or(|above| above.call())
    }

    fn charge(&self, account: &Account, amount: u64) -> bool {
        let holds = account.take(amount);
        if !holds {
            let detail = format!(
                "the run may use {} {}, and is beyond that",
                account.max, account.what
            );
            self.control.exceed(account.kind, detail);
        }

        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_os::clock::SystemClock;

    fn budget(limits: Limits, above: Option<Arc<Budget>>) -> (Arc<Control>, Arc<Budget>) {
        let control = Control::new(SystemClock::shared());
        let budget = Budget::new(&control, &limits, above);
        (control, budget)
    }

    #[test]
    fn what_a_child_uses_counts_above_and_stops_who_is_beyond() {
        let usage = Usage {
            input_tokens: 30,
            output_tokens: 30,
            cost_micros: 5,
            ..Usage::default()
        };

        let (parent, above) = budget(Limits::default().tokens(Some(100)), None);
        let (child, below) = budget(Limits::default(), Some(above));
        assert!(below.usage(usage));
        assert!(parent.exceeded_kind().is_none());
        assert!(!below.usage(usage));
        assert_eq!(parent.exceeded_kind(), Some("tokens"));
        assert_eq!(child.exceeded_kind(), None, "its own budget holds");
    }

    #[test]
    fn the_last_call_within_the_budget_is_made() {
        let (control, budget) = budget(Limits::default().tool_calls(2), None);
        assert!(budget.call() && budget.call());
        assert!(control.exceeded_kind().is_none());
        assert!(!budget.call());
        assert_eq!(control.exceeded_kind(), Some("tool-calls"));
    }
}
