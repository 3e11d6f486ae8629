//! One case being carried out: its directory, its members, and what both directions share.
//!
//! Either way the members are files `0.img`, `1.img`, … in the directory of the case, go onto the
//! shelf as they are (a missing file is a blank disk), and come back from it after the guest has
//! run.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::content::Content;
use crate::course::Course;
use crate::holdfast::Holdfast;
use crate::matrix::{Case, Direction, Guard, Special, State};
use crate::shelf::{Place, Shelf};
use crate::{from_kernel, to_kernel};

/// Why a case failed, for people.
pub(crate) type Failure = String;

#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) case: Case,
    pub(crate) dir: PathBuf,
    pub(crate) members: Vec<Member>,
    pub(crate) course: Course,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) file: String,
    pub(crate) bytes: u64,
}

impl Trial {
    pub(crate) fn new(case: Case, work: &Path) -> Self {
        let course = Course::new(&case);
        let devices = case.shape.members + course.extra_devices();
        let member = |i| Member { file: format!("{i}.img"), bytes: member_bytes(&case, i) };
        let dir = work.join(case.name());
        Self { case, dir, members: (0..devices).map(member).collect(), course }
    }

    /// What happens on this machine before the guest boots; from the beginning, if it has been
    /// tried before.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        let _ = fs::remove_dir_all(&self.dir);
        fs::create_dir_all(&self.dir).map_err(|e| format!("{}: {e}", self.dir.display()))?;
        match self.case.direction {
            Direction::ToKernel => to_kernel::prepare(self),
            Direction::FromKernel => Ok(()),
        }
    }

    /// Gives every member its place.
    pub(crate) fn put_on(&self, shelf: &mut Shelf) -> Result<Vec<Place>, Failure> {
        let put = |member: &Member| {
            shelf
                .put(&self.dir.join(&member.file), member.bytes)
                .map_err(|e| format!("putting {} on the shelf: {e}", member.file))
        };
        self.members.iter().map(put).collect()
    }

    /// The guest's part, as lines of its job.
    pub(crate) fn steps(&self, number: usize, places: &[Place]) -> String {
        let devices: Vec<_> = places.iter().map(Place::device).collect();
        let steps = match self.case.direction {
            Direction::ToKernel => to_kernel::steps(self, &devices),
            Direction::FromKernel => from_kernel::steps(self, &devices),
        };
        let mut lines = format!("begin {} {number}\n", self.case.name());
        for step in std::iter::once(self.needed_module()).chain(steps) {
            lines += &format!("step {step}\n");
        }
        lines + "end\n"
    }

    /// What happens on this machine afterwards.
    pub(crate) fn conclude(&self, shelf: &Shelf, places: &[Place]) -> Result<(), Failure> {
        for (member, place) in self.members.iter().zip(places) {
            shelf
                .take(*place, &self.dir.join(&member.file))
                .map_err(|e| format!("taking {} from the shelf: {e}", member.file))?;
        }
        let mut holdfast = Holdfast::new(&self.dir);
        let concluded = match self.case.direction {
            Direction::ToKernel => to_kernel::conclude(self, &mut holdfast),
            Direction::FromKernel => from_kernel::conclude(self, &mut holdfast, |holdfast| {
                for (member, place) in self.members.iter().zip(places) {
                    let image = holdfast.dir().join(&member.file);
                    if !shelf.agrees(*place, &image).map_err(|e| format!("{}: {e}", member.file))? {
                        return Err(format!("{} is no longer what the kernel wrote", member.file));
                    }
                }
                Ok(())
            }),
        };
        concluded.inspect_err(|_| holdfast.write_down())
    }

    /// The devices given when the array is assembled: all that take part and, perhaps, those that
    /// no longer do.
    pub(crate) fn present(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|&i| self.course.is_present(i)).collect()
    }

    pub(crate) fn file(&self, device: usize) -> String {
        self.members[device].file.clone()
    }

    pub(crate) fn spare_device(&self) -> Option<usize> {
        self.course.spare_device(self.case.shape.members)
    }

    /// What is present, as files, and in no particular order.
    pub(crate) fn present_files(&self) -> Vec<String> {
        let mut files: Vec<_> = self.present().into_iter().map(|i| self.file(i)).collect();
        let turn = self.case.draw("order", files.len());
        files.rotate_left(turn);
        if self.case.draw("reverse", 2) == 0 {
            files.reverse();
        }
        files
    }

    /// How many slots stay empty, as sysfs counts.
    pub(crate) fn degraded(&self) -> usize {
        match self.case.state {
            State::Degraded | State::HalfRebuilt | State::Dirty => self.course.lost.len(),
            State::Healthy | State::Rebuilt => 0,
        }
    }

    /// Reads the whole array with holdfast and compares it with what was written in so many rounds.
    pub(crate) fn read_back(
        &self,
        holdfast: &mut Holdfast,
        members: &[String],
        ours: u32,
        rounds: u32,
    ) -> Result<(), Failure> {
        holdfast.run("read --output read.bin", members, 0)?;
        let path = self.dir.join("read.bin");
        let content = |bytes| self.case.recipe(ours).content(rounds, bytes);
        compare(&path, content).map_err(|wrong| format!("holdfast read: {wrong}"))?;
        fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn needed_module(&self) -> String {
        let module = match self.case.shape.level {
            "raid4" | "raid5" | "raid6" => "raid456",
            level => level,
        };
        format!("need {module}")
    }
}

/// Some 2 to 5 MiB for data, so that every layout comes round at least once; an odd number of sectors
/// at the end, and a little more on some members than on others; most on a spare, which must not be
/// too small.
fn member_bytes(case: &Case, member: usize) -> u64 {
    const MIB: u64 = 1 << 20;
    // the log takes a MiB
    let log = if case.guard == Guard::Ppl { 3 * MIB } else { 0 };
    let whole = match (case.shape.special, case.chunk_kib) {
        (Special::MixedSizes, _) => [5 * MIB, 8 * MIB, 6 * MIB, 8 * MIB][member % 4],
        (_, Some(512)) => 6 * MIB,
        _ => 7 * MIB / 2,
    };
    let tail = case.draw("tail", 40) * 512;
    let spare = member >= case.shape.members;
    let extra = if spare { 3 } else { case.draw(&format!("extra {member}"), 3) } * 4096;
    whole + log + (tail + extra) as u64
}

fn compare(path: &Path, content: impl Fn(u64) -> Content) -> Result<(), String> {
    let said = |e| format!("{}: {e}", path.display());
    let file = File::open(path).map_err(said)?;
    let bytes = file.metadata().map_err(said)?.len();
    let content = content(bytes);
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while at < bytes {
        let n = (bytes - at).min(buffer.len() as u64);
        let piece = &mut buffer[..n as usize];
        file.read_exact_at(piece, at).map_err(said)?;
        if let Some(at) = content.first_difference(at, piece) {
            return Err(format!("of {bytes} bytes the first wrong one is {at}"));
        }
        at += n;
    }
    Ok(())
}
