//! Other people's programs on this machine: where they are, and running one that may hang.
//!
//! The suite starts some thirty processes per case. They are started by their whole path and without
//! an environment of their own, because only then does the standard library spare itself the copying
//! of this process (`posix_spawn` instead of `fork`).

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

/// The whole path of a program; the bare name where it is not found, which then fails to start and
/// says so.
pub(crate) fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrators)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program that is ended when it takes longer than `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (closed, closes) = mpsc::channel();
    let stdout = listen(child.stdout.take(), closed.clone());
    let stderr = listen(child.stderr.take(), closed);
    // both readers are done, and the channel with them, once the program has ended
    let ends = (0..2).all(|_| closes.recv_timeout(limit).is_ok());
    if !ends {
        child.kill()?;
    }
    let said = |reader: thread::JoinHandle<String>| reader.join().expect("readers do not panic");
    let (stdout, stderr) = (said(stdout), said(stderr));
    Ok(Output { status: child.wait()?, stdout, stderr })
}

fn listen(
    pipe: Option<impl Read + Send + 'static>,
    closed: Sender<()>,
) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut said = Vec::new();
        // what was said before a pipe broke is worth showing
        let _ = pipe.expect("it is a pipe").read_to_end(&mut said);
        let _ = closed.send(());
        String::from_utf8_lossy(&said).into_owned()
    })
}
