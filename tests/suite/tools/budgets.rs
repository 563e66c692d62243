//! Budgets: what a run may use, and how one ends that uses more.

use super::results;
use lastword::model::{Reply, Scripted, Step};
use lastword::session::Usage;
use lastword::{Capability, Limits, RunState};
use lastword_tests::fixture::Plan;
use lastword_tests::tools::TestTools;

#[tokio::test]
async fn ten_thousand_calls_end_at_the_budget() {
    let plan = Plan::new()
        .host(|host| host.tools(TestTools::default()))
        .limits(Limits::default().tool_calls(100))
        .options(|options| options.grant(Capability::Tools));
    let fixture = plan.build().await;
    let outcome = fixture
        .run(r#"tool-times 10000 test.echo {"text":"x"}"#)
        .await;
    assert_eq!(outcome.receipt.state, RunState::Failed);
    assert_eq!(outcome.receipt.cause, "limit(tool-calls)");
    let detail = outcome.receipt.detail.as_deref().expect("a detail");
    assert!(detail.contains("100 tool calls"), "{detail}");
    assert_eq!(results(&outcome).len(), 100);
}

/// A model whose every answer counts as much.
pub(super) fn costly() -> Scripted {
    let usage = Usage {
        input_tokens: 600,
        output_tokens: 600,
        cost_micros: 30,
        ..Usage::default()
    };
    let steps = [Step::Text("a long answer".to_owned()), Step::Usage(usage)];
    Scripted::new([Reply::new(steps)])
}

#[tokio::test]
async fn a_model_that_uses_more_than_the_budget_ends_the_run_and_keeps_what_was_said() {
    for (limits, cause) in [
        (Limits::default().tokens(Some(1000)), "limit(tokens)"),
        (Limits::default().cost_micros(Some(29)), "limit(cost)"),
    ] {
        let plan = Plan::new().host(|host| host.model(costly())).limits(limits);
        let fixture = plan.build().await;
        let outcome = fixture.run("model-transcript hello").await;
        assert_eq!(outcome.receipt.cause, cause);
        assert_eq!(outcome.receipt.state, RunState::Failed);
        assert_eq!(outcome.text(), "a long answer");
        assert_eq!(
            outcome.receipt.usage.input_tokens, 600,
            "what was used counts"
        );
    }
}

#[tokio::test]
async fn a_model_within_the_budget_goes_on() {
    let limits = Limits::default().tokens(Some(1200)).cost_micros(Some(30));
    let plan = Plan::new().host(|host| host.model(costly())).limits(limits);
    let outcome = plan.build().await.run("model-transcript hello").await;
    assert_eq!(outcome.receipt.state, RunState::Completed);
}

lastword_tests::also_in_memory![
    ten_thousand_calls_end_at_the_budget,
    a_model_that_uses_more_than_the_budget_ends_the_run_and_keeps_what_was_said,
    a_model_within_the_budget_goes_on,
];
