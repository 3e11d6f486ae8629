//! Arrays made and written by holdfast, which the kernel has to take.
//!
//! Here: create, write, perhaps lose a member, write again, perhaps rebuild onto a spare, write
//! once more. mdadm finds every checksum right. There: the kernel assembles, has nothing to
//! complain of and nothing to resync, reads the same bytes, finds parity and mirrors true. Then it
//! writes a round of its own, and holdfast reads that.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::slice;

use crate::content::Layer;
use crate::course::{Course, Loss, Spare};
use crate::holdfast::Holdfast;
use crate::matrix::{Guard, Special, State};
use crate::trial::{Failure, Trial};

/// Rounds of writing by holdfast.
fn rounds(trial: &Trial) -> u32 {
    match trial.case.state {
        State::Healthy | State::Dirty => 1,
        State::Degraded if trial.course.loss == Loss::Missing => 1,
        State::Degraded => 2,
        State::Rebuilt => 3,
        State::HalfRebuilt => unreachable!("only the kernel makes these"),
    }
}

pub(crate) fn prepare(trial: &Trial) -> Result<(), Failure> {
    let mut holdfast = Holdfast::new(&trial.dir);
    let prepared = make(trial, &mut holdfast);
    holdfast.write_down();
    prepared
}

fn make(trial: &Trial, holdfast: &mut Holdfast) -> Result<(), Failure> {
    let mut array = Making::create(trial, holdfast)?;
    array.write(0)?;
    match trial.case.state {
        State::Healthy => {}
        State::Degraded if trial.course.loss == Loss::Missing => {}
        State::Degraded => {
            array.lose()?;
            array.write(1)?;
        }
        State::Rebuilt => {
            array.lose()?;
            array.write(1)?;
            array.replace()?;
            array.write(2)?;
        }
        State::Dirty => {
            array.write_and_die(1)?;
            array.lose()?;
            return array.examine();
        }
        State::HalfRebuilt => unreachable!("only the kernel makes these"),
    }
    array.examine()?;
    trial.read_back(holdfast, &trial.present_files(), rounds(trial), rounds(trial))
}

/// An array in the making, and the members it has at the moment.
struct Making<'a> {
    trial: &'a Trial,
    holdfast: &'a mut Holdfast,
    members: Vec<String>,
}

impl<'a> Making<'a> {
    fn create(trial: &'a Trial, holdfast: &'a mut Holdfast) -> Result<Self, Failure> {
        for member in &trial.members {
            File::create(trial.dir.join(&member.file))
                .and_then(|file| file.set_len(member.bytes))
                .map_err(|e| format!("{}: {e}", member.file))?;
        }
        let Course { lost, loss, spare, .. } = &trial.course;
        let slot = |i| {
            let missing = *loss == Loss::Missing && lost.contains(&i);
            if missing { "missing".to_owned() } else { trial.file(i) }
        };
        let mut members: Vec<_> = (0..trial.case.shape.members).map(slot).collect();
        if *spare == Some(Spare::Hot) {
            members.extend(trial.spare_device().map(|i| trial.file(i)));
        }
        holdfast.run(&create_options(trial), &members, 0)?;
        members.retain(|member| member != "missing");
        Ok(Self { trial, holdfast, members })
    }

    /// One round: every layer by a command of its own.
    fn write(&mut self, round: u32) -> Result<(), Failure> {
        let bytes = self.array_bytes()?;
        let recipe = self.trial.case.recipe(rounds(self.trial));
        for (i, layer) in recipe.layers(round, bytes).iter().enumerate() {
            let input = format!("round-{round}-{i}.bin");
            let path = self.trial.dir.join(&input);
            let said = |e| format!("{input}: {e}");
            let Layer { at, .. } = *layer;
            let mut data = vec![0; layer.len as usize];
            layer.render(at, &mut data);
            fs::write(&path, data).map_err(said)?;
            let write = format!("write --offset {at} --input {input}");
            self.holdfast.run(&write, &self.members, 0)?;
            fs::remove_file(&path).map_err(said)?;
        }
        Ok(())
    }

    /// Begins a round with other bytes, and is killed in the middle.
    fn write_and_die(&mut self, round: u32) -> Result<(), Failure> {
        let bytes = self.array_bytes()?;
        let layers = self.trial.case.recipe(rounds(self.trial)).layers(round, bytes);
        let Layer { at, len, .. } = *layers.iter().max_by_key(|layer| layer.len).expect("a round");
        let first = self.trial.dir.join(&self.members[0]);
        let place = match self.trial.case.metadata {
            "1.0" => (self.trial.members[0].bytes / 512 - 16) / 8 * 4096,
            "1.1" => 0,
            _ => 4096,
        };
        // the resync offset: zero while a write may be under way
        let dirty = || {
            let mut field = [1; 8];
            let file = File::open(&first)?;
            file.read_exact_at(&mut field, place + 208).map(|()| field == [0; 8])
        };
        let junk = self.trial.dir.join("junk.bin");
        let said = |e| format!("junk.bin: {e}");
        fs::write(&junk, vec![0x5a; len as usize]).map_err(said)?;
        let write = format!("write --offset {at} --input junk.bin");
        self.holdfast.kill(&write, &self.members, dirty)?;
        fs::remove_file(&junk).map_err(said)
    }

    /// Whether the array is degraded decides the exit code of `detail`; the size it says either
    /// way.
    fn array_bytes(&mut self) -> Result<u64, Failure> {
        let detail = self
            .holdfast
            .run("detail --json", &self.members, 0)
            .or_else(|_| self.holdfast.run("detail --json", &self.members, 1))?;
        let value: serde_json::Value =
            serde_json::from_str(&detail).map_err(|e| format!("detail --json: {e}\n{detail}"))?;
        let bytes = value["array_bytes"].as_u64();
        bytes.ok_or_else(|| format!("detail --json says no array_bytes:\n{detail}"))
    }

    fn lose(&mut self) -> Result<(), Failure> {
        let Course { lost, loss, .. } = &self.trial.course;
        for &slot in lost.iter().filter(|_| *loss == Loss::Failed) {
            let file = self.trial.file(slot);
            self.holdfast.run(&format!("fail --member slot:{slot}"), &self.members, 0)?;
            self.holdfast.run(&format!("remove --member {file}"), &self.members, 0)?;
        }
        self.members.retain(|member| lost.iter().all(|&slot| self.trial.file(slot) != *member));
        Ok(())
    }

    fn replace(&mut self) -> Result<(), Failure> {
        let spare = self.trial.spare_device().map(|i| self.trial.file(i));
        if let Some(spare) = spare.filter(|spare| !self.members.contains(spare)) {
            if self.trial.course.spare == Some(Spare::Returned) {
                self.holdfast.run("zero-superblock", slice::from_ref(&spare), 0)?;
            }
            self.holdfast.run(&format!("add --member {spare}"), &self.members, 0)?;
            self.members.push(spare);
        }
        self.holdfast.run("rebuild", &self.members, 0).map(drop)
    }

    /// What mdadm thinks of every superblock.
    fn examine(&mut self) -> Result<(), Failure> {
        for member in &self.members {
            let examined = self.holdfast.mdadm_examine(member)?;
            let right = |line: &str| line.contains("Checksum : ") && line.ends_with(" - correct");
            if !examined.lines().any(right) {
                return Err(format!("mdadm --examine {member}: no right checksum\n{examined}"));
            }
        }
        Ok(())
    }
}

fn create_options(trial: &Trial) -> String {
    let case = &trial.case;
    let mut options = format!(
        "create --level {} --raid-devices {} --metadata {} --name interop",
        case.shape.level, case.shape.members, case.metadata,
    );
    match case.shape.special {
        Special::Numbered(number) => options += &format!(" --layout {number:#x}"),
        _ if case.shape.layout.is_empty() => {}
        _ => options += &format!(" --layout {}", case.shape.layout),
    }
    if let Some(kib) = case.chunk_kib {
        options += &format!(" --chunk {kib}K");
    }
    match case.guard {
        _ if !case.shape.redundant() => {}
        Guard::None => options += " --bitmap none",
        Guard::Ppl => options += " --consistency-policy ppl",
        // a bit for everything, or many
        Guard::Bitmap => {
            options += " --bitmap internal";
            options += ["", " --bitmap-chunk 64K"][case.draw("bitmap chunk", 2)];
        }
    }
    if trial.course.spare == Some(Spare::Hot) {
        options += " --spare-devices 1";
    }
    options
}

pub(crate) fn steps(trial: &Trial, devices: &[String]) -> Vec<String> {
    let present: Vec<_> = trial.present().into_iter().map(|i| devices[i].as_str()).collect();
    let written = rounds(trial);
    let recipe = trial.case.recipe(written);
    let degraded = trial.degraded();
    let mut steps = vec![
        format!("mdadm --assemble --run $md {}", present.join(" ")),
        format!("settle {degraded}"),
    ];
    if trial.case.state != State::Dirty {
        steps.push("no_complaint".to_owned());
        steps.push(format!("tool verify $md {recipe} {written}"));
    }
    if trial.case.shape.redundant() && degraded == 0 {
        steps.push("scrub".to_owned());
    }
    steps.push(format!("tool write $md {recipe} {written}"));
    steps.push(format!("tool verify $md {recipe} {}", written + 1));
    steps.push("halt".to_owned());
    steps
}

pub(crate) fn conclude(trial: &Trial, holdfast: &mut Holdfast) -> Result<(), Failure> {
    let members = trial.present_files();
    let written = rounds(trial);
    trial.read_back(holdfast, &members, written, written + 1)?;
    if trial.case.shape.redundant() {
        holdfast.run("check", &members, i32::from(trial.degraded() > 0))?;
    }
    Ok(())
}
