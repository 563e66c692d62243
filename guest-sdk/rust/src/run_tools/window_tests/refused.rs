//! A service refuses a conversation as too long: which messages are summarised, and what the model
//! is told.

use super::*;

/// Fails unless each of 40 messages was read once, or is still in the last request.
fn each_is_read_once_or_kept(requests: &[Asked], name: &str) {
    let read = pieces(requests);
    let last = requests.last().unwrap();
    let kept = last.messages.iter().flat_map(|input| &input.parts);
    let kept: String = kept.filter_map(Part::as_text).collect();
    for at in 0..40 {
        let mark = format!("<message {at}>");
        let times = read.matches(&mark).count() + kept.matches(&mark).count();
        assert_eq!(times, 1, "{name}: {mark}");
    }
}

#[test]
fn a_conversation_longer_than_the_window_goes_on_and_so_does_the_next_prompt() {
    for (name, by_host, by_agent, overflow, refusals) in [
        ("known to the host", Some(TOKENS), None, refusing(), 0..=0),
        ("set by the agent", None, Some(TOKENS), refusing(), 0..=0),
        ("told", None, None, refusing().telling(TOKENS), 1..=1),
        (
            "told in the answer",
            None,
            None,
            refusing().telling(TOKENS).in_answer(),
            1..=1,
        ),
        ("unknown", None, None, refusing(), 2..=4),
        (
            "unknown, in the answer",
            None,
            None,
            refusing().in_answer(),
            2..=4,
        ),
        (
            "known, too large",
            Some(100 * TOKENS),
            None,
            refusing(),
            2..=6,
        ),
        (
            "known, too large, told",
            Some(100 * TOKENS),
            None,
            refusing().telling(TOKENS),
            1..=1,
        ),
    ] {
        let host = known(host(40, overflow), by_host)
            .reply(Reply::text("Here."))
            .reply(Reply::text("Again."));
        let tool_loop = || match by_agent {
            Some(tokens) => ToolLoop::new().context_tokens(tokens),
            None => ToolLoop::new(),
        };
        let before = host.messages();
        let finished = go(&host, "Sum it up", tool_loop()).expect(name);
        assert_eq!(
            (finished.reason, &*finished.text()),
            (Reason::Answered, "Here."),
            "{name}"
        );
        assert!(
            refusals.contains(&refused(&host)),
            "{name}: {}",
            refused(&host)
        );
        assert_eq!(host.summaries().len(), 1, "{name}");
        let (summary, _) = &host.summaries()[0];
        assert!(summary.ends_with(ACCOUNT), "{name}: {summary}");

        let requests = host.requests();
        each_is_read_once_or_kept(&requests, name);

        // No stored message is lost, and the next prompt needs no summary.
        let after = host.messages();
        assert_eq!(after[..40], before, "{name}");
        assert_eq!(after.len(), 42, "{name}");
        go(&host, "And?", tool_loop()).expect(name);
        assert_eq!(host.requests().len(), requests.len() + 1, "{name}");
        assert_eq!(host.summaries().len(), 1, "{name}");
    }
}

#[test]
fn what_cannot_be_summarised_is_named_with_what_to_do_and_the_next_prompt_works() {
    let giant = "p".repeat(3 * BYTES);
    let task = "t".repeat(3 * BYTES);
    for window in [None, Some(TOKENS)] {
        for (what, prompt, system, bytes) in [
            ("the prompt, some 16000 tokens", &*giant, "", 0),
            (
                "the results of `read_file`, some 16000 tokens",
                "Read",
                "",
                3 * BYTES,
            ),
            ("the agent's own task and tools, some 16", "Hi", &*task, 0),
        ] {
            let host = known(host(6, refusing()), window).tool(read_file());
            let host = if bytes > 0 {
                host.reply(read(bytes))
            } else {
                host
            };
            let host = host.reply(Reply::text("Better."));
            let error = go(&host, prompt, ToolLoop::new().system(system)).unwrap_err();
            assert!(error.is_context_overflow(), "{error}");
            for words in [
                what,
                "larger window",
                "new session",
                "`context_tokens`",
                "longer than",
            ] {
                assert!(error.message().contains(words), "{words}: {error}");
            }
            let finished = go(&host, "Then something short", ToolLoop::new()).expect(what);
            assert_eq!(finished.text(), "Better.");
            results_have_calls(&host);
        }
    }
}

#[test]
fn a_giant_message_of_before_is_cut_with_a_mark_and_does_not_end_the_session() {
    for window in [None, Some(TOKENS)] {
        let giant = vec![Part::text("g".repeat(20 * BYTES))];
        let host = known(host(0, refusing()), window)
            .message(Role::User, giant)
            .reply(Reply::text("Here."));
        assert_eq!(go(&host, "Go on", ToolLoop::new()).unwrap().text(), "Here.");
        assert!(pieces(&host.requests()).contains("bytes are left out here"));
        assert_eq!(host.messages()[0].text().len(), 20 * BYTES);
    }
}

#[test]
fn a_summary_that_does_not_fit_itself_is_written_in_pieces() {
    // It would fit a window of twice the size, which the host assumes.
    let host = host(13, refusing()).context_tokens(2 * TOKENS);
    let host = host
        .tool(read_file())
        .reply(read(4_000).usage(6_100, 10))
        .reply(Reply::text("Here."));
    let finished = go(&host, "Go", ToolLoop::new().keep_messages(2)).unwrap();
    assert_eq!(finished.text(), "Here.");
    let requests = host.requests();
    let whole = requests
        .iter()
        .filter(|asked| asked.last_text().contains(WHOLE));
    assert_eq!((whole.count(), refused(&host)), (1, 1));
    assert!(host.summaries()[0].0.ends_with(ACCOUNT));
}

#[test]
fn a_model_that_cannot_even_read_a_small_piece_is_named() {
    let host = host(40, Overflow::above(500));
    let error = go(&host, "Go", ToolLoop::new()).unwrap_err();
    assert!(error.is_context_overflow(), "{error}");
    assert!(error.message().contains("larger window"), "{error}");
    assert!(host.requests().len() < 10, "{}", host.requests().len());
    assert!(host.summaries().is_empty());
}

#[test]
fn where_the_model_writes_no_account_an_excerpt_stands_for_the_piece() {
    let host = talked(Host::new().overflow(refusing()), 0..40)
        .reply_to(PIECE, Reply::text(" \n"))
        .reply(Reply::text("Here."));
    assert_eq!(go(&host, "Go", ToolLoop::new()).unwrap().text(), "Here.");
    let (summary, _) = &host.summaries()[0];
    assert!(summary.contains("No account was written"), "{summary}");
    assert!(summary.contains("bytes are left out here"), "{summary}");
}

#[test]
fn a_run_that_is_stopped_while_it_summarises_ends_so() {
    let mut ends = Vec::new();
    for calls in 0..20 {
        let host = host(40, refusing().telling(TOKENS))
            .reply(Reply::text("Here."))
            .cancel_after(calls);
        match go(&host, "Go", ToolLoop::new()) {
            Ok(_) => {
                ends.push(calls);
                break;
            }
            Err(error) => assert!(error.is_cancelled(), "{calls}: {error}"),
        }
        let summaries = host.summaries();
        assert!(
            summaries.iter().all(|(text, _)| text.ends_with(ACCOUNT)),
            "{summaries:?}"
        );
        assert!(!host.text().contains("Here"));
    }
    assert!(
        ends.iter().all(|calls| *calls > 4) && !ends.is_empty(),
        "{ends:?}"
    );
}

#[test]
fn what_a_service_fails_with_while_summarising_is_told() {
    let gone = crate::Error::new("unavailable", "the service is down");
    let host =
        talked(Host::new().overflow(refusing()), 0..40).reply_to(PIECE, Reply::refused(gone));
    let error = go(&host, "Go", ToolLoop::new()).unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert!(
        error.message().starts_with("summarising the conversation"),
        "{error}"
    );
}

#[test]
fn a_summary_goes_on_from_the_last_one() {
    let host = host(40, refusing().telling(TOKENS)).reply(Reply::text("Here."));
    go(&host, "Go", ToolLoop::new()).unwrap();
    let read_first = pieces(&host.requests());
    assert!(read_first.contains("<message 3>"));
    let asked = host.requests().len();
    let host = talked(host, 42..62).reply(Reply::text("Again."));
    go(&host, "Go", ToolLoop::new()).unwrap();
    let requests = host.requests().split_off(asked);
    let read_then = pieces(&requests);
    assert!(!read_then.contains("<message 3>") && read_then.contains("<message 45>"));
    let accounts = requests.iter().map(Asked::last_text);
    let mut first = accounts.filter(|text| text.contains("<account>"));
    assert!(first.next().unwrap().contains(ACCOUNT));
}

#[test]
fn a_prompt_that_stays_is_not_repeated_in_the_summary() {
    let host = host(40, refusing().telling(TOKENS))
        .tool(read_file())
        .reply(Reply::text("Here."));
    go(&host, "What did we say?", ToolLoop::new()).unwrap();
    let (summary, _) = &host.summaries()[0];
    assert!(!summary.contains("What did we say?"), "{summary}");
    assert_eq!(host.messages()[40].text(), "What did we say?");
}
