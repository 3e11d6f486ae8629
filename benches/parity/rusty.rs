//! The crate `rusty_erasure`: ISA-L's functions written anew in Rust, with AVX2.

use holdfast_benches::parity::{Contestant, Op, Stripe};
use rusty_erasure::{isal, raid};

use crate::rebuild::Rebuild;

/// The crate.
pub(crate) struct Rusty;

/// Bytes of table per coefficient.
const TABLE: usize = 32;

impl Contestant for Rusty {
    fn name(&self) -> &str {
        "rusty_erasure"
    }

    /// Its checks and updates are not written for vectors.
    fn takes(&self, op: Op) -> bool {
        matches!(op, Op::XorGen | Op::PqGen | Op::Rec2Data)
    }

    fn run(&self, op: Op, stripe: &mut Stripe<'_>, times: u32) {
        match op {
            Op::XorGen => (0..times).for_each(|_| {
                raid::xor_gen(&stripe.sources, stripe.p).expect("blocks of one length");
            }),
            Op::PqGen => (0..times).for_each(|_| {
                raid::pq_gen(&stripe.sources, stripe.p, stripe.q).expect("blocks of one length");
            }),
            _ => rebuild(stripe, times),
        }
    }
}

fn rebuild(stripe: &mut Stripe<'_>, times: u32) {
    let (lost, members) = (stripe.lost(), stripe.blocks.len());
    let rows = Rebuild::new(Op::Rec2Data, members, lost).rows;
    let mut tables = vec![0; rows.len() * TABLE];
    isal::ec_init_tables(members, 2, &rows, &mut tables).expect("room for the tables");
    let mut sources: Vec<&[u8]> = Vec::new();
    let mut results: Vec<&mut [u8]> = Vec::new();
    for (index, block) in stripe.blocks.iter_mut().enumerate() {
        match lost.contains(&index) {
            true => results.push(&mut *block.bytes),
            false => sources.push(&*block.bytes),
        }
    }
    sources.extend([&*stripe.p, &*stripe.q]);
    for _ in 0..times {
        let bytes = sources[0].len();
        isal::ec_encode_data(bytes, members, 2, &tables, &sources, &mut results)
            .expect("blocks of one length");
    }
}
