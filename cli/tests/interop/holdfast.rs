//! The program under test, as a user runs it: by its command line, in the directory of one case.
//!
//! Every command is kept, so that a failing case can be repeated by hand.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast");
/// Small arrays: what takes longer hangs.
const SECONDS: &str = "120";

#[derive(Debug)]
pub(crate) struct Holdfast {
    dir: PathBuf,
    commands: Vec<String>,
}

impl Holdfast {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), commands: Vec::new() }
    }

    /// Runs `holdfast VERB OPTIONS MEMBERS` and demands its exit code; gives what it printed.
    pub(crate) fn run(
        &mut self,
        verb_and_options: &str,
        members: &[String],
        code: i32,
    ) -> Result<String, String> {
        let words = verb_and_options.split_whitespace().chain(members.iter().map(String::as_str));
        self.check(PROGRAM, "holdfast", words.collect(), code)
    }

    /// `mdadm --examine` needs neither the kernel nor root, and judges our superblocks before the
    /// kernel does.
    pub(crate) fn mdadm_examine(&mut self, member: &str) -> Result<String, String> {
        self.check("mdadm", "mdadm", vec!["--examine", member], 0)
    }

    fn check(
        &mut self,
        program: &str,
        name: &str,
        words: Vec<&str>,
        code: i32,
    ) -> Result<String, String> {
        let line = format!("{name} {}", words.join(" "));
        self.commands.push(line.clone());
        let path = std::env::var("PATH").unwrap_or_default();
        let Output { status, stdout, stderr } = Command::new("timeout")
            .arg(SECONDS)
            .arg(program)
            .args(words)
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .current_dir(&self.dir)
            .output()
            .map_err(|e| format!("{line}: {e}"))?;
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        if status.code() == Some(code) {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&stderr);
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
