//! The importer against a service made for the purpose: what is acknowledged, refused, sent again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use super::*;

/// How the service behaves to one request: answers to its lines, then what happens.
enum Turn {
    /// Every line is answered with these statuses in turn (the last one again and again).
    Answers(&'static [u16]),
    /// So many lines are answered with 202, then the connection breaks.
    Breaks(usize),
    /// The whole request is refused.
    Refuses(u16),
}

/// Serves these turns, then 202 to all; tells each request's body before it answers.
fn service(turns: Vec<Turn>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut turns = turns.into_iter();
        for stream in listener.incoming() {
            let turn = turns.next().unwrap_or(Turn::Answers(&[202]));
            serve(stream.expect("a connection"), &turn, &tell);
        }
    });
    (url, told)
}

/// One request a connection: simple, and reconnecting is tried all the time.
fn serve(mut stream: TcpStream, turn: &Turn, tell: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("readable");
        let lower = line.to_lowercase();
        if let Some(bytes) = lower.strip_prefix("content-length:") {
            length = bytes.trim().parse().expect("a number");
        } else if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    let body = String::from_utf8(body).expect("UTF-8");
    let line = |number: usize, status: u16| match status {
        202 => format!("{{\"line\":{number},\"status\":202,\"purchaseId\":\"x\"}}\n"),
        _ => format!(
            "{{\"line\":{number},\"status\":{status},\"field\":\"itemId\",\"detail\":\"wrong\"}}\n"
        ),
    };
    let count = body.lines().count();
    // Told before it is answered: once the importer is done, all it sent has been told.
    let _listens = tell.send(body);
    let (status, length, answer) = match turn {
        Turn::Answers(statuses) => {
            let status = |n: usize| statuses.get(n).or(statuses.last()).copied().unwrap_or(202);
            let answer: String = (0..count).map(|n| line(n + 1, status(n))).collect();
            (200, answer.len(), answer)
        }
        Turn::Breaks(lines) => (200, 1_000_000, (0..*lines).map(|n| line(n + 1, 202)).collect()),
        Turn::Refuses(status) => (*status, 2, "no".to_owned()),
    };
    let head =
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + &answer).as_bytes()).expect("written");
}

/// Imports a file of purchases; gives back the outcome, the counts and the requests' bodies.
fn import_purchases(
    text: &str,
    policy: OnBadLine,
    turns: Vec<Turn>,
) -> (Result<(), Error>, progress::Counts, Vec<String>) {
    let (url, told) = service(turns);
    let lines = Lines::of("p.jsonl", text.to_owned().leak());
    let ids = Ids::new(Some("f".to_owned()), Path::new("p.jsonl"), &lines);
    let feeds = vec![Feed::new(&PURCHASES, lines, ids, 0)];
    let mut sender =
        Sender::new(&url, &url, None, policy, Progress::start(None)).expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.expect("a runtime").block_on(import(feeds, &mut sender));
    (done, sender.progress.counts, told.try_iter().collect())
}

const THREE: &str = "{\"purchaseId\":\"1\"}\n{\"purchaseId\":\"2\"}\n{\"purchaseId\":\"3\"}\n";

#[track_caller]
fn check(turns: Vec<Turn>, bodies: &[&str]) {
    let (done, counts, told) = import_purchases(THREE, OnBadLine::Stop, turns);
    done.expect("imported");
    assert_eq!((counts.lines(), counts.bad), (3, 0));
    assert_eq!(told, bodies);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_and_nothing_else() {
    let rest = &THREE[THREE.len() / 3..];
    let last = &THREE[THREE.len() / 3 * 2..];
    check(vec![], &[THREE]);
    check(vec![Turn::Refuses(503), Turn::Refuses(500)], &[THREE, THREE, THREE]);
    check(vec![Turn::Breaks(0)], &[THREE, THREE]);
    check(vec![Turn::Breaks(1), Turn::Breaks(1)], &[THREE, rest, last]);
    // What comes behind an unacknowledged line goes again too: their order counts.
    check(vec![Turn::Answers(&[202, 503, 202])], &[THREE, rest]);
}

#[test]
fn bad_lines_stop_the_import_or_are_left_out() {
    let bad = || vec![Turn::Answers(&[202, 400, 202])];
    let (done, counts, _) = import_purchases(THREE, OnBadLine::Skip, bad());
    done.expect("imported");
    assert_eq!((counts.lines(), counts.bad), (2, 1));
    let (done, counts, _) = import_purchases(THREE, OnBadLine::Stop, bad());
    let error = done.expect_err("stopped");
    assert!(error.to_string().starts_with("p.jsonl:2: 400 itemId: wrong;"), "{error}");
    assert_eq!((error.code(), counts.lines()), (exit::FAILED, 1));
    // A line that is no JSON is never sent; those before it are.
    let text = "{\"purchaseId\":\"1\"}\nno\n{\"itemId\":\"é\"}\n";
    let (done, counts, told) = import_purchases(text, OnBadLine::Skip, vec![]);
    done.expect("imported");
    assert_eq!((counts.lines(), counts.bad), (2, 1));
    assert_eq!(
        told.concat(),
        "{\"purchaseId\":\"1\"}\n{\"purchaseId\":\"f-3\",\"itemId\":\"é\"}\n"
    );
    let (done, _, told) = import_purchases(text, OnBadLine::Stop, vec![]);
    let error = done.expect_err("stopped").to_string();
    assert!(error.starts_with("p.jsonl:2: it is not a JSON object"), "{error}");
    assert_eq!(told, ["{\"purchaseId\":\"1\"}\n"]);
}

#[test]
fn what_no_repetition_mends_ends_the_import() {
    let stopped = |turn| {
        let (done, _, _) = import_purchases(THREE, OnBadLine::Skip, vec![turn]);
        done.expect_err("stopped").to_string()
    };
    let error = stopped(Turn::Refuses(404));
    assert!(error.contains("/purchases answers 404"), "{error}");
}
