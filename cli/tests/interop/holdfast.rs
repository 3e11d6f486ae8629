//! The program under test, as a user runs it: by its command line, in the directory of one case.
//!
//! Every command is kept, so that a failing case can be repeated by hand.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
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
