//! A proxy of our own between clients and a Kafka, which plays faults of the network: latency,
//! cuts, half-open connections, bytes in drips, ends of transactions that come late or whose answers
//! are lost ([`EndFault`]), and partitions that are refused to whoever reads them ([`Refusals`]).
//!
//! It carries frame by frame and knows of the protocol only what `frame` says. Where an answer
//! names the broker's address, it puts its own there, so that clients come back to it. In memory
//! it holds a frame for each direction of a connection.

mod ends;
pub mod frame;
mod link;
mod refusals;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::ends::EndFault;
use self::ends::Ends;
use self::link::Link;
pub use self::refusals::Refusals;
use crate::processes::Random;

/// How all frames fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Each frame waits for so long, at random (ms, from and to).
    pub latency_ms: Option<(u64, u64)>,
    /// Each frame comes a few bytes at a time.
    pub drips: bool,
}

/// What has happened.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Connections made.
    pub links: u64,
    /// Addresses of the broker replaced by the proxy's.
    pub addresses: u64,
    /// Connections cut.
    pub cut: u64,
    /// Connections that were left half-open.
    pub half_opened: u64,
    /// Ends of transactions that were kept.
    pub ends_kept: u64,
    /// What the broker answered to ends that came late (Kafka's error codes; 0: done).
    pub late_answers: Vec<i16>,
    /// Answers to ends of transactions that were lost.
    pub answers_lost: u64,
    /// Partitions that were refused in an answer.
    pub refused: u64,
}

struct Shared {
    broker: (String, u16),
    port: u16,
    seed: u64,
    weather: Mutex<Weather>,
    ends: Mutex<Ends>,
    refusals: Mutex<Refusals>,
    counts: Mutex<Counts>,
    links: Mutex<BTreeMap<u64, Arc<Link>>>,
    random: Mutex<Random>,
    ended: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn connect(&self) -> io::Result<TcpStream> {
        let (host, port) = &self.broker;
        let mut addresses = (host.as_str(), *port).to_socket_addrs()?;
        let address = addresses.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn forget(&self, number: u64) {
        lock(&self.links).remove(&number);
    }
}

/// A running proxy; it ends, with all connections, when dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Proxy {
    /// Listens on a free port of this machine, for a broker at `HOST:PORT`.
    pub fn start(broker: &str, seed: u64) -> Proxy {
        let (host, port) = broker.rsplit_once(':').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            broker: (host.to_owned(), port.parse().unwrap()),
            port: address.port(),
            seed,
            weather: Mutex::default(),
            ends: Mutex::default(),
            refusals: Mutex::default(),
            counts: Mutex::default(),
            links: Mutex::default(),
            random: Mutex::new(Random::new(seed)),
            ended: AtomicBool::new(false),
        });
        let run = {
            let shared = shared.clone();
            move || accept(&listener, &shared)
        };
        std::thread::Builder::new().name("proxy".to_owned()).spawn(run).unwrap();
        Proxy { shared, address }
    }

    /// Where clients find it. (The host is the broker's, so that only ports need be replaced.)
    pub fn address(&self) -> String {
        format!("{}:{}", self.shared.broker.0, self.address.port())
    }

    /// How frames fare from now on.
    pub fn set_weather(&self, weather: Weather) {
        *lock(&self.shared.weather) = weather;
    }

    /// Cuts each connection with this chance (percent); returns how many.
    pub fn cut(&self, chance: u64) -> u64 {
        let count = self.some(chance, Link::close);
        lock(&self.shared.counts).cut += count;
        count
    }

    /// Leaves each connection half-open with this chance (percent); returns how many. New ones are
    /// whole.
    pub fn half_open(&self, chance: u64) -> u64 {
        let count = self.some(chance, Link::half_open);
        lock(&self.shared.counts).half_opened += count;
        count
    }

    fn some(&self, chance: u64, act: impl Fn(&Link)) -> u64 {
        let links: Vec<_> = lock(&self.shared.links).values().cloned().collect();
        let mut random = lock(&self.shared.random);
        let mut count = 0;
        for link in links.iter().filter(|_| random.below(100) < chance) {
            act(link);
            count += 1;
        }
        count
    }

    /// Plans a fault for the next commit of a transaction that comes by.
    pub fn plan(&self, fault: EndFault) {
        lock(&self.shared.ends).plan(fault);
    }

    /// Whether the fault planned last is over.
    pub fn is_over(&self) -> bool {
        lock(&self.shared.ends).is_calm()
    }

    /// Forgets the fault that is planned, or under way.
    pub fn forget_plan(&self) {
        lock(&self.shared.ends).calm();
    }

    /// What is refused from now on.
    pub fn refuse(&self, refusals: Refusals) {
        *lock(&self.shared.refusals) = refusals;
    }

    /// Good weather again: what is half-open is cut, and its clients notice.
    pub fn heal(&self) {
        self.set_weather(Weather::default());
        self.refuse(Refusals::None);
        let links: Vec<_> = lock(&self.shared.links).values().cloned().collect();
        links.iter().filter(|link| link.is_half_open()).for_each(|link| link.close());
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        lock(&self.shared.counts).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the listening thread.
        drop(TcpStream::connect(self.address));
        self.some(100, Link::close);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, client) in (0..).zip(listener.incoming()) {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        // Without a broker behind it the connection ends at once, as the client would see it.
        let Ok(client) = client else { continue };
        if Link::open(number, client, shared).is_ok() {
            lock(&shared.counts).links += 1;
        }
    }
}
