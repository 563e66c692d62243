//! Whole conversations of the loop, with a model whose replies the tests set.

use serde_json::{Value, json};

use super::{Answer, Finished, HostTools, Kind, Parameters, Reason, Tool, ToolLoop};
use crate::testing::{Host, Reply};
use crate::{Capability, Error, Message, Outcome, Result, Role, ToolChoice, ToolResult, Turn};

/// A tool of the host that returns the name of the requested file.
fn read_file() -> Tool<'static> {
    let path = Parameters::new().required("path", Kind::Text, "Which");
    Tool::new(
        "read_file",
        "Reads",
        &path,
        |arguments: Value| match arguments["path"].as_str() {
            Some("secret") => Err(Error::new("denied", "nobody allowed it")),
            Some("stop") => Err(Error::new("cancelled", "the run is being stopped")),
            Some("gone") => Ok(Answer::error("there is no such file")),
            path => Ok(Answer::text(format!("content of {path:?}"))),
        },
    )
}

fn read(path: &str) -> Reply {
    Reply::call("read_file", &json!({ "path": path }))
}

fn host(replies: impl IntoIterator<Item = Reply>) -> Host {
    let host = Host::new().tool(read_file());
    replies.into_iter().fold(host, Host::reply)
}

fn go(host: &Host, tool_loop: ToolLoop<'_>) -> Result<Finished> {
    host.turn("Do it", |turn: &Turn<()>| turn.run_tools(tool_loop))
}

/// Returns all results, in order.
fn results(host: &Host) -> Vec<ToolResult> {
    let messages = host.messages();
    let parts = messages.iter().flat_map(|message| &message.parts);
    let results = parts.filter_map(|part| part.as_tool_result().cloned());
    results.collect()
}

/// Fails unless each call has exactly one result.
fn all_answered(messages: &[Message]) {
    let parts: Vec<_> = messages.iter().flat_map(|message| &message.parts).collect();
    let calls = parts.iter().filter_map(|part| part.as_tool_call());
    for call in calls {
        let results = parts.iter().filter_map(|part| part.as_tool_result());
        let results = results.filter(|result| result.call_id == call.id).count();
        assert_eq!(results, 1, "{call:?}");
    }
}

#[test]
fn a_model_calls_until_it_has_its_answer() {
    let host = host([
        read("a").usage(100, 10),
        Reply::text("I look further. ")
            .and_call("read_file", &json!({ "path": "b" }))
            .and_call("read_file", &json!({ "path": "gone" })),
        Reply::text("Done.").usage(300, 20),
    ]);
    let finished = go(&host, ToolLoop::new().system("Be brief")).unwrap();
    assert_eq!((finished.reason, finished.steps), (Reason::Answered, 3));
    assert_eq!(
        (&*finished.text(), &*host.text()),
        ("Done.", "I look further. Done.")
    );
    let usage = (finished.usage.input_tokens, finished.usage.output_tokens);
    assert_eq!(usage, (400, 30));
    assert_eq!(Outcome::from(&finished).reason(), "end_turn");
    all_answered(&host.messages());
    let roles: Vec<_> = host.messages().iter().map(|message| message.role).collect();
    use Role::{Assistant, Tool, User};
    assert_eq!(roles, [User, Assistant, Tool, Assistant, Tool, Assistant]);
    let requests = host.requests();
    assert_eq!(requests[0].system.as_deref(), Some("Be brief"));
    assert_eq!(requests[0].tools, ["read_file"]);
    assert_eq!(requests[0].last_text(), "Do it");
    assert_eq!(requests[1].last_text(), "content of Some(\"a\")");
    assert!(results(&host)[2].is_error);
}

#[test]
fn the_agent_s_own_tools_are_recorded_like_the_host_s() {
    for parallel in [true, false] {
        let host = host([
            Reply::call("count", &json!({}))
                .and_call("read_file", &json!({ "path": "a" }))
                .and_call("count", &json!({})),
            Reply::text("Two."),
        ]);
        let mut calls = 0;
        let count = Tool::new("count", "Counts", &Parameters::new(), |_: Value| {
            calls += 1;
            Ok(json!({ "calls": calls }))
        });
        let tool_loop = ToolLoop::new().serve(count).parallel(parallel);
        let finished = go(&host, tool_loop).unwrap();
        assert_eq!(finished.reason, Reason::Answered);
        assert_eq!(calls, 2);
        all_answered(&host.messages());
        let structured: Vec<_> = results(&host)
            .iter()
            .filter_map(|result| result.structured_json.clone())
            .collect();
        assert_eq!(structured, [r#"{"calls":1}"#, r#"{"calls":2}"#]);
        assert_eq!(host.requests()[0].tools, ["read_file", "count"]);
    }
}

#[test]
fn what_a_tool_could_not_do_is_told_to_the_model() {
    let own = Parameters::new().required("sides", Kind::Integer, "Of the dice");
    let roll = Tool::new("roll", "Rolls", &own, |sides: Sides| {
        Err::<Answer, _>(Error::new(
            "limit",
            format!("no dice has {} sides", sides.sides),
        ))
    });
    let host = host([
        Reply::call("fly", &json!({}))
            .and_raw_call("read_file", "{\"path\":")
            .and_call("read_file", &json!({ "path": "secret" }))
            .and_call("roll", &json!({ "sides": 7 }))
            .and_call("roll", &json!({ "sides": "many" })),
        Reply::text("So be it."),
    ]);
    let mut denied = Vec::new();
    let tool_loop = ToolLoop::new().serve(roll).on_step(|step| {
        let failures = step.failures.iter();
        denied.extend(failures.map(|(tool, error)| format!("{tool} {}", error.code())));
    });
    let finished = go(&host, tool_loop).unwrap();
    assert_eq!(denied, ["read_file denied"]);
    assert_eq!(finished.reason, Reason::Answered);
    all_answered(&host.messages());
    let results = results(&host);
    assert!(results.iter().all(|result| result.is_error));
    let said: Vec<_> = results.iter().map(ToolResult::joined_text).collect();
    for words in [
        "there is no tool `fly`; the tools are: read_file, roll",
        "are not JSON",
        "nobody allowed it (denied)",
        "no dice has 7 sides (limit)",
        "the arguments do not fit `roll`",
    ] {
        assert!(
            said.iter().any(|said| said.contains(words)),
            "{words}: {said:?}"
        );
    }
}

#[derive(serde::Deserialize)]
struct Sides {
    sides: u32,
}

#[test]
fn a_run_that_is_being_stopped_ends_the_loop() {
    let stopped = host([read("stop")]);
    assert!(go(&stopped, ToolLoop::new()).unwrap_err().is_cancelled());
    let stopped = host([read("a"), Reply::text("never said")]).cancel_after(2);
    assert!(go(&stopped, ToolLoop::new()).unwrap_err().is_cancelled());
    assert_eq!(stopped.text(), "");
    let stopped = host([Reply::call("give_up", &json!({}))]);
    let give_up = Tool::new("give_up", "", &Parameters::new(), |_: Value| {
        Err::<Answer, _>(Error::new("cancelled", "the run is being stopped"))
    });
    let tool_loop = ToolLoop::new().serve(give_up);
    assert!(go(&stopped, tool_loop).unwrap_err().is_cancelled());
}

#[test]
fn the_same_call_again_and_again_is_refused_and_then_ends_the_loop() {
    let host = host((0..7).map(|_| read("a")));
    let finished = go(&host, ToolLoop::new()).unwrap();
    assert_eq!((finished.reason, finished.steps), (Reason::Loop, 6));
    all_answered(&host.messages());
    let errors: Vec<_> = results(&host)
        .iter()
        .map(|result| result.is_error)
        .collect();
    assert_eq!(errors, [false, false, false, true, true, true]);
    assert!(results(&host)[3].joined_text().contains("again and again"));
    let outcome = Outcome::from(&finished);
    assert_eq!(outcome.extra_json("loop-ended"), Some("\"loop\""));
}

#[test]
fn steps_by_turns_are_a_circle_too() {
    let host = host((0..10).map(|at| read(["a", "b"][at % 2])));
    let finished = go(&host, ToolLoop::new()).unwrap();
    assert_eq!((finished.reason, finished.steps), (Reason::Loop, 9));
    all_answered(&host.messages());
    let errors = results(&host)
        .iter()
        .filter(|result| result.is_error)
        .count();
    assert_eq!(errors, 3);
}

#[test]
fn who_waits_for_something_may_ask_again_and_again() {
    for parallel in [true, false] {
        let mut percent = 0;
        let status = Tool::new("status", "", &Parameters::new(), move |_: Value| {
            percent += 1;
            Ok(format!("{percent} %"))
        });
        let host = (0..20).fold(Host::new().tool(status).tool(read_file()), |host, at| {
            host.reply(match at % 3 {
                0 => read("a"),
                _ => Reply::call("status", &json!({})),
            })
        });
        let host = host.reply(Reply::text("It is done."));
        let finished = go(&host, ToolLoop::new().parallel(parallel)).unwrap();
        assert_eq!((finished.reason, finished.steps), (Reason::Answered, 21));
    }
}

#[test]
fn a_model_that_turns_away_in_time_goes_on() {
    let replies = [
        read("a"),
        read("a"),
        read("a"),
        read("b"),
        Reply::text("Well."),
    ];
    let host = host(replies);
    let finished = go(&host, ToolLoop::new().max_repeats(2)).unwrap();
    assert_eq!(finished.reason, Reason::Answered);
    assert!(results(&host)[2].is_error);
}

#[test]
fn a_model_without_steps_is_asked_for_a_closing_answer() {
    let paths = ["a", "b"].map(read);
    let host = host(paths.into_iter().chain([Reply::text("That is all.")]));
    let finished = go(&host, ToolLoop::new().max_steps(2)).unwrap();
    assert_eq!((finished.reason, finished.steps), (Reason::MaxSteps, 3));
    assert_eq!(host.text(), "That is all.");
    let closing = &host.requests()[2];
    assert_eq!(closing.tool_choice, Some(ToolChoice::None));
    assert_eq!(closing.tools, ["read_file"]);
    assert!(closing.last_text().contains("used up your steps"));
    let outcome = Outcome::from(&finished);
    assert_eq!(outcome.reason(), "end_turn");
    assert_eq!(outcome.extra_json("loop-ended"), Some("\"max-steps\""));
}

#[test]
fn a_closing_answer_that_calls_leaves_no_call_without_a_result() {
    let host = host([read("a"), read("b")]);
    go(&host, ToolLoop::new().max_steps(1)).unwrap();
    all_answered(&host.messages());
    assert!(results(&host)[1].is_error);
}

#[test]
fn without_a_closing_answer_the_reason_is_named() {
    let host = host(["a", "b"].map(read));
    let tool_loop = ToolLoop::new().max_steps(2).closing_answer(false);
    let finished = go(&host, tool_loop).unwrap();
    assert_eq!(
        (finished.reason, host.requests().len()),
        (Reason::MaxSteps, 2)
    );
    all_answered(&host.messages());
}

#[test]
fn a_tool_of_the_agent_s_own_and_a_condition_may_end_the_loop() {
    let ended =
        host([Reply::call("submit", &json!({})).and_call("read_file", &json!({ "path": "a" }))]);
    let submit = Tool::new("submit", "Ends", &Parameters::new(), |_: Value| {
        Ok(Answer::text("taken").ends_loop())
    });
    let finished = go(&ended, ToolLoop::new().serve(submit)).unwrap();
    assert_eq!(finished.reason, Reason::Served);
    all_answered(&ended.messages());
    let stopped = host([read("a").usage(10, 90), read("b").usage(10, 20), read("c")]);
    let tool_loop = ToolLoop::new().stop_when(|step| {
        assert_eq!(step.results.len(), 1);
        step.usage.output_tokens > 100
    });
    let finished = go(&stopped, tool_loop).unwrap();
    assert_eq!((finished.reason, finished.steps), (Reason::Stopped, 2));
}

/// The host repeats requests that failed for a passing reason; a loop that did the same would
/// multiply the requests.
#[test]
fn what_a_model_fails_with_is_not_tried_again() {
    let busy = || Error::new("limit", "too many requests").retryable();
    let gone = || Error::new("unavailable", "it broke off").retryable();
    for (reply, code) in [
        (Reply::refused(busy()), "limit"),
        (Reply::refused(gone()), "unavailable"),
        (Reply::new().and_fails(gone()), "unavailable"),
        (Reply::text("Half a").and_fails(gone()), "unavailable"),
        (Reply::refused(Error::new("invalid", "no")), "invalid"),
    ] {
        let host = host([reply, Reply::text("never")]);
        assert_eq!(go(&host, ToolLoop::new()).unwrap_err().code(), code);
        assert_eq!(host.requests().len(), 1);
    }
}

#[test]
fn a_call_that_was_cut_off_is_never_carried_out_and_ends_the_loop() {
    for finish in ["max_tokens", "content_filter"] {
        for arguments in ["", "{\"path\":\"a", "{\"path\":\"a\"}"] {
            for (tool, served) in [("read_file", false), ("mine", true), ("fly", false)] {
                let mut calls = 0;
                let mine = Tool::new("mine", "", &Parameters::new(), |_: Value| {
                    calls += 1;
                    Ok("done")
                });
                let host = host([read("whole").and_cut_call(tool, arguments).finish(finish)]);
                let finished = go(&host, ToolLoop::new().serve(mine)).unwrap();
                assert_eq!((finished.reason, finished.steps), (Reason::CutOff, 1));
                let outcome = Outcome::from(&finished);
                assert_eq!(outcome.reason(), finish);
                assert_eq!(outcome.extra_json("loop-ended"), Some("\"cut-off\""));
                all_answered(&host.messages());
                let results = results(&host);
                assert_eq!(results[0].joined_text(), "content of Some(\"whole\")");
                let told = results[1].joined_text();
                assert!(results[1].is_error && told.contains("cut off"), "{told}");
                assert!(told.contains("again, whole"), "{told}");
                assert_eq!(calls, 0, "{served}");
            }
        }
    }
}

#[test]
fn a_further_loop_lets_a_model_send_a_call_again_that_was_cut_off() {
    let host = host([
        Reply::new().and_cut_call("read_file", "{\"path\":\""),
        read("a"),
        Reply::text("Done."),
    ]);
    let finished = host
        .turn("Do it", |turn: &Turn<()>| {
            let cut = turn.run_tools(ToolLoop::new())?;
            assert_eq!(cut.reason, Reason::CutOff);
            turn.run_tools(ToolLoop::new())
        })
        .unwrap();
    assert_eq!(finished.reason, Reason::Answered);
    assert!(host.requests()[1].last_text().contains("cut off"));
    all_answered(&host.messages());
}

#[test]
fn a_cut_call_of_an_answer_that_was_not_cut_is_told_and_the_loop_goes_on() {
    let odd = Reply::new()
        .and_cut_call("read_file", "{}")
        .finish("tool_use");
    let host = host([odd, Reply::text("Well.")]);
    assert_eq!(go(&host, ToolLoop::new()).unwrap().reason, Reason::Answered);
    assert!(results(&host)[0].is_error);
}

#[test]
fn a_full_window_is_summarised_and_the_originals_stay() {
    let full = |path: &str| read(path).usage(800, 10);
    let host = host([
        read("a").usage(300, 10),
        full("b"),
        Reply::text("I read a and b.").usage(800, 30),
        full("c"),
        Reply::text("Done."),
    ])
    .context_tokens(1000);
    let finished = go(&host, ToolLoop::new().keep_messages(2)).unwrap();
    assert_eq!(finished.reason, Reason::Answered);
    assert_eq!(finished.usage.input_tokens, 300 + 800 + 800 + 800);
    assert_eq!(host.text(), "Done.");
    let summaries = host.summaries();
    assert_eq!(summaries.len(), 1, "one more would have gained too little");
    let (text, through) = &summaries[0];
    assert!(text.contains("\nDo it\n") && text.ends_with("I read a and b."));
    assert_eq!(through, "message-3");
    let after = &host.requests()[3].messages;
    let roles: Vec<_> = after.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::Assistant, Role::Tool]);
    assert_eq!(host.messages().len(), 8);
    all_answered(&host.messages());
}

#[test]
fn a_summary_that_fails_is_no_reason_to_end() {
    let host = host([
        read("a").usage(900, 10),
        Reply::refused(Error::new("invalid", "too long")),
        Reply::text("Done."),
    ]);
    let tool_loop = ToolLoop::new().context_tokens(1000).keep_messages(0);
    let finished = go(&host, tool_loop).unwrap();
    assert_eq!(finished.reason, Reason::Answered);
    assert!(host.summaries().is_empty());
    assert!(host.log()[0].contains("could not be summarised: too long"));
}

#[test]
fn only_the_tools_that_were_asked_for_are_shown() {
    let shown = |tools: HostTools| {
        let host = host([Reply::text("Well.")]);
        go(&host, ToolLoop::new().host_tools(tools)).unwrap();
        host.requests()[0].tools.clone()
    };
    assert_eq!(shown(HostTools::All), ["read_file"]);
    assert_eq!(shown(["read_file", "write_file"].into()), ["read_file"]);
    assert_eq!(shown(["write_file"].into()), [""; 0]);
    assert_eq!(shown(HostTools::None), [""; 0]);
}

#[test]
fn denied_tools_are_an_error_unless_none_are_wanted() {
    let denied = host([Reply::text("Well.")]).deny(Capability::Tools);
    assert!(go(&denied, ToolLoop::new()).unwrap_err().is_denied());
    go(&denied, ToolLoop::new().host_tools(HostTools::None)).unwrap();
    let denied = host([]).deny(Capability::Model);
    assert!(go(&denied, ToolLoop::new()).unwrap_err().is_denied());
}

#[test]
fn the_agent_s_tool_hides_one_of_the_host_s_with_its_name() {
    let mine = || {
        Tool::new("read_file", "Mine", &Parameters::new(), |_: Value| {
            Ok("mine")
        })
    };
    let host = host([read("a"), Reply::text("Well.")]);
    go(&host, ToolLoop::new().serve(mine())).unwrap();
    assert_eq!(results(&host)[0].joined_text(), "mine");
    assert_eq!(host.requests()[0].tools, ["read_file"]);
    let twice = ToolLoop::new().serve(mine()).serve(mine());
    assert_eq!(go(&host, twice).unwrap_err().code(), "conflict");
}
