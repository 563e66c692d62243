//! Tests with a disk that is full for a while, and with a store that fails permanently: output is
//! reported as on disk only once it is, in its order, and no caller waits forever.

use super::acting::{self, Acts, accept};
use crate::transcript::Transcript;
use crate::{RunOutputBuffer, Start, Store, StoreError};
use futures_util::future::poll_immediate;
use lastword_types::event::{EventBody, Seq};
use lastword_types::id::{SessionId, WorkspaceId};
use lastword_types::run::{Cause, Receipt, RunOutcome};
use lastword_types::session::{BlobId, FinishReason, ToolResult};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A store with one run that writes output.
struct Speaking {
    place: PathBuf,
    store: Store,
    acts: Acts,
    workspace: WorkspaceId,
    session: SessionId,
    output: Arc<RunOutputBuffer>,
}

impl Speaking {
    async fn begin() -> Self {
        let place = std::env::temp_dir().join(format!("lastword-full-{}", uuid::Uuid::now_v7()));
        let (store, acts) = acting::open(&place);
        let workspace = acting::workspace(&store, "w").await;
        let session = acting::session(&store, workspace).await.expect("a session");
        let id = accept(&store, session, true).await;
        let output = store.output(id, Transcript::new(id, 1 << 20));
        Self {
            place,
            store,
            acts,
            workspace,
            session,
            output,
        }
    }

    async fn new_session(&self) -> Result<SessionId, StoreError> {
        acting::session(&self.store, self.workspace).await
    }

    /// Lets the database grow by this number of pages and no more.
    async fn grow_by(&self, pages: i64) {
        let bound = move |sqlite: &mut super::backend::Sqlite| {
            let count = sqlite
                .conn
                .query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?;
            let bound = format!("PRAGMA max_page_count = {}", count + pages);
            sqlite.conn.query_row(&bound, [], |_| Ok(()))
        };
        let set = self.acts.act(&self.store, bound).await;
        set.expect("it is set");
    }

    /// Waits until the writer has processed everything that was submitted before.
    async fn writer(&self) {
        self.acts.act(&self.store, |_| ()).await;
    }

    fn finish(&self) -> oneshot::Receiver<Result<Receipt, StoreError>> {
        let sealed = self.output.seal().expect("it speaks");
        let (answer, ended) = oneshot::channel();
        let on_ended = Box::new(|outcome| drop(answer.send(outcome)));
        let ending = RunOutcome::of(Cause::Returned(FinishReason::EndTurn));
        self.store.finish(sealed, ending, Duration::ZERO, on_ended);
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
    let other = speaking.new_session().await.expect("a session");
    let queued = accept(&speaking.store, other, false).await;
    speaking.grow_by(0).await;
    // Until the free space in the last pages is used up, too.
    while speaking.new_session().await.is_ok() {}
    let (answer, mut started) = oneshot::channel();
    let start = speaking
        .store
        .submit(Start { run: queued }, |outcome| drop(answer.send(outcome)));
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
    // As on a full disk, no write succeeds.
    let ballast = |sqlite: &mut super::backend::Sqlite| {
        sqlite.conn.execute_batch(
            "CREATE TABLE ballast (content BLOB);
             CREATE TRIGGER weigh AFTER UPDATE ON owner
             BEGIN INSERT INTO ballast VALUES (zeroblob(1 << 20)); END",
        )
    };
    let made = speaking.acts.act(&speaking.store, ballast).await;
    made.expect("it is there");
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
    // The writer is busy until the test lets it continue.
    let hold = move |_: &mut super::backend::Sqlite| {
        let _gone = held.recv();
    };
    let mut holding = pin!(speaking.acts.act(&speaking.store, hold));
    assert!(poll_immediate(&mut holding).await.is_none());
    speaking.output.text("last words").expect("it is taken");
    let mut committed = pin!(speaking.output.committed());
    assert!(poll_immediate(&mut committed).await.is_none());
    let sealed = speaking.output.seal().expect("it speaks");
    drop(go);
    holding.await;
    speaking.writer().await;
    assert!(poll_immediate(&mut committed).await.is_none());
    let (answer, ended) = oneshot::channel();
    let on_ended = Box::new(|outcome| drop(answer.send(outcome)));
    let ending = RunOutcome::of(Cause::User);
    speaking
        .store
        .finish(sealed, ending, Duration::ZERO, on_ended);
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
