//! What can be asked on the command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: interop [--full] [--only WORDS] [--jobs N] [--keep DIR] [--list]
  --full        every combination, not only every pair (hours)
  --only WORDS  cases with all these words in their name; repeated: or
  --jobs N      machines side by side (default: one per processor)
  --keep DIR    keep the images of all cases there, not only of those that fail
  --list        say which cases there are, and run none";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) full: bool,
    pub(crate) list: bool,
    only: Vec<String>,
    pub(crate) jobs: usize,
    pub(crate) keep: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            full: false,
            list: false,
            only: Vec::new(),
            jobs,
            keep: None,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--full" => options.full = true,
                "--list" => options.list = true,
                "--only" => options.only.push(value()?.clone()),
                "--keep" => options.keep = Some(PathBuf::from(value()?)),
                "--jobs" => {
                    let jobs = value()?.parse().ok().filter(|&jobs| jobs > 0);
                    options.jobs = jobs.ok_or("--jobs wants a number from 1 on")?;
                }
                _ => return Err(format!("{arg} means nothing here")),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        let has_all = |words: &String| words.split_whitespace().all(|word| name.contains(word));
        self.only.is_empty() || self.only.iter().any(has_all)
    }
}
