//! `holdfast bond run`: makes a bond and runs it until told to stop.
//!
//! SIGTERM, SIGINT and `bond stop` let every member go and put it back as it was, exit 0. A second
//! signal ends it at once, as a crash would; then `bond cleanup` puts back what is left.

use serde::Serialize;

use crate::bond::driver::Driver;
use crate::bond::view::View;
use crate::commands::serve::signals::{Signals, Wish};
use crate::config::bond::Run;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    view: &'a View,
}

/// Runs until told to stop.
pub(super) fn run(config: &Run, report: &Report) -> Outcome {
    let mut said = Vec::new();
    let started = Driver::start(&config.plan, &mut said);
    said.iter().for_each(|line| report.note(line));
    let mut driver = started?;
    let mut signals = match Signals::listen(driver.wakeup()) {
        Ok(signals) => signals,
        Err(error) => {
            driver.stop();
            return Err(Failure::error(format!("cannot listen for signals: {error}")));
        }
    };
    announce(&driver, config, report);
    let ended = attend(&mut driver, &mut signals, config.quiet, report);
    if let Ok(Wish::Quit) = ended {
        return Err(Failure::error("stopped at once: members are left as they are")
            .hint("holdfast bond cleanup puts them back as they were"));
    }
    let left = driver.stop();
    if let Err(error) = ended {
        return Err(Failure::error(format!("waiting for frames: {error}")));
    }
    if left.is_empty() {
        report.line("stopped; members are as they were");
        return Ok(Exit::Good);
    }
    left.iter().for_each(|line| report.note(line));
    Err(Failure::error("stopped; not everything could be put back as it was"))
}

fn announce(driver: &Driver, config: &Run, report: &Report) {
    let view = driver.view();
    view.lines().into_iter().for_each(|line| report.line(line));
    if !config.quiet {
        report.line("SIGTERM or Ctrl-C stops it and puts its members back as they were");
    }
    report.answer(&Answer { view: &view });
}

/// Turn after turn, until told to stop.
fn attend(
    driver: &mut Driver,
    signals: &mut Signals,
    quiet: bool,
    report: &Report,
) -> std::io::Result<Wish> {
    loop {
        for told in driver.take_news() {
            if !quiet {
                report.stream(&told, &told);
            }
        }
        match signals.wish() {
            Wish::GoOn if driver.is_stopping() => return Ok(Wish::Stop),
            Wish::GoOn => {}
            wish => return Ok(wish),
        }
        driver.turn()?;
    }
}
