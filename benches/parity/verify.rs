//! Whether a contestant's answers are right: before it is timed, never while.

use holdfast_benches::parity::{Contestant, Op, Pool, Stripe};
use holdfast_raid::parity::reference;

const BLOCK_BYTES: usize = 4096;

/// Examines every operation a contestant has.
///
/// # Panics
/// If an answer is wrong.
pub(crate) fn all(contestant: &dyn Contestant) {
    for op in Op::ALL.into_iter().filter(|&op| contestant.takes(op)) {
        for members in [4, 5, 16] {
            let mut pool = Pool::new(members, BLOCK_BYTES, 0);
            let mut stripes = pool.stripes(op);
            let expected = expected(op, &stripes[0]);
            damage(op, &mut stripes[0]);
            contestant.run(op, &mut stripes[0], 1);
            let name = contestant.name();
            assert!(contents(&stripes[0]) == expected, "{name}: {} of {members}", op.name());
        }
    }
}

/// P, Q and the data where it is rebuilt.
fn contents(stripe: &Stripe<'_>) -> Vec<Vec<u8>> {
    let data = stripe.blocks.iter().map(|block| block.bytes.to_vec());
    data.chain([stripe.p.to_vec(), stripe.q.to_vec()]).collect()
}

/// What the operation should leave behind.
fn expected(op: Op, stripe: &Stripe<'_>) -> Vec<Vec<u8>> {
    if !op.is_update() {
        return contents(stripe);
    }
    let mut sources = stripe.by_exponent.clone();
    sources[stripe.changed()] = Some(stripe.new);
    let (mut p, mut q) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    reference::pq(&mut p, &mut q, &sources);
    if op == Op::XorUpdate {
        q.copy_from_slice(stripe.q);
    }
    vec![p, q]
}

/// Overwrites what the operation is to make.
fn damage(op: Op, stripe: &mut Stripe<'_>) {
    let [x, y] = stripe.lost();
    match op {
        Op::XorGen => stripe.p.fill(0xff),
        Op::PqGen => {
            stripe.p.fill(0xff);
            stripe.q.fill(0xff);
        }
        Op::RecData => stripe.blocks[x].bytes.fill(0xff),
        Op::RecDataP => {
            stripe.blocks[x].bytes.fill(0xff);
            stripe.p.fill(0xff);
        }
        Op::Rec2Data => [x, y].into_iter().for_each(|lost| stripe.blocks[lost].bytes.fill(0xff)),
        Op::XorCheck | Op::XorUpdate | Op::PqCheck | Op::PqUpdate | Op::Locate => {}
    }
}
