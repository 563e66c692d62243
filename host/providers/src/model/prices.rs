//! Prices of models that the operator sets where the service reports no cost, and the cost of
//! counted tokens.

#[cfg(feature = "models")]
use super::config::ModelConfigError;
use super::provider::{ModelEvent, ModelStream};
use futures_util::StreamExt;
use lastword_types::session::Usage;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The highest price in dollars per million tokens.
#[cfg(feature = "models")]
const DOLLARS_MAX: f64 = 1e6;
/// Stored units in a millionth of a dollar per token, so that sums are exact.
const UNITS: u128 = 1_000_000;

/// The price of one model in US dollars per million tokens, to the millionth of a dollar.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// The price of input tokens.
    pub input: f64,
    /// The price of output tokens.
    pub output: f64,
}

/// A checked price, in [`UNITS`] per token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    input: u128,
    output: u128,
}

impl Price {
    /// Returns the cost of these tokens, rounded up to a millionth of a dollar.
    fn of(self, usage: Usage) -> u64 {
        let read = self.input.saturating_mul(usage.input_tokens.into());
        let written = self.output.saturating_mul(usage.output_tokens.into());
        let cost = read.saturating_add(written).div_ceil(UNITS);
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    /// Adds the cost to the usage in a stream, unless the provider reported it.
    pub(super) fn add_cost(self, stream: ModelStream) -> ModelStream {
        let priced = stream.map(move |event| match event {
            Ok(ModelEvent::Usage(mut usage)) if usage.cost_micros == 0 => {
                usage.cost_micros = self.of(usage);
                Ok(ModelEvent::Usage(usage))
            }
            other => other,
        });
        priced.boxed()
    }
}

/// Prices by the models' names.
#[derive(Clone, Debug, Default)]
pub(super) struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// Checks the configured prices.
    #[cfg(feature = "models")]
    pub(super) fn new(configured: &BTreeMap<String, ModelPrice>) -> Result<Self, ModelConfigError> {
        let checked = configured.iter().map(|(model, price)| {
            let checked = Price {
                input: checked(model, "input", price.input)?,
                output: checked(model, "output", price.output)?,
            };
            Ok((model.clone(), checked))
        });
        checked.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the price of `PROVIDER:NAME`, by the whole name or else by the name alone.
    pub(super) fn find(&self, spec: &str) -> Option<Price> {
        let named = || self.0.get(spec.split_once(':')?.1);
        self.0.get(spec).or_else(named).copied()
    }
}

#[cfg(feature = "models")]
fn checked(model: &str, what: &'static str, dollars: f64) -> Result<u128, ModelConfigError> {
    if !(0.0..=DOLLARS_MAX).contains(&dollars) {
        return Err(ModelConfigError::Price {
            model: model.to_owned(),
            what,
            text: dollars.to_string(),
        });
    }

    // Dollars per million tokens are millionths of a dollar per token.
    Ok((dollars * UNITS as f64).round() as u128)
}

#[cfg(all(test, feature = "models"))]
mod tests {
    use super::*;

    fn prices(model: &str, input: f64, output: f64) -> Result<Prices, ModelConfigError> {
        Prices::new(&[(model.to_owned(), ModelPrice { input, output })].into())
    }

    fn cost(input: f64, output: f64, read: u64, written: u64) -> u64 {
        let usage = Usage {
            input_tokens: read,
            output_tokens: written,
            ..Usage::default()
        };
        let prices = prices("m", input, output).unwrap();
        prices.find("m").unwrap().of(usage)
    }

    #[test]
    fn costs_are_exact_and_rounded_up() {
        for (input, output, read, written, expected) in [
            (0.15, 0.60, 1_000_000, 0, 150_000),
            (0.15, 0.60, 0, 1_000_000, 600_000),
            (0.15, 0.60, 20, 5, 6),
            (0.15, 0.60, 1, 0, 1),
            (0.1, 0.0, 70, 9, 7),
            (0.1, 0.2, 1, 1, 1),
            (3.0, 15.0, 7, 2, 51),
            (0.0, 0.0, 7, 2, 0),
            (0.15, 0.60, 0, 0, 0),
            (1e6, 1e6, u64::MAX, u64::MAX, u64::MAX),
        ] {
            let found = cost(input, output, read, written);
            assert_eq!(found, expected, "{input} {output} {read} {written}");
        }
    }

    #[test]
    fn a_price_is_found_with_and_without_the_service() {
        let of = |price: Option<Price>| price.map(|price| price.input / UNITS);
        let mut both = prices("ollama:llama3:8b", 1.0, 1.0).unwrap();
        both.0.extend(prices("llama3:8b", 2.0, 2.0).unwrap().0);
        assert_eq!(of(both.find("ollama:llama3:8b")), Some(1));
        assert_eq!(of(both.find("openai:llama3:8b")), Some(2));
        assert_eq!(of(both.find("ollama:llama3")), None);
        assert_eq!(of(both.find("8b")), None);
    }

    #[test]
    fn invalid_prices_are_refused() {
        for wrong in [-0.01, f64::NAN, f64::INFINITY, 1e6 + 1.0] {
            for (input, output, what) in [(wrong, 0.0, "input"), (0.0, wrong, "output")] {
                let error = prices("m", input, output).unwrap_err().to_string();
                assert!(error.contains(&format!("{what} = {wrong}")), "{error}");
                assert!(error.contains("[models.prices.\"m\"]"), "{error}");
            }
        }
    }
}
