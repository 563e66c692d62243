//! A run stops wherever its guest is, for whatever cause, and keeps what it had said.

use crate::models::{parked, talking};
use lastword::model::Models;
use lastword::{AgentSource, Capability, Limits, Prompt, Receipt, RunState};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Outcome, Plan, wait_until_said, wait_until_started};
use lastword_tests::wat::{Core, LOOP};
use std::sync::Arc;
use std::time::Duration;

/// Every function that the world imports. A tidy test holds this list against the WIT files:
/// an import without an interruption fails the build.
const IMPORTS: [&str; 24] = [
    "transcript/history",
    "transcript/append-text",
    "transcript/append-reasoning",
    "transcript/append-part",
    "transcript/record-result",
    "transcript/summarise",
    "transcript/set-title",
    "transcript/read-blob",
    "model/complete",
    "model/completion.next",
    "model/completion.to-transcript",
    "model/models",
    "tools/available",
    "tools/call",
    "tools/call-all",
    "state/get",
    "state/set",
    "state/compare-and-set",
    "state/delete",
    "state/keys",
    "control/interruption",
    "control/remaining-ms",
    "log/write",
    "secrets/exists",
];

/// A run that was cancelled by a user, with nothing lost.
fn check_cancelled(fixture: &Fixture, outcome: &Outcome, said: &str) {
    let Receipt {
        state,
        cause,
        persisted,
        ..
    } = &outcome.receipt;
    assert_eq!(
        (*state, &*cause.name(), *persisted),
        (RunState::Cancelled, "user", true)
    );
    assert_eq!(outcome.receipt.finish_reason.as_str(), "cancelled");
    assert!(
        outcome.text().starts_with(said),
        "{:?} does not begin with {said:?}",
        outcome.text()
    );
    assert_eq!(outcome.streamed(), outcome.text());
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_every_import() {
    let plan = Plan::new().host(|host| host.model(talking()));
    let fixture = plan.build().await;
    for import in IMPORTS {
        let run = fixture
            .start_until(&format!("loop {import}"), "before")
            .await;
        let receipt = run.cancel().await.unwrap();
        let outcome = fixture.outcome(&run, receipt).await;
        check_cancelled(&fixture, &outcome, "before");
        assert!(
            outcome.receipt.usage.host_calls > 0,
            "{import} was never called"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_in_a_model_that_says_nothing() {
    let model = parked();
    let plan = Plan::new().host(|host| host.model(model.clone()));
    let fixture = plan.build().await;
    for (count, import) in ["model/completion.next", "model/completion.to-transcript"]
        .iter()
        .enumerate()
    {
        let run = fixture
            .start_until(&format!("loop {import}"), "before")
            .await;
        model.wait_until_begun(count + 1).await;
        let receipt = run.cancel().await.unwrap();
        check_cancelled(&fixture, &fixture.outcome(&run, receipt).await, "before");
        model.wait_until_abandoned(count + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_in_the_system() {
    let fixture = Fixture::new().await;
    let run = fixture.start_until("sleep 3600000", "before").await;
    let receipt = run.cancel().await.unwrap();
    check_cancelled(&fixture, &fixture.outcome(&run, receipt).await, "before");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_loops_that_never_ask() {
    let fixture = Fixture::new().await;
    for (prompt, said) in [
        ("spin before", "before"),
        ("spin-ready", "before"),
        ("flood", "x"),
        ("fill 64", ""),
        ("model-stubborn hello", "before"),
        ("think aloud", ""),
    ] {
        let run = fixture.start(prompt).await;
        wait_until_started(&run).await;
        if !said.is_empty() {
            wait_until_said(&run, said).await;
        }
        let receipt = run.cancel().await.unwrap();
        check_cancelled(&fixture, &fixture.outcome(&run, receipt).await, said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_places_that_no_compiler_makes() {
    let fixture = Fixture::new().await;
    let realloc = Core {
        realloc: LOOP,
        ..Core::default()
    };
    let post_return = Core {
        post_return: "(loop $l (br $l))",
        ..Core::default()
    };
    for core in [realloc, post_return] {
        let agent = fixture
            .host
            .load_agent("by hand", core.component())
            .await
            .unwrap();
        let session = fixture.workspace.new_session(&agent).await.unwrap();
        let run = session.prompt("go").await.unwrap();
        wait_until_started(&run).await;
        let receipt = run.cancel().await.unwrap();
        assert_eq!(
            (receipt.state, &*receipt.cause.name()),
            (RunState::Cancelled, "user")
        );
        assert_eq!(fixture.violations(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_start_function_while_it_is_loaded() {
    let clock = ManualClock::default();
    let plan = Plan::new().host(|host| host.clock(Arc::new(clock.clone())));
    let fixture = plan.build().await;
    let fields = "(func $start (loop $l (br $l))) (start $start)";
    let wasm = Core {
        fields,
        ..Core::default()
    }
    .component();
    // How long an agent may take to say what it is.
    let describe = Duration::from_secs(5);
    let begun = clock.begun_for(describe);
    let load = fixture.host.load_agent("by hand", wasm);
    let (loaded, ()) = tokio::join!(load, async {
        clock.asleep_for(describe, begun + 1).await;
        clock.advance(Duration::from_secs(6));
    });
    let error = loaded.unwrap_err();
    assert_eq!(
        (error.name(), error.is_retryable()),
        ("invalid-agent", false)
    );
    assert!(
        error.to_string().contains("could not say what it is"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn before_it_was_first_polled() {
    let fixture = Fixture::new().await;
    for _ in 0..20 {
        let run = fixture.start("spin before").await;
        let receipt = run.cancel().await.unwrap();
        let outcome = fixture.outcome(&run, receipt).await;
        assert_eq!(
            (&*outcome.receipt.cause.name(), outcome.receipt.persisted),
            ("user", true)
        );
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_its_deadline_on_the_hosts_clock() {
    let clock = ManualClock::default();
    let plan = Plan::new().host(|host| host.clock(Arc::new(clock.clone())).model(parked()));
    let fixture = plan.build().await;
    for prompt in ["spin before", "sleep 3600000", "loop model/completion.next"] {
        let run = fixture
            .session
            .prompt(Prompt::text(prompt).deadline(Duration::from_secs(60)));
        let run = run.await.unwrap();
        wait_until_said(&run, "before").await;
        clock.advance(Duration::from_secs(59));
        assert!(
            run.try_ended().is_none(),
            "{prompt} ended before its deadline"
        );
        clock.advance(Duration::from_secs(2));
        let receipt = run.ended().await.unwrap();
        assert_eq!(
            (receipt.state, &*receipt.cause.name()),
            (RunState::Cancelled, "deadline")
        );
        assert_eq!(receipt.run_deadline_ms, Some(60_000));
        assert_eq!(fixture.outcome(&run, receipt).await.text(), "before");
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn for_every_cause_of_somebody_elses() {
    let fixture = Fixture::new().await;
    let run = fixture.start_until("spin before", "before").await;
    let receipt = run.client_gone().await.unwrap();
    assert_eq!(
        (receipt.state, &*receipt.cause.name()),
        (RunState::Cancelled, "client-gone")
    );

    let run = fixture.start_until("spin before", "before").await;
    let receipt = run.parent_ended().await.unwrap();
    assert_eq!(
        (receipt.state, &*receipt.cause.name()),
        (RunState::Cancelled, "parent")
    );

    let run = fixture.start_until("spin before", "before").await;
    assert_eq!(fixture.host.shutdown().await, []);
    let receipt = run.ended().await.unwrap();
    assert_eq!(
        (receipt.state, &*receipt.cause.name()),
        (RunState::Interrupted, "shutdown")
    );
    assert_eq!(receipt.finish_reason.as_str(), "interrupted");
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_its_own_fault() {
    let limits = Limits::default().memory_bytes(32 << 20);
    let fixture = Plan::new().limits(limits).build().await;
    for (prompt, cause, said, detail) in [
        ("panic oh dear", "trap(unreachable)", "before", "oh dear"),
        ("unreachable", "trap(unreachable)", "", ""),
        ("recurse", "stack-overflow", "", ""),
        ("grow", "out-of-memory", "before", ""),
        ("fail no luck", "agent-error", "", "no luck (invalid)"),
        (
            "cancelled",
            "agent-error",
            "",
            "claimed the end `cancelled`",
        ),
        ("exit 3", "trap(exit)", "", "exited with code"),
    ] {
        let outcome = fixture.run(prompt).await;
        let receipt = &outcome.receipt;
        assert_eq!(
            (receipt.state, &*receipt.cause.name()),
            (RunState::Failed, cause),
            "{prompt}"
        );
        assert_eq!(receipt.finish_reason.as_str(), "error");
        assert_eq!(outcome.text(), said, "{prompt}");
        let found = receipt.detail.clone().unwrap_or_default();
        assert!(
            found.contains(detail),
            "{prompt}: {found:?} does not say {detail:?}"
        );
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

/// A function that calls itself, under the name that a compiler gives to `probe::deeper`.
fn deeper(body: &str) -> String {
    let name = "$_ZN5probe6deeper17h0123456789abcdefE";
    format!(
        "(global $stack (mut i32) (i32.const 65536)) (func {name} (local i32) {body} call {name})"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_overflows_is_told_as_that_whichever_it_is() {
    // Each call takes a piece of the stack that compilers keep at the beginning of the memory.
    let in_memory = "global.get $stack i32.const 1024 i32.sub local.tee 0 global.set $stack
                     local.get 0 i32.const 0 i32.store";
    let fixture = Fixture::new().await;
    for body in ["", in_memory] {
        let core = Core {
            fields: &deeper(body),
            run: "call $_ZN5probe6deeper17h0123456789abcdefE i32.const 1024",
            ..Core::default()
        };
        let receipt = by_hand(&fixture, &core).await;
        assert_eq!(&*receipt.cause.name(), "stack-overflow", "{receipt:?}");
        let detail = receipt.detail.unwrap_or_default();
        assert_eq!(detail, "its call stack is exhausted in `probe::deeper`");
    }

    // A single access beyond the memory is no recursion.
    let core = Core {
        run: "(i32.store (i32.const -8) (i32.const 0)) i32.const 1024",
        ..Core::default()
    };
    let receipt = by_hand(&fixture, &core).await;
    assert_eq!(&*receipt.cause.name(), "trap(memory-out-of-bounds)");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_not_json_is_the_agents_error() {
    let output = |text: char| {
        format!(
            "(i32.store8 (i32.const 1040) (i32.const 1)) (i32.store (i32.const 1044) (i32.const 1100))
             (i32.store (i32.const 1048) (i32.const 1))
             (i32.store8 (i32.const 1100) (i32.const {})) i32.const 1024",
            u32::from(text)
        )
    };
    let fixture = Fixture::new().await;
    for (text, cause) in [('{', "agent-error"), ('7', "returned")] {
        let core = Core {
            run: &output(text),
            ..Core::default()
        };
        let receipt = by_hand(&fixture, &core).await;
        assert_eq!(&*receipt.cause.name(), cause, "{receipt:?}");
        let told = receipt.detail.unwrap_or_default();
        assert_eq!(
            told.contains("output that is not JSON"),
            text == '{',
            "{told}"
        );
    }
}

/// Runs an agent that is written by hand to its end.
async fn by_hand(fixture: &Fixture, core: &Core<'_>) -> Receipt {
    let agent = fixture.host.load_agent("by hand", core.component()).await;
    let session = fixture
        .workspace
        .new_session(&agent.unwrap())
        .await
        .unwrap();
    let run = session.prompt("go").await.unwrap();
    run.ended().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_says_where() {
    let fixture = Fixture::new().await;
    let detail = fixture.run("panic oh dear").await.receipt.detail.unwrap();
    assert!(detail.contains(".rs:"), "{detail:?} names no place");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_cause_wins() {
    let fixture = Fixture::new().await;
    let run = fixture.start_until("spin before", "before").await;
    let (first, second) = tokio::join!(run.cancel(), run.client_gone());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.cause, "user");
    assert_eq!(first, second, "the same end, whoever asks");
    assert_eq!(run.cancel().await.unwrap(), first, "and whenever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_period_lets_it_speak_and_refuses_the_rest() {
    let clock = ManualClock::default();
    let grace = Duration::from_secs(10);
    let limits = Limits::default().grace(grace);
    let plan = Plan::new()
        .limits(limits)
        .host(|host| host.clock(Arc::new(clock.clone())).model(parked()));
    let fixture = plan.build().await;

    // Parked in a model, it is told, and says so in time.
    let run = fixture.start("model hello").await;
    wait_until_started(&run).await;
    let receipt = run.cancel().await.unwrap();
    assert_eq!(
        (receipt.state, &*receipt.cause.name()),
        (RunState::Cancelled, "user")
    );

    // One that takes no notice is stopped when the grace is over.
    let run = fixture.start_until("spin before", "before").await;
    let until_its_end = grace + limits.finish_deadline;
    let (of_grace, of_end) = (clock.begun_for(grace), clock.begun_for(until_its_end));
    let cancel = run.cancel();
    let (receipt, ()) = tokio::join!(cancel, async {
        // The timer of the grace period, and that of the caller that waits for the end.
        clock.asleep_for(grace, of_grace + 1).await;
        clock.asleep_for(until_its_end, of_end + 1).await;
        assert!(run.try_ended().is_none(), "it ended within its grace");
        clock.advance(Duration::from_secs(11));
    });
    assert_eq!(receipt.unwrap().cause, "user");
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_are_not_touched() {
    let fixture = Fixture::new().await;
    let other = fixture.workspace.new_session(&fixture.agent).await.unwrap();
    let neighbour = other.prompt("spin neighbour").await.unwrap();
    wait_until_said(&neighbour, "neighbour").await;
    for _ in 0..20 {
        let run = fixture.start_until("spin before", "before").await;
        assert_eq!(run.cancel().await.unwrap().cause, "user");
        assert!(
            neighbour.try_ended().is_none(),
            "somebody else's cancel ended it"
        );
    }
    assert_eq!(neighbour.cancel().await.unwrap().cause, "user");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_component_declares_is_bounded() {
    let fixture = Fixture::new().await;
    let huge = "(memory (export \"memory\") 65536)";
    let cases = [
        Core {
            memory: huge,
            ..Core::default()
        },
        Core {
            memory: "(memory (export \"memory\") 2) (memory 1) (memory 1)",
            ..Core::default()
        },
        Core {
            fields: "(table 20000000 funcref)",
            ..Core::default()
        },
    ];
    for core in cases {
        let loaded = fixture
            .host
            .load_agent("by hand", AgentSource::Bytes(core.component()))
            .await;
        assert!(loaded.is_err(), "{core:?} was loaded");
    }
    assert_eq!(fixture.run("echo still here").await.text(), "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epilogue_speaks_last_and_nothing_it_does_matters() {
    let plan = Plan::new()
        .agent("epilogue-probe")
        .grants([Capability::ReadFiles]);
    let fixture = plan.host(|host| host.model(Models::none())).build().await;
    for (prompt, own, closing) in [
        ("go", "before", "closing words (user)"),
        ("panic", "before panic", ""),
        ("loop", "before loop", ""),
    ] {
        let said = &format!("{own}{closing}");
        let run = fixture.start_until(prompt, own).await;
        let receipt = run.cancel().await.unwrap();
        assert!(receipt.epilogue_us.is_some());
        let outcome = fixture.outcome(&run, receipt).await;
        check_cancelled(&fixture, &outcome, said);
        assert_eq!(outcome.text(), *said);
    }
}

lastword_tests::also_in_memory![
    inside_every_import,
    parked_in_a_model_that_says_nothing,
    parked_in_the_system,
    in_loops_that_never_ask,
    in_places_that_no_compiler_makes,
    in_a_start_function_while_it_is_loaded,
    before_it_was_first_polled,
    at_its_deadline_on_the_hosts_clock,
    for_every_cause_of_somebody_elses,
    by_its_own_fault,
    a_stack_that_overflows_is_told_as_that_whichever_it_is,
    an_output_that_is_not_json_is_the_agents_error,
    a_panic_says_where,
    the_first_cause_wins,
    a_grace_period_lets_it_speak_and_refuses_the_rest,
    neighbours_are_not_touched,
    what_a_component_declares_is_bounded,
    an_epilogue_speaks_last_and_nothing_it_does_matters,
];
