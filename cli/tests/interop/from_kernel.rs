//! Arrays made and written by the kernel, which holdfast has to understand.
//!
//! There: mdadm creates (or sysfs, for the layouts it has no name for), a round is written, a
//! member lost, another round written, a spare filled whole or half. Here: holdfast reads the same
//! bytes and leaves the images alone; what the kernel left undone it finishes, and the array is
//! then in sync.

use crate::course::Spare;
use crate::holdfast::Holdfast;
use crate::matrix::{Guard, Special, State};
use crate::trial::{Failure, Trial};

fn rounds(trial: &Trial) -> u32 {
    match trial.case.state {
        State::Healthy => 1,
        State::Degraded | State::Dirty => 2,
        State::Rebuilt | State::HalfRebuilt => 3,
    }
}

pub(crate) fn steps(trial: &Trial, devices: &[String]) -> Vec<String> {
    let recipe = trial.case.recipe(0);
    let write = |round: u32| format!("tool write $md {recipe} {round}");
    let verify = |rounds: u32| format!("tool verify $md {recipe} {rounds}");
    let lost: Vec<_> = trial.course.lost.iter().map(|&i| &devices[i]).collect();
    let lose = || lost.iter().map(|device| format!("lose {device}"));
    let spare = || trial.spare_device().map(|i| &devices[i]);
    let halt = "halt".to_owned();

    let mut steps = create(trial, devices);
    steps.extend(["settle 0".to_owned(), write(0)]);
    match trial.case.state {
        State::Healthy => {
            steps.push(verify(1));
            steps.extend(trial.case.shape.redundant().then(|| "scrub".to_owned()));
            steps.push(halt);
        }
        State::Degraded => {
            steps.extend(lose());
            steps.extend([write(1), verify(2), format!("settle {}", lost.len()), halt]);
        }
        State::Rebuilt => {
            if trial.course.spare == Some(Spare::Hot) {
                steps.extend([format!("mdadm $md --fail {}", lost[0]), write(1)]);
            } else {
                steps.extend(lose());
                steps.push(write(1));
                steps.extend(spare().map(|spare| format!("mdadm $md --add {spare}")));
            }
            let settle = "settle 0".to_owned();
            steps.extend([settle, write(2), verify(3), "scrub".to_owned(), halt]);
        }
        State::HalfRebuilt => {
            let chunk = trial.case.chunk_sectors();
            steps.extend(lose());
            steps.push(write(1));
            steps.extend(spare().map(|spare| format!("half_rebuild {chunk} {spare}")));
            steps.extend([write(2), verify(3), halt]);
            steps.extend(spare().map(|spare| format!("holds_half_rebuilt {spare}")));
        }
        State::Dirty => {
            steps.extend(["stay_dirty".to_owned(), write(1), verify(2)]);
            steps.push("is array_state active".to_owned());
        }
    }
    steps
}

fn create(trial: &Trial, devices: &[String]) -> Vec<String> {
    let case = &trial.case;
    let n = case.shape.members;
    let chunk = case.chunk_kib.map(|kib| format!(" --chunk={kib}")).unwrap_or_default();
    let members = devices[..n].join(" ");
    let create = format!(
        "mdadm --create $md --run --level={} --raid-devices={n}{chunk} --metadata={} --name=interop \
         --homehost=any",
        case.shape.level, case.metadata,
    );
    if let Special::Numbered(number) = case.shape.special {
        // any layout will do to have superblocks made; no sync of what is about to be taken apart
        let bytes = case.chunk_kib.unwrap_or(0) << 10;
        let level = case.shape.level;
        let by_sysfs =
            format!("make_by_sysfs {level} {number} {bytes} {} {members}", case.metadata);
        let mut steps = vec![
            format!("{create} --layout=n2 --assume-clean --bitmap=none {members}"),
            "halt".to_owned(),
            by_sysfs,
            "settle 0".to_owned(),
        ];
        if case.guard == Guard::Bitmap {
            // the kernel learns the array's uuid, which a bitmap needs, only when it is assembled
            steps.push("halt".to_owned());
            steps.push(format!("mdadm --assemble $md {members}"));
            steps.push("mdadm --grow $md --bitmap=internal --bitmap-chunk=64K".to_owned());
        }
        return steps;
    }
    let mut options = String::new();
    if !case.shape.layout.is_empty() {
        options += &format!(" --layout={}", case.shape.layout);
    }
    match case.guard {
        _ if !case.shape.redundant() => {}
        Guard::None => options += " --bitmap=none",
        Guard::Ppl => options += " --consistency-policy=ppl",
        Guard::Bitmap => options += " --bitmap=internal --bitmap-chunk=64K",
    }
    if trial.course.spare == Some(Spare::Hot) {
        options += &format!(" --spare-devices=1 {members} {}", devices[n]);
    } else {
        options += &format!(" {members}");
    }
    vec![create + &options]
}

/// `untouched` fails when an image is not what the kernel left.
pub(crate) fn conclude(
    trial: &Trial,
    holdfast: &mut Holdfast,
    untouched: impl Fn(&Holdfast) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let members = trial.present_files();
    if trial.case.state == State::Dirty
        && !holdfast.mdadm_examine(&members[0])?.contains("State : active")
    {
        return Err("the power did not go in time: the array is clean".to_owned());
    }
    let read = |holdfast: &mut Holdfast| trial.read_back(holdfast, &members, 0, rounds(trial));
    read(holdfast)?;
    untouched(holdfast)?;
    let degraded = i32::from(trial.degraded() > 0);
    if trial.case.state == State::Dirty && trial.case.guard == Guard::Ppl {
        // whoever does not come back, and without force
        for member in &members {
            let left: Vec<_> = members.iter().filter(|other| *other != member).cloned().collect();
            trial.read_back(holdfast, &left, 0, rounds(trial))?;
        }
        untouched(holdfast)?;
    }
    match trial.case.state {
        State::HalfRebuilt | State::Dirty => {
            holdfast.run("rebuild", &members, 0)?;
            holdfast.run("check", &members, 0)?;
            read(holdfast)
        }
        _ if trial.case.shape.redundant() => holdfast.run("check", &members, degraded).map(drop),
        _ => Ok(()),
    }
}
