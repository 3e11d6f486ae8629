//! `--metrics`: the array's figures over HTTP, as far as a scraper needs HTTP.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::control::listen::{PATIENCE, Teller, start};
use crate::control::protocol::Request;

/// Bytes of a request.
const MOST_BYTES: u64 = 64 << 10;

/// Answers from now on. Returns where, with the port it got.
pub(super) fn listen(address: SocketAddr, teller: Teller<Request>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    start("holdfast-metrics", move || accept(&listener, &teller))?;
    Ok(bound)
}

fn accept(listener: &TcpListener, teller: &Teller<Request>) {
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
fn answer_http(mut stream: &TcpStream, teller: &Teller<Request>) -> io::Result<()> {
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
