//! `--fuse DIR` and `--loop`: the array as a file, and as a block device on top of that file.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use holdfast_host::clock::Wakeup;
use holdfast_host::fuse::{FILE, Front, Shown};
use holdfast_host::nbd::Export;

use crate::control::listen::Teller;
use crate::control::protocol::Request;
use crate::exit::Failure;

/// A mount hides what lies beneath: on a member's own name it would hide the member.
pub(super) fn refuse_occupied(directory: &Path) -> Result<(), Failure> {
    let refused = |why: &dyn std::fmt::Display| {
        Failure::error(format!("--fuse {}: {why}", directory.display()))
    };
    match std::fs::read_dir(directory).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused(&"the directory is not empty; what is in it would be hidden")),
        Err(error) if error.kind() == ErrorKind::NotConnected => {
            Err(refused(&error).hint(format!(
                "a server that died is still mounted there: fusermount3 -u {}",
                directory.display()
            )))
        }
        Err(error) => Err(refused(&error)),
    }
}

/// Mounts the array's file in a directory, with `detail` and `mdstat` beside it.
pub(super) fn mount(
    directory: &Path,
    export: &Export,
    teller: &Teller<Request>,
    bell: Wakeup,
) -> Result<Front, Failure> {
    let text = |request: Request| -> holdfast_host::fuse::Text {
        let teller = teller.clone();
        Box::new(move || teller.text(request.clone()))
    };
    let shown = Shown {
        bytes: export.bytes,
        block_bytes: export.block_bytes,
        read_only: export.read_only,
        texts: vec![("detail", text(Request::Detail {})), ("mdstat", text(Request::Mdstat {}))],
    };
    Front::mount(directory, shown, bell).map_err(|error| {
        let failure = Failure::error(format!("--fuse {}: {error}", directory.display()));
        match error.kind() {
            ErrorKind::NotFound if directory.is_dir() => {
                failure.hint("without root fusermount3 does the mounting: install fuse3")
            }
            _ => failure,
        }
    })
}

/// A run of `losetup`, which reads what the serving thread serves: it must not be waited for.
#[derive(Debug)]
pub(super) struct Losetup {
    child: Child,
}

impl Losetup {
    /// Attaches the next free loop device to the file in `directory`.
    pub(super) fn attach(directory: &Path, export: &Export) -> Result<Self, Failure> {
        let mut command = Command::new("losetup");
        command.args(["--find", "--show", "--sector-size", &export.block_bytes.to_string()]);
        if export.read_only {
            command.arg("--read-only");
        }
        Self::start(command.arg(directory.join(FILE)))
    }

    /// Detaches a loop device, now or when nobody uses it any more.
    pub(super) fn detach(device: &Path) -> Result<Self, Failure> {
        Self::start(Command::new("losetup").arg("--detach").arg(device))
    }

    fn start(command: &mut Command) -> Result<Self, Failure> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child
            .spawn()
            .map_err(|error| Failure::error(format!("--loop: losetup cannot be run: {error}")))?;
        Ok(Self { child })
    }

    /// Whether it has ended, and how.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it said: the device it attached.
    pub(super) fn device(mut self, status: ExitStatus) -> Result<PathBuf, Failure> {
        let read = |pipe: Option<&mut dyn Read>| {
            let mut text = String::new();
            pipe.map(|pipe| pipe.read_to_string(&mut text));
            text.trim().to_owned()
        };
        let said = read(self.child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
        let complaint = read(self.child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
        if status.success() {
            return Ok(PathBuf::from(said));
        }
        Err(Failure::error(format!("--loop: {complaint}"))
            .hint("loop devices are root's; the file can be used without one"))
    }
}
