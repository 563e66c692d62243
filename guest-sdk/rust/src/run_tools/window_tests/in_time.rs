//! Summaries that are written before a service refuses anything, and random conversations.

use super::*;

#[test]
fn a_run_that_is_stopped_before_a_summary_is_due_in_time_ends_so() {
    let host = host(2, refusing())
        .context_tokens(TOKENS)
        .tool(read_file())
        .reply(read(100).usage(3_900, 10))
        .cancel_after(2);
    let error = go(&host, "Go", ToolLoop::new().keep_messages(2)).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(host.log(), [""; 0], "no summary failed");
}

#[test]
fn no_more_messages_stay_than_fit() {
    let host = (0..12).fold(host(0, refusing()), |host, at| {
        host.message(Role::User, vec![Part::text(words(at, 4_000))])
    });
    let host = host.context_tokens(TOKENS).reply(Reply::text("Here."));
    go(&host, "Go", ToolLoop::new()).unwrap();
    assert_eq!((refused(&host), host.summaries().len()), (0, 1));
}

#[test]
fn the_summary_comes_in_time_whether_the_service_counts_or_not() {
    // Bytes of a token, whether the service reports tokens, and whether it refuses requests: an
    // estimate that is too small is corrected by the reported tokens, or else by a refusal.
    for (bytes, counts, refuses) in [
        (4, true, false),
        (4, false, false),
        (2, true, false),
        (2, false, true),
    ] {
        let most = usize::try_from(TOKENS).unwrap() * bytes;
        let host = host(0, Overflow::above(most))
            .tool(read_file())
            .context_tokens(TOKENS);
        let host = if counts {
            host.bytes_per_token(bytes as u64)
        } else {
            host
        };
        let host = (0..30).fold(host, |host, at| host.reply(read(600 + at)));
        let host = host
            .reply_to(WHOLE, Reply::text(ACCOUNT))
            .reply(Reply::text("Done."));
        let finished = go(&host, "Read it all", ToolLoop::new()).unwrap();
        assert_eq!(finished.text(), "Done.");
        let requests = host.requests();
        let refused = requests.iter().filter(|asked| asked.bytes() > most).count();
        assert_eq!(refused > 0, refuses, "{bytes} {counts}: {refused}");
        let summaries = host.summaries().len();
        assert!(
            (1..=10).contains(&summaries),
            "{bytes} {counts}: {summaries}"
        );
        results_have_calls(&host);
    }
}

#[test]
fn results_count_before_the_service_has_counted_them() {
    let host = host(0, refusing()).tool(read_file()).context_tokens(TOKENS);
    let host = host
        .reply(read(100).usage(100, 10))
        .reply(read(9_500).usage(200, 10))
        .reply_to(WHOLE, Reply::text(ACCOUNT))
        .reply(Reply::text("Done."));
    go(&host, "Read", ToolLoop::new().keep_messages(0)).unwrap();
    assert_eq!(host.summaries().len(), 1);
}

#[test]
fn many_runs_in_one_session_are_never_refused_and_summarise_now_and_then() {
    let mut host = host(0, refusing()).tool(read_file()).context_tokens(TOKENS);
    host = host.reply_to(WHOLE, Reply::text(ACCOUNT));
    for at in 0..30 {
        host = host.reply(read(800)).reply(Reply::text(words(at, 400)));
        let finished = go(&host, &words(at, 300), ToolLoop::new()).unwrap();
        assert_eq!(finished.reason, Reason::Answered, "{at}");
    }
    assert_eq!(refused(&host), 0);
    assert_eq!(host.messages().len(), 30 * 4);
    let summaries = host.summaries().len();
    assert!((3..=12).contains(&summaries), "{summaries}");
    results_have_calls(&host);
}

#[test]
fn a_long_session_is_not_read_to_its_beginning() {
    // With an unknown window nothing is read, with a large one every message once, and with a small
    // one as much as a summary is written of.
    for (window, read, left_out) in [
        (None, 0..=0, false),
        (Some(10_000_000), 10_000..=10_001, false),
        (Some(1_000), 1_000..=6_000, true),
    ] {
        let host = known(host(0, Overflow::above(usize::MAX)), window);
        let host = (0..10_000).fold(host, |host, _| {
            host.message(
                Role::User,
                vec![Part::text("Thirty bytes are not very long")],
            )
        });
        let host = host.reply(Reply::text("Here."));
        go(&host, "Go", ToolLoop::new()).unwrap();
        let messages = host.messages_read();
        assert!(read.contains(&messages), "{window:?}: {messages}");
        let first = host.requests()[0].last_text();
        assert_eq!(first.contains("Messages older than these"), left_out);
    }
}

#[test]
fn a_summary_of_an_earlier_run_is_where_the_next_one_begins_to_count() {
    let host = host(40, refusing())
        .context_tokens(TOKENS)
        .reply(Reply::text("Here."));
    go(&host, "Go", ToolLoop::new()).unwrap();
    let read = host.messages_read();
    let host = host.reply(Reply::text("Again."));
    go(&host, "Go", ToolLoop::new()).unwrap();
    assert_eq!(host.messages_read() - read, 32, "one page");
    assert_eq!(host.summaries().len(), 1);
}

/// Random conversations: each run ends, no request separates a result from its call, and no stored
/// message changes.
#[test]
fn whatever_a_conversation_looks_like_a_run_ends_and_keeps_it() {
    let mut seed = 1_u64;
    let mut below = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % bound
    };
    let (mut answered, mut too_long) = (0, 0);
    for case in 0..400 {
        let most = 4_000 + usize::try_from(below(40_000)).unwrap();
        let overflow = Overflow::above(most);
        let overflow = if below(2) == 0 {
            overflow
        } else {
            overflow.telling(1 + most as u32 / 4)
        };
        let mut host = Host::new().overflow(overflow).tool(read_file());
        host = match below(3) {
            0 => host,
            1 => host.context_tokens(most as u32 / 4),
            _ => host.context_tokens(below(1_000_000) as u32),
        };
        if below(2) == 0 {
            host = host.bytes_per_token(1 + below(6));
        }
        let account = "ä".repeat(usize::try_from(below(6_000)).unwrap());
        host = host
            .reply_to(PIECE, Reply::text(account.clone()))
            .reply_to(WHOLE, Reply::text(account));
        for run in 0..3 {
            let calls = below(6);
            for _ in 0..calls {
                let bytes = if below(8) == 0 {
                    below(80_000)
                } else {
                    below(3_000)
                };
                host = host.reply(read(usize::try_from(bytes).unwrap()));
            }
            host = host.reply(Reply::text(format!("The end of {run}.")));
            let before = host.messages();
            let prompt = "€".repeat(1 + usize::try_from(below(2_000)).unwrap());
            let keep = usize::try_from(below(9)).unwrap();
            match go(&host, &prompt, ToolLoop::new().keep_messages(keep)) {
                Ok(_) => answered += 1,
                Err(error) => {
                    assert!(error.is_context_overflow(), "{case} {run}: {error}");
                    too_long += 1;
                }
            }
            assert_eq!(host.messages()[..before.len()], before, "{case} {run}");
        }
        results_have_calls(&host);
        let requests = host.requests().len();
        assert!(requests < 1_000, "{case}: {requests}");
    }
    assert!(answered > 600 && too_long > 20, "{answered} {too_long}");
}
