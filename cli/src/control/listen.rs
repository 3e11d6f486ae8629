//! The listening side: threads that read lines from sockets and hand them to the serving thread.
//!
//! The serving thread never touches these sockets: it takes requests from a channel and answers
//! into another. A client that does not read holds up a thread of its own and nobody else.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use holdfast_host::clock::Wakeup;

use super::protocol::{Reply, Request};
use crate::exit::Failure;

/// Clients at once, of each kind.
const MOST_CLIENTS: usize = 32;
/// Bytes of a request.
const MOST_BYTES: u64 = 64 << 10;
/// Lines that may wait for a client to read them; whoever lags further behind is hung up on.
const MOST_WAITING: usize = 1024;
/// How long a client may take over reading a line.
const PATIENCE: Duration = Duration::from_secs(10);

/// A line for a client. It counts until it is written, or nobody will write it.
#[derive(Debug)]
struct Line {
    text: String,
    unwritten: Arc<AtomicUsize>,
}

impl Line {
    fn new(text: String, unwritten: &Arc<AtomicUsize>) -> Self {
        unwritten.fetch_add(1, Ordering::AcqRel);
        Self { text, unwritten: Arc::clone(unwritten) }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.unwritten.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request, and where its lines of answer go. Dropping it ends the answer.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What is wanted.
    pub(crate) request: Request,
    to: SyncSender<Line>,
    unwritten: Arc<AtomicUsize>,
}

impl Asked {
    /// Sends a line. False: the client is gone, or does not read.
    pub(crate) fn say(&self, line: String) -> bool {
        self.to.try_send(Line::new(line, &self.unwritten)).is_ok()
    }

    /// The answer.
    pub(crate) fn answer(self, reply: &Reply) {
        self.say(reply.line());
    }
}

/// Where requests come from.
#[derive(Debug)]
pub(crate) struct Ears {
    heard: Receiver<Asked>,
    mouth: mpsc::Sender<Asked>,
    bell: Wakeup,
    /// Lines of answer that no client has been sent yet.
    unwritten: Arc<AtomicUsize>,
    /// A socket to be removed in the end.
    path: Option<PathBuf>,
}

impl Ears {
    /// Hears nobody yet. `bell` wakes the thread that asks for requests.
    pub(crate) fn new(bell: Wakeup) -> Self {
        let (mouth, heard) = mpsc::channel();
        Self { heard, mouth, bell, unwritten: Arc::default(), path: None }
    }

    /// Waits until all answers are with the clients, but no longer than `patience`: the threads that
    /// write them end with the process.
    pub(crate) fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.unwritten.load(Ordering::Acquire) > 0 && Instant::now() < until {
            thread::sleep(PATIENCE / 10_000);
        }
    }

    /// Takes requests at a socket of mode 0600.
    pub(crate) fn at(&mut self, path: &Path) -> io::Result<()> {
        let listener = holdfast_host::socket::listen(path)?;
        listener.set_nonblocking(false)?;
        self.path = Some(path.to_owned());
        let teller = self.teller();
        start("holdfast-control", move || accept_control(&listener, &teller))
    }

    /// Answers requests for metrics over HTTP. Returns where, with the port it got.
    pub(crate) fn metrics_at(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address)?;
        let bound = listener.local_addr()?;
        let teller = self.teller();
        start("holdfast-metrics", move || accept_metrics(&listener, &teller))?;
        Ok(bound)
    }

    /// The next request, if there is one.
    pub(crate) fn next(&self) -> Option<Asked> {
        self.heard.try_recv().ok()
    }

    /// Whoever asks from within this process.
    pub(crate) fn teller(&self) -> Teller {
        let (mouth, bell) = (self.mouth.clone(), self.bell.clone());
        let unwritten = Arc::clone(&self.unwritten);
        Teller { mouth, bell, clients: Arc::new(AtomicUsize::new(0)), unwritten }
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What a thread needs that asks the serving thread.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    mouth: mpsc::Sender<Asked>,
    bell: Wakeup,
    clients: Arc<AtomicUsize>,
    unwritten: Arc<AtomicUsize>,
}

/// One of the clients that are counted.
#[derive(Debug)]
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Teller {
    fn seat(&self) -> Option<Seat> {
        let seat = Seat(Arc::clone(&self.clients));
        let before = self.clients.fetch_add(1, Ordering::AcqRel);
        (before < MOST_CLIENTS).then_some(seat)
    }

    /// What a verb says for people, asked of the serving thread; empty once that has ended.
    #[cfg(feature = "fuse")]
    pub(crate) fn text(&self, request: Request) -> String {
        let line = self.ask(request).and_then(|lines| lines.recv().ok());
        let reply = line.and_then(|line| serde_json::from_str::<Reply>(&line.text).ok());
        reply.map(|reply| reply.into_lines().join("\n") + "\n").unwrap_or_default()
    }

    /// Asks the serving thread; none if it is gone.
    fn ask(&self, request: Request) -> Option<Receiver<Line>> {
        let (to, from) = mpsc::sync_channel(MOST_WAITING);
        let unwritten = Arc::clone(&self.unwritten);
        self.mouth.send(Asked { request, to, unwritten }).ok()?;
        self.bell.signal();
        Some(from)
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

fn accept_control(listener: &UnixListener, teller: &Teller) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(PATIENCE / 100);
            continue;
        };
        let Some(seat) = teller.seat() else { continue };
        let teller = teller.clone();
        let talk = move || {
            let _seat = seat;
            let _ = converse(&stream, &teller);
        };
        // Without a thread nobody is heard; the client sees the end of the connection.
        let _ = start("holdfast-client", talk);
    }
}

/// Line by line, until the client hangs up.
fn converse(stream: &UnixStream, teller: &Teller) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(MOST_BYTES));
    let mut writer = stream;
    loop {
        let mut line = String::new();
        reader.get_mut().set_limit(MOST_BYTES);
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if !line.ends_with('\n') && line.len() as u64 >= MOST_BYTES {
            let text = format!("a request is a line of at most {MOST_BYTES} bytes");
            return writer.write_all(Reply::refused(Failure::usage(text)).line().as_bytes());
        }
        let request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(error) => {
                let failure = Failure::usage(format!("not a request: {error}"));
                writer.write_all(Reply::refused(failure).line().as_bytes())?;
                continue;
            }
        };
        let Some(lines) = teller.ask(request) else { return Ok(()) };
        for line in lines {
            writer.write_all(line.text.as_bytes())?;
        }
    }
}

fn accept_metrics(listener: &TcpListener, teller: &Teller) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(PATIENCE / 100);
            continue;
        };
        let Some(seat) = teller.seat() else { continue };
        let teller = teller.clone();
        let talk = move || {
            let _seat = seat;
            let _ = answer_http(&stream, &teller);
        };
        let _ = start("holdfast-metrics", talk);
    }
}

/// One request, one answer, and the connection is closed: all that a scraper needs of HTTP.
fn answer_http(mut stream: &TcpStream, teller: &Teller) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(MOST_BYTES));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    // The headers say nothing that matters here, but a client wants to get rid of them.
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = first.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET" | "HEAD"), Some("/metrics")) => {
            let lines = teller.ask(Request::Metrics);
            (
                "200 OK",
                lines.into_iter().flatten().map(|line| line.text.clone()).collect::<String>(),
            )
        }
        (Some("GET" | "HEAD"), _) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let head = first.starts_with("HEAD ");
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    )?;
    stream.write_all(if head { b"" } else { body.as_bytes() })
}
