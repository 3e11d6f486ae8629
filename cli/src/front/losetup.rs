//! `--loop`: a block device on top of the file.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use holdfast_host::nbd::Export;

use crate::exit::Failure;

/// A run of `losetup`, which reads what the serving thread serves: it must not be waited for.
#[derive(Debug)]
pub(crate) struct Losetup {
    child: Child,
}

impl Losetup {
    /// Attaches the next free loop device to the file.
    pub(crate) fn attach(file: &Path, export: &Export) -> Result<Self, Failure> {
        let mut command = Command::new("losetup");
        command.args(["--find", "--show", "--sector-size", &export.block_bytes.to_string()]);
        if export.read_only {
            command.arg("--read-only");
        }
        Self::start(command.arg(file))
    }

    /// Detaches a loop device, now or when nobody uses it any more.
    pub(crate) fn detach(device: &Path) -> Result<Self, Failure> {
        Self::start(Command::new("losetup").arg("--detach").arg(device))
    }

    fn start(command: &mut Command) -> Result<Self, Failure> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child
            .spawn()
            .map_err(|error| Failure::error(format!("--loop: losetup cannot be run: {error}")))?;
        Ok(Self { child })
    }

    /// Serves on, turn by turn, until it has ended; the device it attached.
    pub(crate) fn wait(
        mut self,
        mut turn: impl FnMut() -> Result<(), Failure>,
    ) -> Result<PathBuf, Failure> {
        loop {
            if let Some(status) = self.child.try_wait().ok().flatten() {
                return self.device(status);
            }
            turn()?;
        }
    }

    /// What it said: the device it attached.
    fn device(mut self, status: ExitStatus) -> Result<PathBuf, Failure> {
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
