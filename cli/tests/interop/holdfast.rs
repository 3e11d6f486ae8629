//! The program under test, as a user runs it: by its command line, in the directory of one case.
//!
//! Every command is kept, so that a failing case can be repeated by hand.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::programs::{self, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast");
/// Small arrays: what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct Holdfast {
    dir: PathBuf,
    mdadm: PathBuf,
    commands: Vec<String>,
}

impl Holdfast {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), mdadm: programs::find("mdadm"), commands: Vec::new() }
    }

    /// Runs `holdfast VERB OPTIONS MEMBERS` and demands its exit code; gives what it printed.
    pub(crate) fn run(
        &mut self,
        verb_and_options: &str,
        members: &[String],
        code: i32,
    ) -> Result<String, String> {
        let words = verb_and_options.split_whitespace().chain(members.iter().map(String::as_str));
        self.check(Path::new(PROGRAM).to_owned(), "holdfast", words.collect(), code)
    }

    /// `mdadm --examine` needs neither the kernel nor root, and judges our superblocks before the
    /// kernel does.
    pub(crate) fn mdadm_examine(&mut self, member: &str) -> Result<String, String> {
        self.check(self.mdadm.clone(), "mdadm", vec!["--examine", member], 0)
    }

    /// Runs `holdfast VERB OPTIONS MEMBERS` and kills it once `now` says so; as often as it takes for
    /// `now` to be true afterwards as well.
    pub(crate) fn kill(
        &mut self,
        verb_and_options: &str,
        members: &[String],
        now: impl Fn() -> io::Result<bool>,
    ) -> Result<(), String> {
        let words = verb_and_options.split_whitespace().chain(members.iter().map(String::as_str));
        let line = format!("holdfast {}", words.clone().collect::<Vec<_>>().join(" "));
        self.commands.push(format!("{line} # killed"));
        let said = |e| format!("{line}: {e}");
        for _ in 0..100 {
            let mut command = Command::new(PROGRAM);
            command.args(words.clone()).current_dir(&self.dir).env("XDG_STATE_HOME", &self.dir);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().map_err(said)?;
            while !now().map_err(said)? && child.try_wait().map_err(said)?.is_none() {
                thread::yield_now();
            }
            child.kill().and_then(|()| child.wait()).map_err(said)?;
            if now().map_err(said)? {
                return Ok(());
            }
        }
        Err(format!("{line}: was never killed in the middle of it"))
    }

    fn check(
        &mut self,
        program: PathBuf,
        name: &str,
        words: Vec<&str>,
        code: i32,
    ) -> Result<String, String> {
        let line = format!("{name} {}", words.join(" "));
        self.commands.push(line.clone());
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.dir).env("XDG_STATE_HOME", &self.dir);
        let Output { status, stdout, stderr } =
            programs::run(&mut command, LIMIT).map_err(|e| format!("{line}: {e}"))?;
        if status.code() == Some(code) {
            return Ok(stdout);
        }
        Err(format!("{line}\nended with {status}, wanted {code}\n{stdout}{stderr}"))
    }

    /// Leaves the commands run so far beside the images, after those of an earlier stage.
    pub(crate) fn write_down(&self) {
        let file = OpenOptions::new().create(true).append(true).open(self.dir.join("commands"));
        // only a convenience: the images are there without it
        let _ = file.and_then(|mut file| writeln!(file, "{}", self.commands.join("\n")));
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}
