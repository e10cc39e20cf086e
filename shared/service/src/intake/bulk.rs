//! JSON lines: one event a line, one answer a line, in order, while the request is still read.
//! An answer comes when its line is durable, or when it is decided, where the caller waits for it.
//!
//! Memory is bounded: lines are appended in groups, and only a few groups are under way. A
//! caller that sends without ever reading the answers is therefore stopped, not buffered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bps_events::Unreadable;
use bps_streams::broker::BrokerError;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt as _};

use super::acks::Acks;
use super::lines::{Line, Lines};
use super::{Decision, Event, IdempotencyKey, Inbox, Moment};
use crate::preference::Preference;
use crate::problem::{Problem, ProblemKind};
use crate::waiters::Waiting;

/// A group ends at this many lines, or
const GROUP_LINES_MAX: usize = 500;
/// at this many bytes of values, or where a chunk of the request ends.
const GROUP_BYTES_MAX: usize = 256 << 10;
/// Groups that wait for their answers to be sent, besides the one that is made and the one that
/// is answered: 3,000 lines in all, so that no write to the disk finds the caller waiting.
const GROUPS_WAITING: usize = 4;
/// How long a caller that reads no answers is waited for.
const READ_WAIT: Duration = Duration::from_secs(60);
/// How long a full buffer of the broker is waited for.
const BUFFER_WAIT: Duration = Duration::from_secs(10);

/// Lines that were appended together.
#[derive(Default)]
struct Group {
    first_line: u64,
    answers: Vec<Answer>,
    /// Lines that were events.
    sent: usize,
    bytes: usize,
    acks: Arc<Acks>,
}

/// What a line is answered.
enum Answer {
    /// These ids, as soon as it is durable.
    Durable(String),
    /// The decision.
    Decided(Box<Pending>),
    /// It was not taken.
    Refused(Problem),
}

/// A line that waits for its decision.
struct Pending {
    event: Event,
    waiting: Waiting,
    deadline: Instant,
}

pub(super) async fn take(
    inbox: Inbox,
    preference: Preference,
    trace: Option<String>,
    body: Body,
) -> Result<Response, Problem> {
    let bound = "too many bulk requests are under way";
    let permit = inbox.bulk.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::new(ProblemKind::Busy, bound))?;
    let partitions = inbox.partitions().await?;
    let (groups, answers) = mpsc::channel(GROUPS_WAITING);
    let wait = preference.wait;
    let reader = Reader { inbox, wait, trace, partitions, groups, group: Group::new(1), line: 0 };
    tokio::spawn(reader.run(body.into_data_stream()));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let body = Body::from_stream(answered(permit, answers));
    let mut response = (StatusCode::OK, kind, body).into_response();
    response.headers_mut().extend(preference.applied());
    Ok(response)
}

/// The answers of one group after the other.
fn answered(
    permit: OwnedSemaphorePermit,
    groups: mpsc::Receiver<JoinHandle<Bytes>>,
) -> impl Stream<Item = Result<Bytes, JoinError>> {
    let groups = tokio_stream::wrappers::ReceiverStream::new(groups);
    let answers = groups.then(|group| group);
    answers.map(move |answer| {
        // Held as long as anybody may read.
        let _ = &permit;
        answer
    })
}

impl Group {
    fn new(first_line: u64) -> Group {
        Group { first_line, ..Group::default() }
    }

    fn is_full(&self) -> bool {
        self.answers.len() >= GROUP_LINES_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    /// Waits until every line is durable, decided or has failed, and writes the answers.
    async fn settled(self, inbox: &Inbox) -> Bytes {
        let failures = self.acks.settled().await;
        inbox.note(self.sent, &failures);
        let mut failures = VecDeque::from(failures);
        let mut text = Vec::with_capacity(self.answers.len() * 128);
        for (number, answer) in self.answers.into_iter().enumerate() {
            let failed = failures.pop_front_if(|(failed, _)| *failed == number);
            text.extend_from_slice(b"{\"line\":");
            text.extend_from_slice((self.first_line + number as u64).to_string().as_bytes());
            text.push(b',');
            answer.settled(inbox, failed.map(|(_, error)| error), &mut text).await;
            text.extend_from_slice(b"}\n");
        }
        text.into()
    }
}

impl Answer {
    /// Waits for the decision, where it is waited for, and writes members of a JSON object.
    async fn settled(self, inbox: &Inbox, failed: Option<BrokerError>, text: &mut Vec<u8>) {
        let accepted = |text: &mut Vec<u8>, ids: &str| {
            text.extend_from_slice(b"\"status\":202,");
            text.extend_from_slice(ids.as_bytes());
        };
        let problem = |error, members| Problem { members, ..Problem::from(error) };
        match (self, failed) {
            (Self::Refused(problem), _) => problem.write(text),
            (Self::Durable(ids), None) => accepted(text, &ids),
            (Self::Durable(ids), Some(error)) => problem(error, ids).write(text),
            (Self::Decided(pending), Some(error)) => problem(error, pending.event.ids).write(text),
            (Self::Decided(pending), None) => {
                let Pending { event, waiting, deadline } = *pending;
                match inbox.decided(&event, &waiting, deadline).await {
                    Ok(Some(Decision::Granted(json))) => {
                        text.extend_from_slice(b"\"status\":201,\"result\":");
                        text.extend_from_slice(json.as_bytes());
                    }
                    Ok(Some(Decision::Refused(problem))) | Err(problem) => problem.write(text),
                    Ok(None) => accepted(text, &event.ids),
                }
            }
        }
    }
}

/// Reads the request.
struct Reader {
    inbox: Inbox,
    /// How long a line waits for its decision; zero: not at all.
    wait: Duration,
    /// What all lines belong to.
    trace: Option<String>,
    partitions: u32,
    /// Each settles by itself: nobody waits longer because the caller does not read.
    groups: mpsc::Sender<JoinHandle<Bytes>>,
    group: Group,
    line: u64,
}

/// Nobody waits for answers any more.
struct Gone;

impl Reader {
    /// Ends with the request, with the caller, or with the service; what was appended by then is
    /// answered.
    async fn run(mut self, mut body: BodyDataStream) {
        let shutdown = self.inbox.shutdown.clone();
        let mut lines = Lines::default();
        loop {
            let chunk = tokio::select! {
                chunk = body.next() => chunk,
                () = shutdown.wait() => return,
            };
            let read = match chunk {
                Some(Ok(chunk)) => self.read(&mut lines, &chunk).await,
                // The caller went away in mid-line, or has been silent for too long; then it is told.
                Some(Err(_)) => {
                    let problem =
                        Problem::new(ProblemKind::Timeout, "the next line did not come in time");
                    self.line += 1;
                    self.group.answers.push(Answer::Refused(problem));
                    drop(self.flush().await);
                    return;
                }
                None => {
                    let mut buffer = Vec::new();
                    if let Some(line) = lines.last(&mut buffer) {
                        let at = self.inbox.moment();
                        self.take(line, at).await;
                    }
                    drop(self.flush().await);
                    return;
                }
            };
            if read.is_err() {
                return;
            }
        }
    }

    async fn read(&mut self, lines: &mut Lines, chunk: &[u8]) -> Result<(), Gone> {
        let at = self.inbox.moment();
        let mut rest = chunk;
        let mut buffer = Vec::new();
        while !rest.is_empty() {
            if let Some(line) = lines.next(&mut rest, &mut buffer) {
                self.take(line, at).await;
                if self.group.is_full() {
                    self.flush().await?;
                }
            }
        }
        self.flush().await
    }

    /// Appends one line's event, or notes why not.
    async fn take(&mut self, line: Line<'_>, at: Moment) {
        self.line += 1;
        let event = match line {
            Line::Whole(line) => self.inbox.event(line, &IdempotencyKey::default(), at),
            Line::TooLong(bytes) => Err(Unreadable::TooLong { bytes }.into()),
        };
        let answer = match event {
            Ok(event) => self.send(event).await.unwrap_or_else(Answer::Refused),
            Err(problem) => Answer::Refused(problem),
        };
        self.group.answers.push(answer);
    }

    async fn send(&mut self, event: Event) -> Result<Answer, Problem> {
        // As for a single event: registered, then sent, then looked up.
        let waiting = match self.wait.is_zero() {
            true => None,
            false => Some(self.inbox.register(&event)?),
        };
        self.append(&event).await;
        self.group.sent += 1;
        self.group.bytes += event.value.len();
        let deadline = Instant::now() + self.wait;
        Ok(match waiting {
            None => Answer::Durable(event.ids),
            Some(waiting) => Answer::Decided(Box::new(Pending { event, waiting, deadline })),
        })
    }

    /// A buffer that is full is waited for: that slows the caller down, as it should.
    async fn append(&self, event: &Event) {
        let number = self.group.answers.len();
        let mut deadline = None;
        loop {
            let acks = &self.group.acks;
            let ack = acks.ack(number);
            let trace = self.trace.as_deref();
            let Err(error) = self.inbox.append(event, trace, self.partitions, ack) else {
                return;
            };
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + BUFFER_WAIT);
            if !error.is_unavailable() || Instant::now() > deadline {
                return acks.refuse(number, error);
            }
            acks.forget(number);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        if self.group.answers.is_empty() {
            return Ok(());
        }
        let group = std::mem::replace(&mut self.group, Group::new(self.line + 1));
        let inbox = self.inbox.clone();
        let settled = tokio::spawn(async move { group.settled(&inbox).await });
        match tokio::time::timeout(READ_WAIT, self.groups.send(settled)).await {
            Ok(Ok(())) => Ok(()),
            // The caller is gone, or sends without reading the answers.
            _ => Err(Gone),
        }
    }
}
