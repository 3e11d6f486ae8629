//! The listening side: threads that read lines from a socket and hand them to the serving thread.
//!
//! The serving thread never touches the socket: it takes requests from a channel and answers into
//! another, and a bell wakes it. A client that does not read holds up a thread of its own and nobody
//! else. `Q` is what may be asked.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use holdfast_host::clock::Wakeup;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::place;
use super::reply::{self, Reply};
use crate::exit::Failure;

/// Clients at once, of each kind.
const MOST_CLIENTS: usize = 64;
/// Bytes of a request.
const MOST_BYTES: u64 = 64 << 10;
/// Lines that may wait for a client to read them; whoever lags further behind is hung up on.
const MOST_WAITING: usize = 1024;
/// How long a client may take over reading a line.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A line for a client. It counts until it is written, or nobody will write it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// It ends the answer to a request.
    ends: bool,
    unwritten: Arc<AtomicUsize>,
}

impl Line {
    fn new(text: String, ends: bool, unwritten: &Arc<AtomicUsize>) -> Self {
        unwritten.fetch_add(1, Ordering::AcqRel);
        Self { text, ends, unwritten: Arc::clone(unwritten) }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.unwritten.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request, and whoever waits for the answer.
#[derive(Debug)]
pub(crate) struct Asked<Q> {
    /// What is wanted.
    pub(crate) request: Q,
    /// Of whom.
    pub(crate) caller: Caller,
}

/// Somebody who has asked for something. Dropped without an answer, it is hung up on.
#[derive(Debug)]
pub(crate) struct Caller {
    to: SyncSender<Line>,
    unwritten: Arc<AtomicUsize>,
}

impl Caller {
    /// Tells of something that happened. False: the client is gone, or does not read.
    pub(crate) fn tell(&self, told: &impl Serialize) -> bool {
        self.say(reply::event(told))
    }

    /// Sends text as it is. False: the client is gone, or does not read.
    pub(crate) fn say(&self, text: String) -> bool {
        self.to.try_send(Line::new(text, false, &self.unwritten)).is_ok()
    }

    /// The answer.
    pub(crate) fn answer(self, reply: &Reply) {
        // One that does not read is hung up on.
        let _ = self.to.try_send(Line::new(reply.line(), true, &self.unwritten));
    }
}

/// Where requests come from.
#[derive(Debug)]
pub(crate) struct Ears<Q> {
    heard: Receiver<Asked<Q>>,
    mouth: mpsc::Sender<Asked<Q>>,
    bell: Wakeup,
    /// Lines of answer that no client has been sent yet.
    unwritten: Arc<AtomicUsize>,
    /// A socket to be removed in the end.
    path: Option<PathBuf>,
}

impl<Q: DeserializeOwned + Send + 'static> Ears<Q> {
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

    /// Takes requests at a socket of mode 0600, in a directory that not everybody can write.
    pub(crate) fn at(&mut self, path: &Path) -> io::Result<()> {
        place::refuse_public(path)?;
        let listener = holdfast_host::socket::listen(path)?;
        listener.set_nonblocking(false)?;
        self.path = Some(path.to_owned());
        let teller = self.teller();
        start("holdfast-control", move || accept(&listener, &teller))
    }

    /// The next request, if there is one.
    pub(crate) fn next(&self) -> Option<Asked<Q>> {
        self.heard.try_recv().ok()
    }

    /// Whoever asks from within this process.
    pub(crate) fn teller(&self) -> Teller<Q> {
        let (mouth, bell) = (self.mouth.clone(), self.bell.clone());
        let unwritten = Arc::clone(&self.unwritten);
        Teller { mouth, bell, clients: Arc::new(AtomicUsize::new(0)), unwritten }
    }
}

impl<Q> Drop for Ears<Q> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What a thread needs that asks the serving thread.
#[derive(Debug)]
pub(crate) struct Teller<Q> {
    mouth: mpsc::Sender<Asked<Q>>,
    bell: Wakeup,
    clients: Arc<AtomicUsize>,
    unwritten: Arc<AtomicUsize>,
}

impl<Q> Clone for Teller<Q> {
    fn clone(&self) -> Self {
        Self {
            mouth: self.mouth.clone(),
            bell: self.bell.clone(),
            clients: Arc::clone(&self.clients),
            unwritten: Arc::clone(&self.unwritten),
        }
    }
}

/// One of the clients that are counted.
#[derive(Debug)]
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<Q> Teller<Q> {
    /// Room for another client, as long as it is kept; none where there are too many.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let seat = Seat(Arc::clone(&self.clients));
        let before = self.clients.fetch_add(1, Ordering::AcqRel);
        (before < MOST_CLIENTS).then_some(seat)
    }

    /// What a verb says for people, asked of the serving thread; empty once that has ended.
    pub(crate) fn text(&self, request: Q) -> String {
        let line = self.ask(request).and_then(|lines| lines.recv().ok());
        let reply = line.and_then(|line| serde_json::from_str::<Reply>(&line.text).ok());
        reply.map(|reply| reply.into_lines().join("\n") + "\n").unwrap_or_default()
    }

    /// Asks the serving thread; none if it is gone.
    pub(crate) fn ask(&self, request: Q) -> Option<Receiver<Line>> {
        let (to, from) = mpsc::sync_channel(MOST_WAITING);
        let unwritten = Arc::clone(&self.unwritten);
        self.mouth.send(Asked { request, caller: Caller { to, unwritten } }).ok()?;
        self.bell.signal();
        Some(from)
    }
}

/// Starts a thread; nobody waits for its end.
pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

fn accept<Q: DeserializeOwned + Send + 'static>(listener: &UnixListener, teller: &Teller<Q>) {
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

/// Line by line, until the client hangs up or a request ends without an answer.
fn converse<Q: DeserializeOwned>(stream: &UnixStream, teller: &Teller<Q>) -> io::Result<()> {
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
        let mut answered = false;
        for line in lines {
            writer.write_all(line.text.as_bytes())?;
            answered = line.ends;
        }
        if !answered {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_follower_that_lags_too_far_behind_is_hung_up_on() {
        let directory = std::env::temp_dir().join(format!("holdfast-ears-{}", std::process::id()));
        place::make(&directory).unwrap();
        let path = directory.join("socket");
        let mut ears = Ears::<String>::new(Wakeup::new().unwrap());
        ears.at(&path).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        writeln!(client, "\"events\"").unwrap();
        let caller = loop {
            match ears.next() {
                Some(asked) => break asked.caller,
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        let told = json!({ "event": "x".repeat(1000) });
        let heard = (0..100_000).take_while(|_| caller.tell(&told)).count();
        assert!((MOST_WAITING..100_000).contains(&heard), "{heard}");
        drop(caller);
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = String::new();
        BufReader::new(client).read_to_string(&mut said).expect("an end");
        assert_eq!(
            said.lines().count(),
            heard,
            "what was told arrives, and then the connection ends"
        );
        drop(ears);
        std::fs::remove_dir(directory).expect("the socket is gone");
    }
}
