//! Server-sent events out of a read side: each change of its rows, from any position on.
//!
//! Nothing is queued for a reader. It has a position in each partition, and takes from there what
//! the rows hold by now: one that is slow sees less of the states in between, one that comes back
//! with `Last-Event-ID` goes on where it was, and memory does not grow with either.

mod position;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bps_streams::store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

pub use self::position::{Place, Position};
use crate::problem::{Problem, ProblemKind};
use crate::signals::Shutdown;

/// Pause after all that was there has been sent: what changes meanwhile is sent at once, and of a
/// row that changes often only the latest state.
const PACE: Duration = Duration::from_millis(50);
/// Changes that are read at a time.
const CHUNK: usize = 100;
/// Events on their way to a reader.
const EVENTS_WAITING: usize = 16;
/// Readers at a time.
const STREAMS_MAX: usize = 1_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What is streamed.
pub trait Feed: Send + Sync + 'static {
    /// Name of its events.
    fn event(&self) -> &'static str;
    /// As far as the rows are; empty while they cannot be looked up.
    fn position(&self) -> Position;
    /// Changes whenever the rows do.
    fn moved(&self) -> watch::Receiver<u64>;
    /// Changes from a place on, `max` at most.
    ///
    /// # Errors
    /// When the rows cannot be read.
    fn changes(&self, from: Place, max: usize) -> store::Result<Changes>;
}

/// A part of the changes of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Offset and JSON of each.
    pub found: Vec<(u64, String)>,
    /// Where to look next: behind all that was looked at.
    pub next: u64,
    /// Whether there are more already.
    pub are_more: bool,
}

/// The streams of one service.
#[derive(Clone)]
pub struct Streams {
    permits: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Streams {
    /// They end with `shutdown`.
    pub fn new(shutdown: &Shutdown) -> Streams {
        Streams { permits: Arc::new(Semaphore::new(STREAMS_MAX)), shutdown: shutdown.clone() }
    }

    /// Answers with a stream: from `Last-Event-ID` on, else from now on.
    ///
    /// # Errors
    /// An id that is none of ours; too many readers.
    pub fn open(&self, feed: Arc<dyn Feed>, headers: &HeaderMap) -> Result<Response, Problem> {
        let from = headers.get(LAST_EVENT_ID).map(|id| {
            let id = id.to_str().ok().and_then(Position::read);
            let unknown = "it is not an id of this stream";
            id.ok_or_else(|| Problem::of(ProblemKind::Parameter, "Last-Event-ID", unknown))
        });
        let from = from.transpose()?;
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| {
            Problem::new(
                ProblemKind::Busy,
                format!("{STREAMS_MAX} streams are open, which is the bound"),
            )
        })?;
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
        let reader = Reader { feed, sender, shutdown: self.shutdown.clone(), _permit: permit };
        tokio::spawn(reader.run(from));
        let events = ReceiverStream::new(receiver).map(Ok::<Event, Infallible>);
        Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
    }
}

struct Reader {
    feed: Arc<dyn Feed>,
    sender: mpsc::Sender<Event>,
    shutdown: Shutdown,
    _permit: OwnedSemaphorePermit,
}

/// The reader has gone, or the service ends.
struct Gone;

impl Reader {
    async fn run(self, from: Option<Position>) {
        let ended = self.shutdown.clone();
        tokio::select! {
            _ = self.follow(from) => {}
            () = self.sender.closed() => {}
            () = ended.wait() => {}
        }
    }

    async fn follow(&self, from: Option<Position>) -> Result<(), Gone> {
        let mut moved = self.feed.moved();
        let mut at = loop {
            moved.borrow_and_update();
            let now = self.feed.position();
            if !now.is_empty() {
                // An id of other partitions says nothing: all rows are new to the reader.
                break from.map_or(now.clone(), |from| from.fitted(&now));
            }
            moved.changed().await.map_err(|_| Gone)?;
        };
        // A reader that comes back before the first change goes on from here.
        self.send(Event::default().id(at.to_string())).await?;
        loop {
            moved.borrow_and_update();
            for partition in 0..at.partitions() {
                self.drain(&mut at, partition).await?;
            }
            tokio::time::sleep(PACE).await;
            moved.changed().await.map_err(|_| Gone)?;
        }
    }

    async fn drain(&self, at: &mut Position, partition: u32) -> Result<(), Gone> {
        let mut are_more = true;
        while are_more {
            let (feed, from) = (self.feed.clone(), at.place(partition));
            let look = move || feed.changes(from, CHUNK);
            let changes = match tokio::task::spawn_blocking(look).await.map_err(|_| Gone)? {
                Ok(changes) => changes,
                Err(error) => {
                    tracing::error!(%error, "a stream ends");
                    return Err(Gone);
                }
            };
            for (offset, data) in changes.found {
                at.go_to(Place { partition, offset: offset + 1 });
                let event = Event::default().event(self.feed.event());
                self.send(event.id(at.to_string()).data(data)).await?;
            }
            at.go_to(Place { partition, offset: changes.next });
            are_more = changes.are_more;
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.sender.send(event).await.map_err(|_| Gone)
    }
}
