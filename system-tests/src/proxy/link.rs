//! One connection of a client through the proxy: two threads, one for each direction.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ends::{Late, Verdict};
use super::frame::{self, Head, api};
use super::{Shared, lock};
use crate::processes::Random;

/// Requests without an answer that a connection may have.
const ASKED_MAX: usize = 10_000;

/// A request that is not answered yet.
struct Asked {
    head: Head,
    is_told: bool,
}

/// See the module.
pub(super) struct Link {
    number: u64,
    client: TcpStream,
    broker: TcpStream,
    asked: Mutex<HashMap<i32, Asked>>,
    /// Half-open, by direction: bytes are taken and vanish.
    requests_vanish: AtomicBool,
    answers_vanish: AtomicBool,
}

impl Link {
    /// Begins to carry what comes.
    pub(super) fn open(number: u64, client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
        let broker = shared.connect()?;
        client.set_nodelay(true)?;
        let link = Arc::new(Link {
            number,
            client,
            broker,
            asked: Mutex::default(),
            requests_vanish: AtomicBool::new(false),
            answers_vanish: AtomicBool::new(false),
        });
        lock(&shared.links).insert(number, link.clone());
        for (name, carry) in [("requests", Link::requests as Carry), ("answers", Link::answers)] {
            let (link, shared) = (link.clone(), shared.clone());
            let run = move || {
                // An error is a connection that broke: the other side is to see it too.
                drop(carry(&link, &shared));
                link.close();
                shared.forget(link.number);
            };
            std::thread::Builder::new().name(format!("proxy-{name}")).spawn(run)?;
        }
        Ok(())
    }

    /// Breaks it.
    pub(super) fn close(&self) {
        drop(self.client.shutdown(Shutdown::Both));
        drop(self.broker.shutdown(Shutdown::Both));
    }

    /// From now on it stands, and nothing comes through.
    pub(super) fn half_open(&self) {
        self.requests_vanish.store(true, Ordering::Relaxed);
        self.answers_vanish.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_half_open(&self) -> bool {
        self.requests_vanish.load(Ordering::Relaxed)
    }

    fn random(&self, shared: &Shared, direction: u64) -> Random {
        Random::new(shared.seed ^ (2 * self.number + direction))
    }

    fn requests(&self, shared: &Arc<Shared>) -> io::Result<()> {
        let (mut from, mut to) = (&self.client, &self.broker);
        let mut random = self.random(shared, 0);
        while let Some(request) = frame::read(&mut from)? {
            let Some(head) = Head::parse(&request) else {
                return Ok(());
            };
            if self.is_half_open() {
                continue;
            }
            let (mut is_told, mut is_last) = (false, false);
            let verdict = lock(&shared.ends).asked(head, &request);
            match verdict {
                Verdict::Pass => {}
                Verdict::PassAndTell => is_told = true,
                Verdict::PassAsLast => (is_told, is_last) = (true, true),
                Verdict::Swallow => {
                    self.requests_vanish.store(true, Ordering::Relaxed);
                    continue;
                }
                Verdict::Cut => {
                    lock(&shared.counts).ends_kept += 1;
                    return Ok(());
                }
                Verdict::CutAndDeliver(late, time) => {
                    lock(&shared.counts).ends_kept += 1;
                    let shared = shared.clone();
                    std::thread::spawn(move || {
                        std::thread::sleep(time);
                        deliver(&shared, &late);
                    });
                    return Ok(());
                }
            }
            {
                let mut asked = lock(&self.asked);
                if asked.len() >= ASKED_MAX {
                    return Ok(());
                }
                asked.insert(head.correlation, Asked { head, is_told });
            }
            send(&mut to, &request, shared, &mut random)?;
            if is_last {
                self.requests_vanish.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn answers(&self, shared: &Arc<Shared>) -> io::Result<()> {
        let (mut from, mut to) = (&self.broker, &self.client);
        let mut random = self.random(shared, 1);
        while let Some(mut answer) = frame::read(&mut from)? {
            let correlation = frame::correlation(&answer);
            let asked = correlation.and_then(|number| lock(&self.asked).remove(&number));
            if asked.as_ref().is_some_and(|asked| asked.is_told) {
                let (is_lost, late) = lock(&shared.ends).answered();
                if let Some(late) = late {
                    deliver(shared, &late);
                }
                if is_lost {
                    lock(&shared.counts).answers_lost += 1;
                    return Ok(());
                }
            }
            if self.answers_vanish.load(Ordering::Relaxed) {
                continue;
            }
            let head = asked.map(|asked| asked.head);
            if let Some(head) = head {
                let mut refusals = lock(&shared.refusals);
                let count = head.refuse(&mut answer, |partition| refusals.of(head.api, partition));
                lock(&shared.counts).refused += count;
            }
            let names_brokers =
                |head: Head| matches!(head.api, api::METADATA | api::FIND_COORDINATOR);
            if head.is_some_and(names_brokers) {
                let (host, port) = &shared.broker;
                let count = frame::readdress(&mut answer, host, *port, shared.port);
                lock(&shared.counts).addresses += count as u64;
            }
            send(&mut to, &answer, shared, &mut random)?;
        }
        Ok(())
    }
}

type Carry = fn(&Link, &Arc<Shared>) -> io::Result<()>;

/// Sends a frame as the weather is.
fn send(to: &mut impl Write, frame: &[u8], shared: &Shared, random: &mut Random) -> io::Result<()> {
    let weather = *lock(&shared.weather);
    if let Some((from_ms, to_ms)) = weather.latency_ms {
        random.sleep(from_ms, to_ms.max(from_ms + 1));
    }
    if !weather.drips {
        return to.write_all(frame);
    }
    for drop in frame.chunks((frame.len() / 24).max(3)) {
        to.write_all(drop)?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A late request arrives at last, on a connection of its own.
fn deliver(shared: &Shared, late: &Late) {
    let answer = || {
        let mut broker = shared.connect()?;
        broker.set_read_timeout(Some(Duration::from_secs(10)))?;
        broker.write_all(&late.frame)?;
        frame::read(&mut broker)
    };
    // The broker may be away by now; then it is lost.
    if let Ok(Some(answer)) = answer()
        && let Some(code) = late.head.end_txn_error(&answer)
    {
        lock(&shared.counts).late_answers.push(code);
    }
}
