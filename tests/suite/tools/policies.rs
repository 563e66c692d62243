//! An embedder's policy, and denials: who decides before whom.

use super::questions::CHANGE;
use futures_util::future::BoxFuture;
use lastword::model::CallContext;
use lastword::permission::Access;
use lastword::permits::{Decision, PermissionPolicy};
use lastword_tests::fixture::Plan;
use lastword_tests::tools::TestTools;

/// Allows one tool, denies another, and leaves the rest to people.
struct Policy;

impl PermissionPolicy for Policy {
    fn decide(&self, _: CallContext, access: Access) -> BoxFuture<'static, Decision> {
        let decision = match access.target.as_str() {
            "test.echo" => Decision::Allow,
            "test.change" => Decision::Deny("the house rules forbid it".to_owned()),
            _ => Decision::Ask,
        };
        Box::pin(std::future::ready(decision))
    }
}

#[tokio::test]
async fn a_policy_decides_after_grants_and_before_people() {
    let plan = Plan::new().host(|host| {
        let host = host.tools(TestTools::default());
        host.permission_policy(Policy)
    });
    let fixture = plan.build().await;
    assert_eq!(
        fixture.run(r#"tool test.echo {"text":"yes"}"#).await.text(),
        "yes"
    );
    let denied = fixture.run(CHANGE).await;
    assert!(
        denied.text().contains("the house rules forbid it"),
        "{}",
        denied.text()
    );
    let asks = fixture.run(r#"tool test.flood {"text":""}"#).await;
    assert!(
        asks.text().contains("no person can be asked"),
        "{}",
        asks.text()
    );
}

#[tokio::test]
async fn a_denial_stands_before_everything() {
    let rule: lastword::permission::Rule = "tools=test.change".parse().expect("a rule");
    let plan = Plan::new().host(|host| {
        let host = host.tools(TestTools::default());
        host.permission_policy(Policy)
    });
    let plan = plan.options(|options| {
        let options = options.grant(lastword::Capability::Tools);
        options.deny(rule).ask(true)
    });
    let fixture = plan.build().await;
    let denied = fixture.run(CHANGE).await;
    assert!(
        denied.text().contains("`tools=test.change` denies it"),
        "{}",
        denied.text()
    );
}

lastword_tests::also_in_memory![
    a_policy_decides_after_grants_and_before_people,
    a_denial_stands_before_everything,
];
