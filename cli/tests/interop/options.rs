//! What can be asked on the command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: interop [--full] [--shard I/N] [--only WORDS] [--jobs N] [--keep DIR] [--list]
  --full        every combination, not only every pair (hours)
  --shard I/N   every N-th case from the I-th on: N shards together are all of them
  --only WORDS  cases with all these words in their name; repeated: or
  --jobs N      machines side by side (default: one per processor)
  --keep DIR    keep the images of all cases there, not only of those that fail
  --list        say which cases there are, and run none";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) full: bool,
    pub(crate) list: bool,
    only: Vec<String>,
    /// Which of how many shards; both from 1.
    shard: (usize, usize),
    pub(crate) jobs: usize,
    pub(crate) keep: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options =
            Self { full: false, list: false, only: Vec::new(), shard: (1, 1), jobs, keep: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--full" => options.full = true,
                "--list" => options.list = true,
                "--only" => options.only.push(value()?.clone()),
                "--keep" => options.keep = Some(PathBuf::from(value()?)),
                "--shard" => options.shard = parse_shard(value()?)?,
                "--jobs" => {
                    let jobs = value()?.parse().ok().filter(|&jobs| jobs > 0);
                    options.jobs = jobs.ok_or("--jobs wants a number from 1 on")?;
                }
                _ => return Err(format!("{arg} means nothing here")),
            }
        }
        Ok(options)
    }

    /// Whether this run is to judge the case with this number and name.
    pub(crate) fn wants(&self, number: usize, name: &str) -> bool {
        let (shard, shards) = self.shard;
        let has_all = |words: &String| words.split_whitespace().all(|word| name.contains(word));
        number % shards == shard - 1 && (self.only.is_empty() || self.only.iter().any(has_all))
    }
}

fn parse_shard(word: &str) -> Result<(usize, usize), String> {
    let parts =
        word.split_once('/').and_then(|(shard, of)| Some((shard.parse().ok()?, of.parse().ok()?)));
    parts
        .filter(|&(shard, of): &(usize, usize)| shard >= 1 && shard <= of)
        .ok_or_else(|| format!("--shard wants I/N, as 1/4, not {word}"))
}
