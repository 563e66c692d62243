//! Reads the log as it grows: from the disk, a page at a time, woken by commits. A slow reader
//! reads later; it delays no writer or other reader, and misses no event.

use super::polled::{self, Polled, Source as _};
use crate::host::{Host, HostError};
use futures_util::Stream;
use lastword_store::{ChangeSet, Following, Positions, Refusal, Store, StoreError};
use lastword_types::event::{Event, EventBody, Position, Seq};
use lastword_types::id::{RunId, SessionId, WorkspaceId};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::watch;

/// A stream of events, replayable from any point of the log.
///
/// It is a [`Stream`]; [`Events::next`] works without that trait. Dropping it stops no run and
/// loses no event: another stream can begin after the last event that was read.
pub struct Events {
    reader: Polled<Reader>,
}

/// Reads the log, and waits for it to grow.
struct Reader {
    /// Keeps the host open while the stream is read.
    _host: Host,
    store: Store,
    source: Source,
    page: VecDeque<Event>,
    /// Whether it ends where the log ends now.
    stored: bool,
    over: bool,
}

enum Source {
    Session(OfSession),
    Positions(OfPositions),
}

/// One session's log, by number; of one run or of all.
struct OfSession {
    session: SessionId,
    committed: watch::Receiver<i64>,
    run: Option<RunId>,
    /// The last event that was read; `None` until the run's first one is found.
    after: Option<Seq>,
    /// Whether a part of the log could not be read, which may include the run's end.
    damaged: bool,
}

/// The log of a workspace or of the host, by position.
struct OfPositions {
    workspace: Option<WorkspaceId>,
    after: Position,
    /// The subscription to commits, once there is one.
    live: Option<Live>,
}

struct Live {
    workspace: Option<WorkspaceId>,
    following: Following,
    /// Whether it still scans the log, for older events or for changes that were not notified
    /// individually.
    scanning: bool,
    /// Whether nothing was read yet.
    first: bool,
    /// The notified changes that have not been read.
    changes: Option<ChangeSet>,
}

impl Events {
    /// Subscribes first and reads then, so that no event committed in between is missed.
    pub(crate) fn of_session(host: Host, session: SessionId, after: Seq) -> Self {
        let committed = host.inner.store.follow(session);
        let source = Source::Session(OfSession {
            session,
            committed,
            run: None,
            after: Some(after),
            damaged: false,
        });
        Self::new(host, source)
    }

    pub(crate) fn of_run(host: Host, session: SessionId, run: RunId) -> Self {
        let committed = host.inner.store.follow(session);
        let source = Source::Session(OfSession {
            session,
            committed,
            run: Some(run),
            after: None,
            damaged: false,
        });
        Self::new(host, source)
    }

    /// Returns the events of a workspace, or of the whole host, after a position.
    pub(crate) fn of_positions(
        host: Host,
        workspace: Option<WorkspaceId>,
        after: Position,
    ) -> Self {
        let source = Source::Positions(OfPositions {
            workspace,
            after,
            live: None,
        });
        Self::new(host, source)
    }

    fn new(host: Host, source: Source) -> Self {
        let reader = Reader {
            store: host.inner.store.clone(),
            _host: host,
            source,
            page: VecDeque::new(),
            stored: false,
            over: false,
        };

        Self {
            reader: Polled::new(reader),
        }
    }

    pub(crate) fn after(mut self, seq: Seq) -> Self {
        if let Source::Session(source) = &mut self.reader.source().source {
            source.after = Some(seq);
        }
        self
    }

    /// Makes the stream end where the log ends, instead of waiting for more.
    #[must_use]
    pub fn stored(mut self) -> Self {
        let reader = self.reader.source();
        reader.stored = true;
        if let Source::Positions(OfPositions {
            live: Some(live), ..
        }) = &mut reader.source
        {
            // A scan of the log finds the notified changes that have not been read.
            live.scanning = true;
        }
        self
    }

    /// Checks that the log can be read from the stream's position. [`Events::next`] returns the
    /// same errors; this takes no event. A run can always be read from its beginning.
    ///
    /// Dropping the future has no effect on the stream.
    ///
    /// # Errors
    /// [`HostError::CursorExpired`] with the oldest cursor that still works, if older events were
    /// folded away; [`HostError::InvalidCursor`] for a cursor beyond the end of the log;
    /// [`HostError::UnknownSession`] or [`HostError::UnknownWorkspace`].
    pub async fn check(&mut self) -> Result<(), HostError> {
        self.reader.source().check().await
    }

    /// Returns the next event: at once if it is in the log, otherwise when it is committed. `None`
    /// after a run's `run.ended`, after `session.deleted`, and at the log's end once the host has
    /// shut down or if only [stored](Events::stored) events were asked for. Otherwise a stream
    /// does not end; those of a workspace and of the host go on after `session.deleted`.
    ///
    /// Dropping the future loses nothing: the next call returns the same event, and so does the
    /// stream, whose [`poll_next`](Stream::poll_next) may take turns with this.
    pub async fn next(&mut self) -> Option<Result<Event, HostError>> {
        self.reader.source().next().await
    }
}

impl Stream for Events {
    type Item = Result<Event, HostError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().reader.poll_next(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Reader {
    async fn check(&mut self) -> Result<(), HostError> {
        let checked = match &mut self.source {
            Source::Session(source) => match source.begin(&self.store).await {
                Ok(Beginning::After(after)) => self.store.check(source.session, after).await,
                Ok(Beginning::Folded(_)) => Ok(()),
                Err(error) => Err(error),
            },
            Source::Positions(source) => {
                let after = source.after;
                match source.follow(&self.store).await {
                    Ok(live) => self.store.check_position(live.workspace, after).await,
                    Err(error) => Err(error),
                }
            }
        };

        Ok(checked?)
    }
}

impl polled::Source for Reader {
    type Item = Result<Event, HostError>;

    async fn next(&mut self) -> Option<Result<Event, HostError>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(event) = self.page.pop_front() {
                if let Source::Session(source) = &mut self.source {
                    source.after = Some(event.seq);
                    let damaged = matches!(event.body, EventBody::LogDamaged { .. });
                    source.damaged |= damaged;
                    self.over = matches!(event.body, EventBody::SessionDeleted {});
                    let own = event.run == source.run || damaged && event.run.is_none();
                    if source.run.is_some() && !own && !self.over {
                        continue;
                    }
                    let ended = matches!(event.body, EventBody::RunEnded { .. });
                    self.over |= source.run.is_some() && ended;
                }
                return Some(Ok(event));
            }
            let filled = match &mut self.source {
                Source::Session(source) => source.fill(&self.store, self.stored).await,
                Source::Positions(source) => source.fill(&self.store, self.stored).await,
            };
            match filled {
                Ok(page) if page.is_empty() => self.over = true,
                Ok(page) => self.page = page.into(),
                Err(error) => {
                    self.over = true;
                    return Some(Err(error.into()));
                }
            }
        }
    }
}

/// Returns no events at the end of a log that no longer grows, or the error if the store failed.
fn at_the_end(store: &Store) -> Result<Vec<Event>, StoreError> {
    match store.failure() {
        Some(why) => Err(StoreError::Closed(why)),
        None => Ok(Vec::new()),
    }
}

/// The source of the events of a session or a run.
enum Beginning {
    /// In the log, after this number.
    After(Seq),
    /// From this list: it replaces the events of a run that were folded away.
    Folded(Vec<Event>),
}

impl OfSession {
    async fn begin(&mut self, store: &Store) -> Result<Beginning, StoreError> {
        let run = match (self.after, self.run) {
            (Some(after), _) => return Ok(Beginning::After(after)),
            (None, None) => return Ok(Beginning::After(Seq(0))),
            (None, Some(run)) => run,
        };

        match store.before_run(run).await {
            Err(StoreError::Refused(Refusal::Expired { .. })) => {
                store.retold(run).await.map(Beginning::Folded)
            }
            before => before.map(Beginning::After),
        }
    }

    /// Returns the next page; an empty one at the end.
    async fn fill(&mut self, store: &Store, stored: bool) -> Result<Vec<Event>, StoreError> {
        let after = match self.begin(store).await? {
            Beginning::After(after) => after,
            Beginning::Folded(events) => return Ok(events),
        };

        let mut last_look = stored;
        loop {
            self.committed.borrow_and_update();
            let page = store.events(self.session, after).await?;
            if !page.is_empty() {
                return Ok(page);
            }
            if let (true, Some(run)) = (self.damaged, self.run)
                && store.receipt(run).await?.is_some()
            {
                return Ok(store.retold(run).await?.into_iter().rev().take(1).collect());
            }
            if last_look {
                return at_the_end(store);
            }
            last_look = self.committed.changed().await.is_err();
        }
    }
}

impl OfPositions {
    /// Subscribes to commits, unless it is already subscribed.
    async fn follow(&mut self, store: &Store) -> Result<&mut Live, StoreError> {
        if self.live.is_none() {
            if let Some(id) = self.workspace {
                store.workspace_key(id).await?;
            }
            self.live = Some(Live {
                workspace: self.workspace,
                following: store.follow_workspace(self.workspace),
                scanning: true,
                first: true,
                changes: None,
            });
        }

        let closed = || StoreError::Closed("nothing is followed".to_owned());
        self.live.as_mut().ok_or_else(closed)
    }

    /// Returns the next page; an empty one at the end.
    ///
    /// Dropping the future loses no event: the position moves only when a page is returned, and
    /// notified changes are kept until they have been read.
    async fn fill(&mut self, store: &Store, stored: bool) -> Result<Vec<Event>, StoreError> {
        let mut last_look = false;
        loop {
            let after = self.after;
            let live = self.follow(store).await?;
            if stored && !live.scanning {
                return at_the_end(store);
            }
            let page = if live.scanning {
                live.scan(store, after).await?
            } else {
                live.read(store, after).await?
            };
            let Some(page) = page else {
                // Every notified change has been read.
                if last_look {
                    return at_the_end(store);
                }
                last_look = !live.following.arrived().await;
                continue;
            };
            self.after = page.through;
            if !page.events.is_empty() {
                return Ok(page.events);
            }
        }
    }
}

impl Live {
    /// Reads a page of the log; the last page ends the scan.
    async fn scan(
        &mut self,
        store: &Store,
        after: Position,
    ) -> Result<Option<Positions>, StoreError> {
        let page = store.positions(self.workspace, after, self.first).await?;
        self.first = false;
        self.scanning = !page.head;
        Ok(Some(page))
    }

    /// Reads a page of the notified changes; `None` if there are none.
    async fn read(
        &mut self,
        store: &Store,
        after: Position,
    ) -> Result<Option<Positions>, StoreError> {
        if self.changes.is_none() {
            self.changes = self.following.take();
        }

        let Some(changes) = self.changes.clone() else {
            return Ok(None);
        };

        if changes.is_many() {
            self.changes = None;
            self.scanning = true;
            return self.scan(store, after).await;
        }

        let (page, left) = store.changes(self.workspace, changes, after).await?;
        self.changes = (!page.head).then_some(left);
        Ok(Some(page))
    }
}
