//! A Linux kernel to ask: Debian's own, in a machine of its own, for the length of one job.
//!
//! The job is a shell script built from the steps in `guest/steps.sh`. It talks over the console;
//! lines that begin with `@` are for us. There are two kinds of machine, a file each: an emulated
//! PC, which runs the stock kernel, and the kernel built to run as a process, which is many times
//! as fast. Either way the guest does the same and is judged the same; `setup` provides kernel and
//! root file system; nothing here needs KVM or root.

mod qemu;
mod uml;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");
/// A machine that says nothing for so long hangs: the longest step gives up after half a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// Which machine the kernel runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Qemu,
    Uml,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Qemu, Self::Uml];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Uml => "uml",
        }
    }

    /// Cases per boot: enough that booting does not count, few enough that the last batches end
    /// together.
    pub(crate) fn batch(self) -> usize {
        match self {
            Self::Qemu => 24,
            Self::Uml => 40,
        }
    }

    /// The machine as a process that talks on its standard output and ends with the job. `disks`
    /// are the guest's, in order.
    fn command(self, cache: &Path, disks: [&Path; 2]) -> Command {
        match self {
            Self::Qemu => qemu::command(cache, disks),
            Self::Uml => uml::command(cache, disks),
        }
    }
}

/// Everything a guest needs, made once.
#[derive(Debug)]
pub(crate) struct Machine {
    kind: Kind,
    cache: PathBuf,
    /// What every job brings along: the steps, a program called `tool`, its libraries.
    tools: PathBuf,
}

/// Why there is no machine.
#[derive(Debug)]
pub(crate) enum Unavailable {
    /// This computer cannot provide one; the reason.
    Cannot(String),
    Broken(String),
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    /// It fell silent, and the plug was pulled.
    Silent,
    /// The machine stopped in the middle: a panic, or the emulator itself.
    Died,
}

impl Machine {
    /// Runs `setup` and gathers the tools in `work`: a shell script of steps and a program.
    pub(crate) fn prepare(
        kind: Kind,
        work: &Path,
        steps: &Path,
        program: &Path,
    ) -> Result<Self, Unavailable> {
        let base = cache_dir().ok_or_else(|| {
            Unavailable::Cannot("neither XDG_CACHE_HOME nor HOME is set".to_owned())
        })?;
        let cache = base.join(kind.name());
        // what packages say while they are unpacked is for people: it goes where they see it, the
        // reason comes to us
        let setup = Command::new("bash")
            .arg(format!("{HERE}/setup"))
            .arg(kind.name())
            .arg(&cache)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| Unavailable::Cannot(format!("bash does not start: {e}")))?;
        let said = String::from_utf8_lossy(&setup.stdout);
        let reason = said.lines().next_back().unwrap_or("no reason given").to_owned();
        match setup.status.code() {
            Some(0) => {}
            Some(77) => return Err(Unavailable::Cannot(reason)),
            _ => return Err(Unavailable::Broken(format!("setup failed: {reason}"))),
        }
        let tools = work.join("tools");
        gather_tools(&tools, steps, program)
            .map_err(|e| Unavailable::Broken(format!("{}: {e}", tools.display())))?;
        Ok(Self { kind, cache, tools })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Boots, with `shelf` as the first disk, and runs `script`. `heard` gets every line the job
    /// says. `dir` is for what the machine needs meanwhile.
    pub(crate) fn run(
        &self,
        dir: &Path,
        shelf: &Path,
        script: &str,
        mut heard: impl FnMut(&str),
    ) -> io::Result<Ending> {
        fs::write(dir.join("run"), script)?;
        let job = dir.join("job.tar");
        // the archive is the guest's second disk; tar pads it to whole sectors
        checked(
            Command::new("tar")
                .arg("-cf")
                .arg(&job)
                .arg("-C")
                .arg(&self.tools)
                .arg(".")
                .arg("-C")
                .arg(dir)
                .arg("run"),
        )?;
        let mut machine = Running(
            self.kind
                .command(&self.cache, [shelf, &job])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(File::create(dir.join("machine.log"))?)
                .spawn()?,
        );
        let serial = machine.0.stdout.take().expect("stdout is a pipe");
        let (line, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for bytes in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
                if line.send(String::from_utf8_lossy(&bytes).trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
        let mut ending = Ending::Died;
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(said) if said.starts_with("@done") => ending = Ending::Done,
                Ok(said) => heard(&said),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    ending = Ending::Silent;
                    break;
                }
            }
        }
        drop(machine);
        reader.join().expect("reading the serial line does not panic");
        Ok(ending)
    }
}

/// A machine that is switched off when nobody looks any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // both fail only when it has ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cache_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(base.join("holdfast-interop"))
}

fn gather_tools(tools: &Path, steps: &Path, program: &Path) -> io::Result<()> {
    fs::create_dir_all(tools.join("lib"))?;
    fs::copy(steps, tools.join("steps.sh"))?;
    fs::copy(program, tools.join("tool"))?;
    let listed = checked(Command::new("ldd").arg(program))?;
    for library in listed.split_whitespace().map(Path::new).filter(|word| word.is_absolute()) {
        let name = library.file_name().unwrap_or_else(|| OsStr::new("library"));
        fs::copy(library, tools.join("lib").join(name))?;
    }
    Ok(())
}

fn checked(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}: {said}", output.status)))
}
