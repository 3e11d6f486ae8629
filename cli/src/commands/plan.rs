//! `holdfast plan`: what an array would be, before creating it.
//!
//! The same arithmetic as `create`, and nothing is written. With `--size` and no members the
//! answer is for the smallest devices that hold that much data each.

use holdfast_core::block::BlockDevice;
use holdfast_host::member::Access;

use crate::blueprint::{self, Blueprint, Device, Naming};
use crate::config::{Plan, Seat};
use crate::exit::{Exit, Failure, Outcome};
use crate::members::{self, World};
use crate::report::Report;

/// Shows the plan.
pub(super) fn run(config: &Plan, report: &Report) -> Outcome {
    let mut new = config.new;
    let seats = match config.new.size_sectors {
        Some(size) if config.seats.is_empty() => {
            if !new.shape.level.is_redundant() {
                // Each member is used in full, so the size is that of the member's data.
                new.size_sectors = None;
            }
            report.note("for the smallest members that hold this much data each");
            blueprint::imagine(&new, size)
        }
        _ => look_at(&config.seats, report)?,
    };
    let plan = blueprint::draft(&new, &seats, Naming::none(), false)?;
    let blueprint = Blueprint::new(&new, &plan, &seats);
    blueprint.lines().into_iter().for_each(|line| report.line(line));
    report.answer(&blueprint);
    Ok(Exit::Good)
}

/// Sizes of the devices named.
fn look_at(seats: &[Seat], report: &Report) -> Result<Vec<Option<Device>>, Failure> {
    let mut world = World::new()?;
    let mut devices = Vec::new();
    for seat in seats {
        let Seat::Device { path, write_mostly } = seat else {
            devices.push(None);
            continue;
        };
        let opened = world.open(std::slice::from_ref(path), Access::Read, report)?;
        devices.extend(opened.into_iter().map(|member| {
            Some(Device {
                name: member.path.display().to_string(),
                sectors: member.disk.geometry().sectors,
                uuid: members::new_uuid(),
                write_mostly: *write_mostly,
            })
        }));
    }
    Ok(devices)
}
