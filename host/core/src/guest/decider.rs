//! Decides whether a call may access a resource, in this order: rules and grants, grants from
//! earlier answers, the embedder's policy, and finally a question to a person. An allowed call
//! that may have effects is recorded as begun, on disk, before it proceeds.

use crate::guest::agents::GrantPrincipal;
use crate::guest::failure::refusal;
use crate::guest::questions::{Asker, Covers, Questions};
use futures_util::future::BoxFuture;
use lastword_providers::foreign::Foreign;
use lastword_providers::model::CallContext;
use lastword_providers::permits::{Allowed, Authorize, Decision, Denied, PermissionPolicy};
use lastword_providers::tools::Effects;
use lastword_store::Store;
use lastword_types::clock::Clock;
use lastword_types::hint;
use lastword_types::permission::{Access, Authority, Capability, Rule, Verdict, offers};
use lastword_types::session::{Answer, Asked};
use std::sync::Arc;
use std::time::Duration;

/// How long a policy may take.
const DECIDE: Duration = Duration::from_secs(60);

/// Everything that the decisions of one run share.
#[derive(Clone)]
pub(crate) struct RunPermits {
    pub(crate) authority: Authority,
    pub(crate) context: CallContext,
    pub(crate) asker: Asker,
    /// The principal whose remembered grants count: the agent and session that a user prompted.
    pub(crate) holder: GrantPrincipal,
    pub(crate) policy: Option<Arc<dyn PermissionPolicy>>,
    pub(crate) foreign: Foreign,
    /// Whether a person can be asked.
    pub(crate) asks: bool,
    pub(crate) questions: Arc<Questions>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The decisions of one call.
pub(crate) struct CallPermits {
    pub(crate) run: Arc<RunPermits>,
    /// The tool call, if it is one.
    pub(crate) call: Option<String>,
    pub(crate) effects: Effects,
}

impl Authorize for CallPermits {
    fn authorize(&self, access: Access) -> BoxFuture<'static, Result<Allowed, Denied>> {
        let run = Arc::clone(&self.run);
        let call = self.call.clone();
        let begins = (self.effects == Effects::Some)
            .then(|| call.clone())
            .flatten();
        Box::pin(async move {
            let allowed = run.allow(access, call).await?;
            if let Some(call) = begins {
                run.begin(&call).await?;
            }
            Ok(allowed)
        })
    }
}

impl RunPermits {
    /// Whether a capability is granted at least in part, or a policy or an answer could grant it.
    pub(crate) fn is_to_be_had(&self, capability: Capability) -> bool {
        let asks = self.asks || self.policy.is_some();
        self.authority.has(capability) || (asks && self.authority.could_have(capability))
    }

    async fn allow(&self, access: Access, call: Option<String>) -> Result<Allowed, Denied> {
        match self.authority.evaluate(&access, &[]) {
            Verdict::Allowed => return Ok(Allowed::ByRules(Vec::new())),
            Verdict::Denied(why) => {
                let target = Some(access.target.as_str());
                return Err(Denied(refusal(access.capability, target, &why)));
            }
            Verdict::Undecided => {}
        }

        if !access.once {
            let rules = self.remembered().await?;
            if self.authority.evaluate(&access, &rules) == Verdict::Allowed {
                return Ok(Allowed::ByRules(rules));
            }
        }

        let decision = match &self.policy {
            Some(policy) => self.decided(policy, &access).await,
            None => Decision::Ask,
        };

        match decision {
            Decision::Allow => Ok(Allowed::Once),
            Decision::Deny(reason) => Err(Denied(format!("not allowed: {reason}"))),
            Decision::Ask if self.asks => self.ask(access, call).await,
            Decision::Ask => Err(not_granted(&access)),
        }
    }

    async fn decided(&self, policy: &Arc<dyn PermissionPolicy>, access: &Access) -> Decision {
        let (policy, context) = (Arc::clone(policy), self.context.clone());
        let access = access.clone();
        let decided = self
            .foreign
            .call(Some(DECIDE), move || policy.decide(context, access));
        decided.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the policy decided nothing");
            Decision::Deny(format!("the host's policy decided nothing: {error}"))
        })
    }

    /// Returns the rules that earlier answers granted. They are read each time, so that a
    /// revocation takes effect at once.
    pub(crate) async fn remembered(&self) -> Result<Vec<Rule>, Denied> {
        let GrantPrincipal { agent, session, .. } = &self.holder;
        let granted = self.store.granted(*session, agent.clone()).await;
        let granted = granted.map_err(|error| {
            tracing::warn!(%error, "grants cannot be read");
            Denied("what was granted before cannot be read now; try again".to_owned())
        })?;
        let rules = granted.iter().filter_map(|rule| rule.parse().ok());
        Ok(rules.collect())
    }

    async fn ask(&self, access: Access, call: Option<String>) -> Result<Allowed, Denied> {
        let covers = (!access.once).then(|| {
            let (authority, target) = (self.authority.clone(), access.target.clone());
            let about = Access::new(access.capability, target, "");
            let covers =
                move |rules: &[Rule]| authority.evaluate(&about, rules) == Verdict::Allowed;
            Arc::new(covers) as Covers
        });
        let asked = Asked::Permission {
            offers: offers(&access).iter().map(Rule::to_string).collect(),
            capability: access.capability.to_string(),
            target: access.target,
            title: access.title,
            diff: access.diff,
            details: access.details,
        };

        let now = self.clock.now();
        let answer = self.questions.ask(&self.asker, call, asked, covers, now);
        match answer.await {
            Ok(Answer::Allow { .. }) => Ok(Allowed::Once),
            Ok(Answer::Deny { reason: None }) => Err(Denied("the user said no".to_owned())),
            Ok(Answer::Deny { reason: Some(why) } | Answer::Text { text: why }) => {
                Err(Denied(format!("the user said no: {why}")))
            }
            Err(unanswered) => Err(Denied(unanswered.to_string())),
        }
    }

    /// Records that a call may have effects from here on, and waits until that is on disk.
    pub(crate) async fn begin(&self, call: &str) -> Result<(), Denied> {
        let failed = |why: String| Denied(format!("the call cannot be recorded: {why}"));
        let output = &self.asker.output;
        output
            .start(call)
            .map_err(|error| failed(error.to_string()))?;
        let committed = output.committed().await;
        committed.map_err(|error| failed(error.to_string()))
    }
}

fn not_granted(access: &Access) -> Denied {
    let (capability, target) = (access.capability, &access.target);
    let exact = Rule::exactly(access).filter(|rule| rule.pattern().is_some());
    let how = match exact {
        Some(rule) => format!(
            "{}, or with `{capability}` for everything",
            hint::with_rule(&rule)
        ),
        None => hint::with_rule(&capability.into()),
    };

    Denied(format!(
        "the capability `{capability}` is not granted for {target}, and no person can be asked; \
         {how}"
    ))
}
