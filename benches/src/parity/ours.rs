//! The engines of `holdfast_raid::parity` as contestants.

use std::hint::black_box;

use holdfast_raid::parity::{Blocks, Engine, Lost};

use super::contest::Contestant;
use super::op::Op;
use super::stripe::Stripe;

/// An engine of this CPU.
#[derive(Clone, Copy, Debug)]
pub struct Ours {
    engine: &'static Engine,
    streamed: bool,
}

impl Contestant for Ours {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn takes(&self, _: Op) -> bool {
        true
    }

    fn run(&self, op: Op, stripe: &mut Stripe<'_>, times: u32) {
        for _ in 0..times {
            self.once(op, stripe);
        }
    }
}

impl Ours {
    /// As results are computed that will be read soon.
    pub fn cached(engine: &'static Engine) -> Self {
        Self { engine, streamed: false }
    }

    /// As results are computed that will not be.
    pub fn streamed(engine: &'static Engine) -> Self {
        Self { engine, streamed: true }
    }

    fn once(self, op: Op, stripe: &mut Stripe<'_>) {
        let engine = self.engine;
        let (block, exponent) = (stripe.changed(), stripe.changed() as u32);
        match op {
            Op::XorGen if self.streamed => engine.xor_streamed(stripe.p, &stripe.sources),
            Op::XorGen => engine.xor(stripe.p, &stripe.sources),
            Op::XorCheck => {
                black_box(engine.xor_mismatch(stripe.p, &stripe.sources));
            }
            Op::XorUpdate => engine.xor_into(stripe.p, &[stripe.sources[block], stripe.new]),
            Op::PqGen if self.streamed => {
                engine.pq_streamed(stripe.p, stripe.q, &stripe.by_exponent);
            }
            Op::PqGen => engine.pq(stripe.p, stripe.q, &stripe.by_exponent),
            Op::PqCheck => {
                black_box(engine.pq_mismatch(stripe.p, stripe.q, &stripe.by_exponent));
            }
            Op::PqUpdate => {
                let (old, new) = (stripe.sources[block], stripe.new);
                engine.update_pq(stripe.p, stripe.q, exponent, old, new);
            }
            Op::RecData | Op::RecDataP | Op::Rec2Data => self.rebuild(op, stripe),
            Op::Locate => {
                black_box(engine.locate(&stripe.with_exponents, stripe.p, stripe.q));
            }
        }
    }

    fn rebuild(self, op: Op, stripe: &mut Stripe<'_>) {
        let [x, y] = stripe.lost().map(Lost::Data);
        let lost: &[Lost] = match op {
            Op::RecDataP => &[x, Lost::P],
            Op::Rec2Data => &[x, y],
            _ => &[x],
        };
        let (p, q) = (Some(&mut *stripe.p), Some(&mut *stripe.q));
        let mut blocks = Blocks { data: &mut stripe.blocks, p, q };
        self.engine.recover(&mut blocks, lost).expect("two lost blocks at most");
    }
}
