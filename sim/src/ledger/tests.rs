use super::*;

const A: Value = Value::written(1);
const B: Value = Value::written(2);
const C: Value = Value::written(3);

fn write(ledger: &mut Ledger, value: Value) {
    let id = ledger.submit_write(0, 1, value, false);
    ledger.answer_write(id, true);
}

fn flush(ledger: &mut Ledger) {
    let id = ledger.submit_flush();
    ledger.answer_flush(id);
}

fn read(ledger: &mut Ledger, value: Value) -> Result<(), Wrong> {
    let asked = ledger.moment();
    ledger.read(0, value, asked, true)
}

#[test]
fn an_answered_write_is_what_readers_see() {
    let mut ledger = Ledger::zeroed(2);
    assert_eq!(read(&mut ledger, A), Err(Wrong::Untouched));
    write(&mut ledger, A);
    write(&mut ledger, B);
    assert_eq!(read(&mut ledger, A), Err(Wrong::Lost));
    assert_eq!(read(&mut ledger, crate::content::decode(1, 0, &[7; 512])), Err(Wrong::Invented));
    assert_eq!(read(&mut ledger, B), Ok(()));
}

#[test]
fn writes_in_flight_together_may_end_in_any_order_but_only_once() {
    let mut ledger = Ledger::zeroed(1);
    let a = ledger.submit_write(0, 1, A, false);
    let b = ledger.submit_write(0, 1, B, false);
    assert_eq!(ledger.legal(0), [Value::ZERO, A, B]);
    ledger.answer_write(b, true);
    ledger.answer_write(a, true);
    assert_eq!(ledger.legal(0), [A, B]);
    assert_eq!(read(&mut ledger, A), Ok(()));
    assert_eq!(read(&mut ledger, B), Err(Wrong::Changed));
}

#[test]
fn a_power_cut_takes_back_what_no_flush_has_covered() {
    let mut ledger = Ledger::zeroed(1);
    write(&mut ledger, A);
    flush(&mut ledger);
    write(&mut ledger, B);
    write(&mut ledger, C);
    ledger.submit_write(0, 1, Value::written(4), false);
    ledger.crash(Crash::PowerCut);
    assert_eq!(ledger.legal(0), [A, B, C, Value::written(4)]);
    assert_eq!(read(&mut ledger, B), Ok(()));
    assert_eq!(read(&mut ledger, A), Err(Wrong::Changed));
    ledger.crash(Crash::PowerCut);
    assert_eq!(ledger.legal(0), [B], "read and there since the last crash");
}

#[test]
fn a_killed_process_takes_back_nothing_that_was_answered() {
    let mut ledger = Ledger::zeroed(1);
    write(&mut ledger, A);
    ledger.submit_write(0, 1, B, false);
    ledger.crash(Crash::Kill);
    assert_eq!(ledger.legal(0), [A, B]);
}

#[test]
fn a_power_cut_after_a_kill_takes_back_what_no_flush_has_covered() {
    let mut ledger = Ledger::zeroed(1);
    write(&mut ledger, A);
    ledger.crash(Crash::Kill);
    assert_eq!(read(&mut ledger, A), Ok(()));
    ledger.crash(Crash::Kill);
    assert_eq!(ledger.legal(0), [A], "no cache is lost when a process dies");
    ledger.crash(Crash::PowerCut);
    assert_eq!(ledger.legal(0), [Value::ZERO, A]);
}

#[test]
fn what_was_read_after_a_kill_may_still_sit_in_a_cache() {
    let mut ledger = Ledger::zeroed(1);
    ledger.submit_write(0, 1, A, false);
    ledger.crash(Crash::Kill);
    assert_eq!(read(&mut ledger, A), Ok(()));
    ledger.crash(Crash::PowerCut);
    assert_eq!(ledger.legal(0), [Value::ZERO, A]);
}

#[test]
fn what_a_choice_ruled_out_is_possible_again_once_its_copy_is_gone() {
    use holdfast_raid::{Level, layout::Layout, layout::Shape};
    let (level, raid_disks) = (Level::Raid1, 2);
    let shape = Shape { level, layout: 0, raid_disks, chunk_sectors: 0, member_sectors: 1 };
    let rows = Rows::new(Layout::new(&shape, &[1, 1]).expect("a mirror"));
    let mut torn = RowSet::none(1);
    torn.insert(0);
    let mut ledger = Ledger::zeroed(1);
    write(&mut ledger, A);
    ledger.crash(Crash::PowerCut);
    assert_eq!(read(&mut ledger, A), Ok(()));
    ledger.crash(Crash::PowerCut);
    assert_eq!(ledger.legal(0), [A]);
    ledger.forget_seen(&rows, &torn);
    assert_eq!(ledger.legal(0), [Value::ZERO, A]);
}

#[test]
fn a_flush_after_a_kill_makes_durable_what_was_answered_before() {
    let mut ledger = Ledger::zeroed(1);
    write(&mut ledger, A);
    ledger.crash(Crash::Kill);
    flush(&mut ledger);
    ledger.crash(Crash::PowerCut);
    assert_eq!(ledger.legal(0), [A]);
}

#[test]
fn a_flush_submitted_before_the_answer_covers_nothing() {
    let mut ledger = Ledger::zeroed(1);
    let a = ledger.submit_write(0, 1, A, false);
    let flush = ledger.submit_flush();
    ledger.answer_write(a, true);
    ledger.answer_flush(flush);
    ledger.crash(Crash::PowerCut);
    assert_eq!(ledger.legal(0), [Value::ZERO, A]);
}

#[test]
fn fua_is_durable_at_once() {
    let mut ledger = Ledger::zeroed(1);
    let a = ledger.submit_write(0, 1, A, true);
    ledger.answer_write(a, true);
    ledger.crash(Crash::PowerCut);
    assert_eq!(ledger.legal(0), [A]);
}
