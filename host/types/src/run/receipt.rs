//! The receipt: a run's end as its caller receives it. Plain values.

use super::{Cause, RunState};
use crate::id::RunId;
use crate::session::{FinishReason, Question, Usage};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// Proof of a run's end, returned after the final state is durable.
///
/// A receipt with `persisted: false` is provisional: the guest is gone and the writer owns
/// the finishing transaction, which had not committed by the waiter's deadline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
// The derived functions become inherent ones. The trait implementations are below, where the cause
// is assembled.
#[serde(remote = "Self")]
#[non_exhaustive]
pub struct Receipt {
    /// The id of the run.
    pub run: RunId,
    /// Its terminal state, or `finishing` while the receipt is provisional.
    pub state: RunState,
    /// What ended the run; in JSON its name: `returned`, `user`, `trap(unreachable)`, …
    #[serde(with = "cause_name")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub cause: Cause,
    /// What happened, for people, if there is more to say than the cause.
    pub detail: Option<String>,
    /// The finish reason of its last message.
    pub finish_reason: FinishReason,
    /// Microseconds between the latching of the cause and the end of the guest.
    pub stop_us: u64,
    /// Microseconds between the end of the guest and the start of the finishing transaction that
    /// committed.
    pub persist_us: u64,
    /// Microseconds that the epilogue took, if one ran.
    pub epilogue_us: Option<u64>,
    /// Bytes of text that the run appended.
    pub text_bytes: u64,
    /// Parts in the run's messages.
    pub parts: u64,
    /// The run's deadline in milliseconds, if it had one.
    pub run_deadline_ms: Option<u64>,
    /// The deadline of the finishing transaction in milliseconds.
    pub finish_deadline_ms: u64,
    /// Whether the finishing transaction took longer than its deadline.
    pub finish_deadline_expired: bool,
    /// Whether the end is durable.
    pub persisted: bool,
    /// The resources that the run used.
    pub usage: RunUsage,
}

impl Serialize for Receipt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Receipt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut receipt = Self::deserialize(deserializer)?;
        // The cause's name does not contain the reason; the field beside it does.
        if let Cause::Returned(reason) = &mut receipt.cause {
            *reason = receipt.finish_reason;
        }
        Ok(receipt)
    }
}

/// Serialises a cause by its name alone.
mod cause_name {
    use super::{Cause, Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(
        cause: &Cause,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&cause.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cause, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Ok(Cause::from_name(&name))
    }
}

/// The resources that a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunUsage {
    /// Tokens that models read.
    pub input_tokens: u64,
    /// Tokens that models wrote.
    pub output_tokens: u64,
    /// The cost of these tokens, in millionths of a US dollar; 0 if the price is unknown.
    #[serde(default)]
    pub cost_micros: u64,
    /// The largest number of bytes of guest memory, summed over all memories.
    pub peak_memory_bytes: u64,
    /// Microseconds of processor time inside the sandbox, including host calls.
    pub guest_cpu_us: u64,
    /// The number of calls from the guest into `lastword:agent`.
    pub host_calls: u64,
}

/// What is known about a run's end before its finishing transaction begins.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    /// What ended the run.
    pub cause: Cause,
    /// What happened, for people, if there is more to say than the cause.
    pub detail: Option<String>,
    /// The time between the latching of the cause and the end of the guest.
    pub stop: Duration,
    /// How long the epilogue took, if one ran.
    pub epilogue: Option<Duration>,
    /// The run's deadline, if it had one.
    pub run_deadline: Option<Duration>,
    /// The deadline of the finishing transaction.
    pub finish_deadline: Duration,
    /// Guest memory, processor time and calls. The transcript counts the tokens.
    pub usage: RunUsage,
    /// What queues the session's next run, if the run ended waiting for something.
    pub wait: Option<Wait>,
}

/// What a run that has ended waits for. The first one to come queues the session's next run. The
/// wait is durable, and nothing is kept in memory for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wait {
    /// A time, counted from the run's end.
    pub after: Option<Duration>,
    /// A question whose answer is awaited.
    pub question: Option<Question>,
    /// The usage that the run takes over if a time begins it.
    pub carried: CarriedUsage,
}

/// The usage of consecutive runs of a session that a time began, without a person in between: they
/// share the limits of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CarriedUsage {
    /// How many of these runs a time began.
    pub wakes: u32,
    /// Tokens of models, including those of child runs.
    pub tokens: u64,
    /// The cost of these tokens, in millionths of a US dollar.
    pub cost_micros: u64,
    /// The number of tool calls.
    pub tool_calls: u64,
    /// Milliseconds that these runs took.
    pub run_ms: u64,
    /// Bytes of output.
    pub output_bytes: u64,
    /// The number of entries in the log.
    pub log_entries: u64,
    /// Bytes of files or of data parts, whichever is larger.
    pub written_bytes: u64,
}

impl CarriedUsage {
    /// Returns the sum of this usage and that of a further run.
    #[must_use]
    pub fn plus(self, run: Self) -> Self {
        Self {
            wakes: self.wakes.saturating_add(run.wakes),
            tokens: self.tokens.saturating_add(run.tokens),
            cost_micros: self.cost_micros.saturating_add(run.cost_micros),
            tool_calls: self.tool_calls.saturating_add(run.tool_calls),
            run_ms: self.run_ms.saturating_add(run.run_ms),
            output_bytes: self.output_bytes.saturating_add(run.output_bytes),
            log_entries: self.log_entries.saturating_add(run.log_entries),
            written_bytes: self.written_bytes.saturating_add(run.written_bytes),
        }
    }
}

impl RunOutcome {
    /// Creates an end of which only the cause is known, as recovery writes it.
    #[must_use]
    pub fn of(cause: Cause) -> Self {
        Self {
            cause,
            detail: None,
            stop: Duration::ZERO,
            epilogue: None,
            run_deadline: None,
            finish_deadline: Duration::ZERO,
            usage: RunUsage::default(),
            wait: None,
        }
    }

    /// Returns the receipt of a run with this end.
    #[must_use]
    pub fn receipt(&self, run: RunId, said: OutputStats, persist: Duration) -> Receipt {
        Receipt {
            run,
            state: self.cause.state(),
            cause: self.cause.clone(),
            detail: self.detail.clone(),
            finish_reason: self.cause.finish_reason(),
            stop_us: micros(self.stop),
            persist_us: micros(persist),
            epilogue_us: self.epilogue.map(micros),
            text_bytes: said.text_bytes,
            parts: said.parts,
            run_deadline_ms: self.run_deadline.map(|d| micros(d) / 1000),
            finish_deadline_ms: micros(self.finish_deadline) / 1000,
            finish_deadline_expired: !self.finish_deadline.is_zero()
                && persist > self.finish_deadline,
            persisted: true,
            usage: RunUsage {
                input_tokens: said.usage.input_tokens,
                output_tokens: said.usage.output_tokens,
                cost_micros: said.usage.cost_micros,
                ..self.usage
            },
        }
    }
}

/// Counts of a run's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputStats {
    /// Bytes of text.
    pub text_bytes: u64,
    /// The number of parts in its messages.
    pub parts: u64,
    /// Tokens of its model calls.
    pub usage: Usage,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_tells_its_cause_by_name_and_is_read_back_whole() {
        for cause in [
            Cause::Returned(FinishReason::MaxTokens),
            Cause::Trap("unreachable".to_owned()),
            Cause::Other("owner-lost".to_owned()),
        ] {
            let receipt = RunOutcome::of(cause.clone()).receipt(
                RunId::generate(),
                OutputStats::default(),
                Duration::ZERO,
            );
            let json = serde_json::to_value(&receipt).expect("a receipt is JSON");
            assert_eq!(json["cause"], *cause.name());
            assert_eq!(json.as_object().map(serde_json::Map::len), Some(15));
            let text = json.to_string();
            assert_eq!(
                serde_json::from_str::<Receipt>(&text).ok(),
                Some(receipt.clone())
            );
            assert_eq!(serde_json::from_value::<Receipt>(json).ok(), Some(receipt));
        }
    }
}
