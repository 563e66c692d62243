//! A disk that is full for a while, and a store that fails for good: what was said is told as
//! being on disk once it is, in the order in which it was said, and nobody waits for ever.

use super::run::{Accept, Accepted, PromptRecord, RunNo, SessionNo};
use super::{Output, Store, StoreError, WorkspaceNo};
use crate::transcript::Transcript;
use futures_util::future::poll_immediate;
use lastword_os::clock::SystemClock;
use lastword_types::event::{EventBody, Seq};
use lastword_types::id::{AgentId, RunId, SessionId};
use lastword_types::run::{Cause, Ending, Origin, Receipt};
use lastword_types::session::{BlobId, FinishReason, Part, ToolResult};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Accepts a prompt, and starts its run or leaves it in the queue.
async fn accept(store: &Store, session: SessionNo, start: bool) -> (RunId, RunNo) {
    let id = RunId::generate();
    let prompt = PromptRecord {
        origin: Origin::User,
        parts: vec![Part::text("speak")],
        config: "{}".to_owned(),
        deadline: None,
        carried: None,
    };
    let accept = Accept {
        run: id,
        session,
        prompt,
        attached: Vec::new(),
        digest: String::new(),
        key: None,
        queue_max: 1,
        start,
        goes_on: None,
        resumes: None,
        parent: None,
    };
    let (answer, accepted) = oneshot::channel();
    drop(store.accept(accept, |outcome| drop(answer.send(outcome))));
    let Ok(Ok(Accepted::New(run))) = accepted.await else {
        panic!("it is accepted");
    };
    (id, run)
}

/// A store with one run that speaks.
struct Speaking {
    place: PathBuf,
    store: Store,
    workspace: WorkspaceNo,
    session: SessionId,
    id: RunId,
    output: Arc<Output>,
}

impl Speaking {
    async fn begin() -> Self {
        let place = std::env::temp_dir().join(format!("lastword-full-{}", uuid::Uuid::now_v7()));
        let store = Store::open(&place, SystemClock::shared()).expect("a store");
        let opened = store.workspace("w".to_owned(), None);
        let (_, workspace, _) = opened.await.expect("a workspace");
        let agent = AgentId::new("tester").expect("a name");
        let begun = store.new_session(workspace, agent).await;
        let (session, no) = begun.expect("a session");
        let (id, run) = accept(&store, no, true).await;
        let output = store.output(run, Transcript::new(id, 1 << 20));
        Self {
            place,
            store,
            workspace,
            session,
            id,
            output,
        }
    }

    async fn new_session(&self) -> Result<(SessionId, SessionNo), StoreError> {
        let agent = AgentId::new("tester").expect("a name");
        self.store.new_session(self.workspace, agent).await
    }

    /// Lets the database grow by so many pages and no more.
    async fn grow_by(&self, pages: i64) {
        let bound = move |tx: &mut super::tx::Tx<'_>| {
            let count: i64 = tx
                .conn
                .query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let bound = format!("PRAGMA max_page_count = {}", count + pages);
            tx.conn.query_row(&bound, [], |_| Ok(()))?;
            Ok(())
        };
        self.store.write(bound).await.expect("it is set");
    }

    /// Waits until the writer has come to everything that was handed in before.
    async fn writer(&self) {
        self.store.write(|_| Ok(())).await.expect("it is there");
    }

    fn finish(&self) -> oneshot::Receiver<Result<Receipt, StoreError>> {
        let sealed = self.output.seal().expect("it speaks");
        let (answer, ended) = oneshot::channel();
        let on_ended = Box::new(|outcome| drop(answer.send(outcome)));
        let ending = Ending::of(Cause::Returned(FinishReason::EndTurn));
        self.store
            .finish(self.id, sealed, ending, Duration::ZERO, on_ended);
        ended
    }

    async fn said(&self) -> (String, Option<EventBody>) {
        let events = self.store.events(self.session, Seq(0)).await;
        let mut bodies: Vec<_> = events
            .expect("the log")
            .into_iter()
            .map(|event| event.body)
            .collect();
        let last = bodies.pop();
        let texts = bodies.iter().map(|body| match body {
            EventBody::TextDelta { text, .. } => text.as_str(),
            _ => "",
        });
        (texts.collect(), last)
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        self.store.close();
        std::fs::remove_dir_all(&self.place).expect("it was there");
    }
}

fn long() -> String {
    "x".repeat(60 << 10)
}

#[tokio::test]
async fn what_cannot_be_written_is_not_told_as_written() {
    let speaking = Speaking::begin().await;
    speaking.grow_by(0).await;
    speaking.output.text(&long()).expect("it is taken");
    let mut committed = pin!(speaking.output.committed());
    assert!(poll_immediate(&mut committed).await.is_none());
    speaking.writer().await;
    assert!(poll_immediate(&mut committed).await.is_none());
    speaking.grow_by(1 << 20).await;
    committed.await.expect("there is room again");
    let last = speaking.said().await.1;
    assert!(
        matches!(last, Some(EventBody::TextDelta { .. })),
        "{last:?}"
    );
}

#[tokio::test]
async fn what_is_said_later_stays_behind() {
    let speaking = Speaking::begin().await;
    speaking.grow_by(0).await;
    speaking.output.text(&long()).expect("it is taken");
    speaking.writer().await;
    speaking.output.text("later").expect("it is taken");
    speaking.writer().await;
    let ended = speaking.finish();
    speaking.writer().await;
    speaking.grow_by(1 << 20).await;
    let receipt = ended.await.expect("it is told").expect("it ends");
    assert_eq!(receipt.cause, "returned");
    let (text, last) = speaking.said().await;
    assert_eq!(text, long() + "later");
    assert!(matches!(last, Some(EventBody::RunEnded { .. })), "{last:?}");
}

#[tokio::test]
async fn a_start_waits_for_a_disk_that_is_full() {
    let speaking = Speaking::begin().await;
    let (_, other) = speaking.new_session().await.expect("a session");
    let (_, queued) = accept(&speaking.store, other, false).await;
    speaking.grow_by(0).await;
    // Until what is free in the last pages is used up, too.
    while speaking.new_session().await.is_ok() {}
    let (answer, mut started) = oneshot::channel();
    let start = speaking
        .store
        .start(queued, |outcome| drop(answer.send(outcome)));
    drop(start);
    speaking.writer().await;
    assert!(started.try_recv().is_err(), "it is kept");
    speaking.grow_by(1 << 20).await;
    let started = started.await.expect("it is told");
    started.expect("there is room again");
}

#[tokio::test]
async fn a_store_that_was_refused_is_asked_by_a_write() {
    let speaking = Speaking::begin().await;
    // As on a full disk, no write at all finds room.
    let ballast = |tx: &mut super::tx::Tx<'_>| {
        tx.conn.execute_batch(
            "CREATE TABLE ballast (content BLOB);
             CREATE TRIGGER weigh AFTER UPDATE ON owner
             BEGIN INSERT INTO ballast VALUES (zeroblob(1 << 20)); END",
        )?;
        Ok(())
    };
    speaking.store.write(ballast).await.expect("it is there");
    speaking.grow_by(0).await;
    let unasked = speaking.store.probe().await;
    assert_eq!(unasked, Ok(()), "nothing was refused");
    speaking.output.text(&long()).expect("it is taken");
    speaking.writer().await;
    let refused = speaking.store.probe().await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    speaking.grow_by(1 << 20).await;
    assert_eq!(speaking.store.probe().await, Ok(()));
}

#[tokio::test]
async fn what_its_end_is_to_bring_is_not_told_before() {
    let speaking = Speaking::begin().await;
    let (go, held) = std::sync::mpsc::channel::<()>();
    let holding = {
        let store = speaking.store.clone();
        // The writer is busy until it is told to go on.
        tokio::spawn(async move {
            let hold = move |_: &mut super::tx::Tx<'_>| {
                let _gone = held.recv();
                Ok(())
            };
            store.write(hold).await
        })
    };
    tokio::task::yield_now().await;
    speaking.output.text("last words").expect("it is taken");
    let mut committed = pin!(speaking.output.committed());
    assert!(poll_immediate(&mut committed).await.is_none());
    let sealed = speaking.output.seal().expect("it speaks");
    drop(go);
    holding.await.expect("no panic").expect("it was held");
    speaking.writer().await;
    assert!(poll_immediate(&mut committed).await.is_none());
    let (answer, ended) = oneshot::channel();
    let on_ended = Box::new(|outcome| drop(answer.send(outcome)));
    let ending = Ending::of(Cause::User);
    speaking
        .store
        .finish(speaking.id, sealed, ending, Duration::ZERO, on_ended);
    committed.await.expect("its end brought it");
    ended.await.expect("it is told").expect("it ends");
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let speaking = Speaking::begin().await;
    let result = ToolResult {
        call_id: "nobody made it".to_owned(),
        name: "tool".to_owned(),
        content: Vec::new(),
        structured: None,
        metadata: None,
        is_error: false,
    };
    let blob = (BlobId("0".repeat(64)), vec![0; 1 << 20]);
    let refused = speaking.output.result(result, vec![blob]);
    assert!(refused.is_err(), "{refused:?}");
    let sealed = speaking.output.seal().expect("it speaks");
    assert!(sealed.pending.is_empty());
}

#[tokio::test]
async fn nobody_waits_for_a_store_that_has_failed() {
    let speaking = Speaking::begin().await;
    let other = rusqlite::Connection::open(speaking.place.join(super::directory::DATABASE));
    let taken = other
        .expect("a database")
        .execute_batch("UPDATE owner SET epoch = epoch + 1");
    taken.expect("another host takes it over");
    for _ in 0..4 {
        let _rejected_at_last = speaking.output.text(&long());
        let committed = speaking.output.committed().await;
        assert!(committed.is_err(), "{committed:?}");
        speaking.output.room().await;
    }
}
