//! The one place with unsafe code: what librdkafka offers and its Rust binding does not.
//!
//! - a queue per partition, consumed in batches (the binding polls messages one by one)
//! - one file descriptor that wakes the worker for any of them
//! - the blocking flush (the binding's polls in slices of 100 ms, which would make each commit
//!   that slow)
//! - the ids of topics
//! - a round trip through a client's main thread

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as RespErr;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use super::fetcher::halt;
use crate::broker::slots::{Fetched, Taking};
use crate::record::Header;

/// Messages taken from librdkafka at once.
const BATCH: usize = 512;
/// What a record is taken to weigh until one was seen.
const RECORD_BYTES: usize = 1 << 10;

/// A file descriptor that librdkafka makes readable when a queue gets its first entry.
pub(super) struct Wake {
    fd: OwnedFd,
}

/// What librdkafka writes to it: an eventfd counts in units of eight bytes.
static ONE: u64 = 1;

impl Wake {
    pub(super) fn new() -> std::io::Result<Wake> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Wake { fd: rustix::event::eventfd(0, flags)? })
    }

    /// Waits until something was queued since the last call.
    pub(super) fn wait(&self, wait: Duration) {
        let timeout = Timespec::try_from(wait).ok();
        let mut poll = [PollFd::new(&self.fd, PollFlags::IN)];
        // Interrupted or not, the caller looks at its queues again.
        let _ = rustix::event::poll(&mut poll, timeout.as_ref());
        let mut count = [0_u8; 8];
        let _ = rustix::io::read(self.fd.as_fd(), &mut count);
    }
}

/// A librdkafka queue, owned by this process's side until dropped.
pub(super) struct Queue {
    queue: *mut rd::rd_kafka_queue_t,
    /// What a record of this queue weighed last (bytes), so that as many are taken as fit.
    record_bytes: usize,
}

// SAFETY: librdkafka's queues may be used from any thread; this handle is the only owner of its
// reference.
unsafe impl Send for Queue {}

impl Queue {
    /// The queue of one partition, no longer forwarded to the consumer's common one. Must be
    /// called before the partition is assigned, so that no message takes the common way.
    ///
    /// `client` must outlive the queue.
    pub(super) fn of_partition(
        client: *mut rd::rd_kafka_t,
        topic: &str,
        partition: u32,
        wake: &Wake,
    ) -> Option<Queue> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: `client` is alive (the caller's promise) and `topic` a terminated string.
        let queue =
            unsafe { rd::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition as i32) };
        if queue.is_null() {
            return None;
        }
        // SAFETY: `queue` is a live queue; forwarding it to null gives it its own life.
        unsafe { rd::rd_kafka_queue_forward(queue, ptr::null_mut()) };
        let queue = Queue { queue, record_bytes: RECORD_BYTES };
        queue.wakes(wake);
        Some(queue)
    }

    /// The consumer's common queue, for its wake-ups only. `client` must outlive it.
    pub(super) fn of_consumer(client: *mut rd::rd_kafka_t, wake: &Wake) -> Option<Queue> {
        // SAFETY: `client` is alive (the caller's promise).
        let queue = unsafe { rd::rd_kafka_queue_get_consumer(client) };
        if queue.is_null() {
            return None;
        }
        let queue = Queue { queue, record_bytes: RECORD_BYTES };
        queue.wakes(wake);
        Some(queue)
    }

    /// Messages and events that wait in it.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { rd::rd_kafka_queue_length(self.queue) }
    }

    fn wakes(&self, wake: &Wake) {
        let payload = (&raw const ONE).cast::<c_void>();
        // SAFETY: the queue is alive; librdkafka copies the payload of eight bytes.
        unsafe {
            rd::rd_kafka_queue_io_event_enable(self.queue, wake.fd.as_raw_fd(), payload, 8);
        }
    }
}

impl Fetched for Queue {
    fn hand_over(&mut self, taking: &mut Taking<'_>) -> bool {
        let mut messages = [ptr::null_mut::<rd::rd_kafka_message_t>(); BATCH];
        loop {
            let room = taking.room();
            if room == 0 {
                return true;
            }
            let (len, size) = taking.taken();
            let fitting = (room / self.record_bytes).clamp(1, BATCH);
            // SAFETY: the queue is alive and `messages` has room for BATCH pointers.
            let count = unsafe {
                rd::rd_kafka_consume_batch_queue(self.queue, 0, messages.as_mut_ptr(), fitting)
            };
            let count = usize::try_from(count).unwrap_or(0);
            for message in &messages[..count] {
                // SAFETY: librdkafka gave out this pointer and it is destroyed once, here.
                unsafe { take(*message, taking) };
                // SAFETY: as above; nothing borrowed from the message is left.
                unsafe { rd::rd_kafka_message_destroy(*message) };
            }
            let (len, size) = (taking.taken().0 - len, taking.taken().1 - size);
            if let Some(bytes) = size.checked_div(len) {
                self.record_bytes = bytes;
            }
            if count < fitting {
                return false;
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive until the second call; the first one makes sure that the
        // descriptor, which may be closed next, is not written to any more.
        unsafe {
            rd::rd_kafka_queue_io_event_enable(self.queue, -1, ptr::null(), 0);
            rd::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// Copies what stood in a queue.
///
/// # Safety
/// `message` must point to a live message.
unsafe fn take(message: *mut rd::rd_kafka_message_t, taking: &mut Taking<'_>) {
    // SAFETY: alive by the caller's promise.
    let m = unsafe { &*message };
    let offset = m.offset.max(0) as u64;
    match m.err {
        RespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
        RespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => return taking.end(offset),
        error => return taking.halt(halt(error)),
    }
    let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: alive; librdkafka only writes the kind.
    let timestamp = unsafe { rd::rd_kafka_message_timestamp(message, &mut kind) };
    // SAFETY: key, payload and headers belong to the message, which outlives this function.
    unsafe {
        let key = bytes(m.key, m.key_len);
        let value = bytes(m.payload, m.len);
        let mut headers = ptr::null_mut();
        let code = rd::rd_kafka_message_headers(message, &mut headers);
        let present = code == RespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        let headers = (0..).map_while(|index| match present {
            true => header(headers, index),
            false => None,
        });
        taking.record((offset, timestamp), key, value, headers);
    }
}

/// # Safety
/// `data` must be null or point to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    if data.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) })
}

/// # Safety
/// `headers` must be live headers, for `'a`.
unsafe fn header<'a>(headers: *const rd::rd_kafka_headers_t, index: usize) -> Option<Header<'a>> {
    let (mut name, mut value, mut len) = (ptr::null::<c_char>(), ptr::null(), 0);
    // SAFETY: the headers are alive and librdkafka writes the three places.
    let code =
        unsafe { rd::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut len) };
    if code != RespErr::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
        return None;
    }
    // SAFETY: librdkafka's names are terminated, its values `len` bytes or null.
    let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value, len)) };
    Some((name.to_str().unwrap_or("(not UTF-8)"), value))
}

/// Waits until everything a producer has queued is delivered or failed; whether it is. Failed
/// deliveries keep it waiting until the producer is polled.
///
/// `client` must be alive.
pub(super) fn flush(client: *mut rd::rd_kafka_t, wait: Duration) -> bool {
    // SAFETY: `client` is alive (the caller's promise).
    let code = unsafe { rd::rd_kafka_flush(client, wait.as_millis() as i32) };
    code == RespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// How many events (logs, errors, failed deliveries) wait for a client to be polled.
///
/// `client` must be alive.
pub(super) fn events(client: *mut rd::rd_kafka_t) -> usize {
    // SAFETY: `client` is alive (the caller's promise); the reference to its queue is given back.
    unsafe {
        let queue = rd::rd_kafka_queue_get_main(client);
        let count = rd::rd_kafka_queue_length(queue);
        rd::rd_kafka_queue_destroy(queue);
        count
    }
}

/// Waits until the main thread of a client has done all that it was asked to do before: an answer
/// of the cluster (who its brokers are) goes through the queue of that thread.
///
/// `client` must be alive.
pub(super) fn round_trip(client: *mut rd::rd_kafka_t, wait: Duration) -> Result<(), RespErr> {
    let wait_ms = wait.as_millis() as i32;
    let mut metadata = ptr::null();
    // SAFETY: `client` is alive (the caller's promise); librdkafka writes the answer, which is
    // destroyed once, and only if there is one.
    unsafe {
        match rd::rd_kafka_metadata(client, 0, ptr::null_mut(), &mut metadata, wait_ms) {
            RespErr::RD_KAFKA_RESP_ERR_NO_ERROR => rd::rd_kafka_metadata_destroy(metadata),
            code => return Err(code),
        }
    }
    Ok(())
}

/// A topic as the cluster tells it from all others: its id (empty where it has none) and the number
/// of its partitions.
pub(super) type Identified = (String, u32);

/// Asks for the ids of topics; `None` for those that are not there. `names` has each once.
///
/// `client` must be alive.
pub(super) fn identify_topics(
    client: *mut rd::rd_kafka_t,
    names: &[CString],
    wait: Duration,
) -> Result<Vec<Option<Identified>>, RespErr> {
    let wait_ms = wait.as_millis() as i32;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: `client` is alive (the caller's promise), and so are the names; librdkafka copies what
    // it is given, and each of the objects made here is destroyed once, the queue after its event.
    unsafe {
        let queue = rd::rd_kafka_queue_new(client);
        let topics =
            rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = rd::rd_kafka_AdminOptions_new(client, operation);
        rd::rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, ptr::null_mut(), 0);
        rd::rd_kafka_DescribeTopics(client, topics, options, queue);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_TopicCollection_destroy(topics);
        // It answers by itself when the time is over.
        let event = rd::rd_kafka_queue_poll(queue, wait_ms.saturating_add(1_000));
        let found = identified(event);
        if !event.is_null() {
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_queue_destroy(queue);
        found
    }
}

/// What an answer says of each topic.
///
/// # Safety
/// `event` must be null or a live event.
unsafe fn identified(event: *mut rd::rd_kafka_event_t) -> Result<Vec<Option<Identified>>, RespErr> {
    if event.is_null() {
        return Err(RespErr::RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    // SAFETY: the event is alive (the caller's promise); what it lends out is not kept.
    let (error, result) = unsafe {
        (rd::rd_kafka_event_error(event), rd::rd_kafka_event_DescribeTopics_result(event))
    };
    if error != RespErr::RD_KAFKA_RESP_ERR_NO_ERROR || result.is_null() {
        return Err(error);
    }
    let mut count = 0;
    // SAFETY: as above; there are `count` pointers to live descriptions.
    let topics = unsafe {
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        (0..count).map(|index| *topics.add(index)).collect::<Vec<_>>()
    };
    // SAFETY: as above.
    topics.into_iter().map(|topic| unsafe { identity(topic) }).collect()
}

/// # Safety
/// `topic` must point to a live description.
unsafe fn identity(
    topic: *const rd::rd_kafka_TopicDescription_t,
) -> Result<Option<Identified>, RespErr> {
    // SAFETY: all that is asked for belongs to the description, which is alive.
    unsafe {
        let error = rd::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            return match rd::rd_kafka_error_code(error) {
                RespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Err(RespErr::RD_KAFKA_RESP_ERR_UNKNOWN),
                // One that may not be seen might as well not be there.
                RespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                | RespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED => Ok(None),
                code => Err(code),
            };
        }
        let mut partitions = 0;
        rd::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let id = rd::rd_kafka_TopicDescription_topic_id(topic);
        let bits = rd::rd_kafka_Uuid_most_significant_bits(id)
            | rd::rd_kafka_Uuid_least_significant_bits(id);
        let text = rd::rd_kafka_Uuid_base64str(id);
        // As Kafka's own tools print it; a cluster that knows no ids tells zeros.
        let id = match bits == 0 || text.is_null() {
            true => String::new(),
            false => CStr::from_ptr(text).to_string_lossy().replace('+', "-").replace('/', "_"),
        };
        Ok(Some((id, partitions as u32)))
    }
}
