//! What can be asked on the command line.

use std::path::PathBuf;

use crate::vm::Kind;

pub(crate) const USAGE: &str = "\
usage: interop [--full] [--shard I/N] [--only WORDS] [--machine K] [--jobs N] [--work DIR]
               [--keep DIR] [--list]
  --full        every combination, not only every pair (hours in qemu)
  --shard I/N   every N-th case from the I-th on: N shards together are all of them
  --only WORDS  cases with all these words in their name; repeated: or
  --machine K   qemu, the stock kernel in an emulated PC (default), or uml, the kernel as a process
  --jobs N      machines side by side (default: one per processor)
  --work DIR    images lie in a new directory there while they are needed: a tmpfs spares the disk
  --keep DIR    keep the images of all cases there, not only of those that fail
  --list        say which cases there are, and run none";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) full: bool,
    pub(crate) list: bool,
    only: Vec<String>,
    /// Which of how many shards; both from 1.
    shard: (usize, usize),
    pub(crate) machine: Kind,
    pub(crate) jobs: usize,
    /// Instead of cargo's directory for such things.
    pub(crate) work: Option<PathBuf>,
    pub(crate) keep: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            full: false,
            list: false,
            only: Vec::new(),
            shard: (1, 1),
            machine: Kind::Qemu,
            jobs,
            work: None,
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
                "--work" => options.work = Some(PathBuf::from(value()?)),
                "--shard" => options.shard = parse_shard(value()?)?,
                "--machine" => options.machine = parse_kind(value()?)?,
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

fn parse_kind(word: &str) -> Result<Kind, String> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == word);
    kind.ok_or_else(|| format!("--machine wants qemu or uml, not {word}"))
}

fn parse_shard(word: &str) -> Result<(usize, usize), String> {
    let parts =
        word.split_once('/').and_then(|(shard, of)| Some((shard.parse().ok()?, of.parse().ok()?)));
    parts
        .filter(|&(shard, of): &(usize, usize)| shard >= 1 && shard <= of)
        .ok_or_else(|| format!("--shard wants I/N, as 1/4, not {word}"))
}
