//! The front door, judged by the reference.

use super::*;

/// Bytes that look random and are the same in every run (xorshift64).
pub(super) fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| byte()).collect()
}

pub(super) fn noises(count: usize, length: usize) -> Vec<Vec<u8>> {
    (0..count).map(|seed| noise(seed, length)).collect()
}

fn slices(blocks: &[Vec<u8>]) -> Vec<&[u8]> {
    blocks.iter().map(Vec::as_slice).collect()
}

fn optional(blocks: &[Vec<u8>]) -> Vec<Option<&[u8]>> {
    blocks.iter().map(|block| Some(block.as_slice())).collect()
}

/// Lengths around every border of the engine's blocks, odd ones among them.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=200).chain([255, 511, 512, 513, 1000, 4096, 4099])
}

#[test]
fn xor_agrees_with_the_reference() {
    for length in lengths() {
        let blocks = noises(20, length);
        for count in 0..=20 {
            let sources = &slices(&blocks)[..count];
            let mut expected = noise(77, length);
            let mut sum = expected.clone();
            let mut added = expected.clone();

            reference::xor(&mut expected, sources);
            xor(&mut sum, sources);
            assert_eq!(sum, expected, "{count} of {length}");
            assert_eq!(xor_mismatch(&sum, sources), None);

            let mut streamed = noise(78, length);
            xor_streamed(&mut streamed, sources);
            assert_eq!(streamed, expected, "{count} of {length}");

            xor_into(&mut added, sources);
            xor_into(&mut added, &[&expected]);
            assert_eq!(added, noise(77, length), "{count} of {length}");
        }
    }
}

#[test]
fn pq_agrees_with_the_reference() {
    for length in lengths() {
        let blocks = noises(20, length);
        for count in 0..=20 {
            let mut sources = optional(&blocks[..count]);
            check_pq(&sources, length);
            sources.iter_mut().step_by(3).for_each(|source| *source = None);
            check_pq(&sources, length);
        }
    }
}

fn check_pq(sources: &[Option<&[u8]>], length: usize) {
    let (mut p, mut q) = (noise(78, length), noise(79, length));
    let mut q_alone = q.clone();
    let (mut expected_p, mut expected_q) = (p.clone(), q.clone());
    reference::pq(&mut expected_p, &mut expected_q, sources);
    pq(&mut p, &mut q, sources);
    q_only(&mut q_alone, sources);
    assert!(p == expected_p && q == expected_q, "{} of {length}", sources.len());
    assert_eq!(q_alone, expected_q, "{} of {length}", sources.len());
    let (mut p_streamed, mut q_streamed) = (noise(80, length), noise(81, length));
    pq_streamed(&mut p_streamed, &mut q_streamed, sources);
    assert!(p_streamed == p && q_streamed == q, "{} of {length}", sources.len());
    assert_eq!(pq_mismatch(&p, &q, sources), Mismatch::NONE);
}

#[test]
fn the_widest_stripe_agrees_with_the_reference() {
    let blocks = noises(255, 70);
    check_pq(&optional(&blocks), 70);
    let mut sources = vec![None; 255];
    sources[254] = Some(blocks[0].as_slice());
    check_pq(&sources, 70);
}

/// Wrong bytes in P and in Q, each alone and both, and further ones behind the first.
#[test]
fn a_mismatch_is_the_first_wrong_byte() {
    let length = 139;
    let blocks = noises(5, length);
    let sources = optional(&blocks);
    let (mut p, mut q) = (vec![0; length], vec![0; length]);
    pq(&mut p, &mut q, &sources);
    let (right_p, right_q) = (p.clone(), q.clone());
    for (at_p, at_q) in (0..length).flat_map(|at_p| (0..length).map(move |at_q| (at_p, at_q))) {
        p[at_p] ^= 0x10;
        p[length - 1] ^= 0x40;
        let wrong_p = Mismatch { p: Some(at_p), q: None };
        assert_eq!(pq_mismatch(&p, &right_q, &sources), wrong_p);
        assert_eq!(xor_mismatch(&p, &slices(&blocks)), Some(at_p));
        q[at_q] ^= 0x01;
        q[length - 1] ^= 0x08;
        let wrong_q = Mismatch { p: None, q: Some(at_q) };
        assert_eq!(pq_mismatch(&right_p, &q, &sources), wrong_q);
        let both = Mismatch { p: Some(at_p), q: Some(at_q) };
        assert_eq!(pq_mismatch(&p, &q, &sources), both);
        (p[at_p], p[length - 1]) = (right_p[at_p], right_p[length - 1]);
        (q[at_q], q[length - 1]) = (right_q[at_q], right_q[length - 1]);
    }
}

#[test]
fn an_update_is_what_computing_anew_would_give() {
    for length in [0, 1, 63, 64, 65, 200] {
        for exponent in (0..20).chain([127, 253, 254]) {
            let old = noises(exponent + 1, length);
            let mut new = old.clone();
            new[exponent] = noise(500, length);
            let (mut p, mut q) = (vec![0; length], vec![0; length]);
            pq(&mut p, &mut q, &optional(&old));
            let (mut p_alone, mut q_alone) = (p.clone(), q.clone());

            let (before, after) = (&old[exponent], &new[exponent]);
            update_pq(&mut p, &mut q, exponent as u32, before, after);
            update_p(&mut p_alone, before, after);
            update_q(&mut q_alone, exponent as u32, before, after);
            assert_eq!(pq_mismatch(&p, &q, &optional(&new)), Mismatch::NONE, "g^{exponent}");
            assert!(p_alone == p && q_alone == q, "g^{exponent} of {length}");
        }
    }
}

/// Exponents of `k` data blocks: dense and ascending, dense but turned, and with gaps as DDF
/// leaves them.
fn exponent_orders(k: u32) -> Vec<Vec<u32>> {
    vec![
        (0..k).collect(),
        (0..k).map(|d| (d + 2) % k).collect(),
        (0..k).map(|d| if d < k / 2 { d } else { d + 2 }).collect(),
        (0..k).map(|d| 254 - 36 * d).collect(),
    ]
}

/// A stripe whose blocks can be lost and compared.
#[derive(Clone, Debug, PartialEq)]
struct Stripe {
    exponents: Vec<u32>,
    data: Vec<Vec<u8>>,
    p: Vec<u8>,
    q: Vec<u8>,
}

impl Stripe {
    fn new(exponents: &[u32], length: usize) -> Self {
        let data = noises(exponents.len(), length);
        let (mut p, mut q) = (vec![0; length], vec![0; length]);
        let blocks = exponents.iter().copied().zip(slices(&data));
        reference::pq(&mut p, &mut q, &by_exponent(blocks));
        Self { exponents: exponents.to_vec(), data, p, q }
    }

    fn block(&mut self, which: Lost) -> &mut Vec<u8> {
        match which {
            Lost::Data(index) => &mut self.data[index],
            Lost::P => &mut self.p,
            Lost::Q => &mut self.q,
        }
    }

    fn damaged(&self, lost: &[Lost]) -> Self {
        let mut damaged = self.clone();
        for &which in lost {
            let length = self.p.len();
            *damaged.block(which) = noise(900, length);
        }
        damaged
    }

    fn recover(&mut self, lost: &[Lost], with_p: bool, with_q: bool) -> Result<(), TooManyLost> {
        let data = self.data.iter_mut().zip(&self.exponents);
        let mut data: Vec<DataBlock<'_>> =
            data.map(|(bytes, &exponent)| DataBlock { exponent, bytes }).collect();
        let p = with_p.then_some(self.p.as_mut_slice());
        let q = with_q.then_some(self.q.as_mut_slice());
        recover(&mut Blocks { data: &mut data, p, q }, lost)
    }

    fn locate(&self) -> Culprit {
        let data: Vec<_> = self.exponents.iter().copied().zip(slices(&self.data)).collect();
        locate(&data, &self.p, &self.q)
    }

    fn all(&self) -> Vec<Lost> {
        (0..self.data.len()).map(Lost::Data).chain([Lost::P, Lost::Q]).collect()
    }
}

/// Stripes of one to eight data blocks, in every order of exponents.
fn stripes(length: usize) -> impl Iterator<Item = Stripe> {
    (1..=8).flat_map(exponent_orders).map(move |exponents| Stripe::new(&exponents, length))
}

#[test]
fn any_two_lost_blocks_come_back() {
    for length in [1, 64, 133] {
        for stripe in stripes(length) {
            for first in stripe.all() {
                for second in stripe.all() {
                    let lost = [first, second];
                    let mut damaged = stripe.damaged(&lost);
                    assert_eq!(damaged.recover(&lost, true, true), Ok(()));
                    assert_eq!(damaged, stripe, "{lost:?}");
                }
            }
        }
    }
}

/// raid6 of 11 to 32 members.
#[test]
fn any_two_lost_blocks_of_a_wide_stripe_come_back() {
    for width in 9..=30 {
        let stripe = Stripe::new(&(0..width).collect::<Vec<_>>(), 70);
        let all = stripe.all();
        for (index, &first) in all.iter().enumerate() {
            for &second in &all[..=index] {
                let lost = [first, second];
                let mut damaged = stripe.damaged(&lost);
                assert_eq!(damaged.recover(&lost, true, true), Ok(()));
                assert!(damaged == stripe, "{lost:?} of {width}");
            }
        }
    }
}

#[test]
fn a_parity_not_brought_along_is_not_needed_nor_written() {
    for stripe in stripes(70) {
        for x in (0..stripe.data.len()).map(Lost::Data) {
            for (absent, with_p, with_q) in [(Lost::P, false, true), (Lost::Q, true, false)] {
                for lost in [vec![x], vec![x, absent]] {
                    let damaged_all = stripe.damaged(&[x, absent]);
                    let mut damaged = damaged_all.clone();
                    assert_eq!(damaged.recover(&lost, with_p, with_q), Ok(()));
                    assert_eq!(damaged.data, stripe.data, "{lost:?}");
                    assert_eq!(damaged.block(absent), damaged_all.clone().block(absent));
                }
            }
        }
    }
}

#[test]
fn losing_more_than_there_is_parity_changes_nothing() {
    use Lost::{Data, P, Q};
    let stripe = Stripe::new(&[0, 1, 2, 3], 70);
    for (lost, with_p, with_q, data, parity) in [
        (vec![Data(0), Data(1), Data(2)], true, true, 3, 2),
        (vec![Data(0), Data(1), Data(2), Data(3)], true, true, 4, 2),
        (vec![Data(0), Data(1), P], true, true, 2, 1),
        (vec![Data(0), Data(1), Q], true, true, 2, 1),
        (vec![Data(0), Data(1)], true, false, 2, 1),
        (vec![Data(0), P, Q], true, true, 1, 0),
        (vec![Data(0), P], true, false, 1, 0),
        (vec![Data(0)], false, false, 1, 0),
    ] {
        let damaged = stripe.damaged(&lost);
        let mut after = damaged.clone();
        let answer = after.recover(&lost, with_p, with_q);
        assert_eq!(answer, Err(TooManyLost { data, parity }), "{lost:?}");
        assert_eq!(after, damaged, "{lost:?}");
    }
}

/// raid5 may be wider than there are powers of g, and its exponents mean nothing.
#[test]
fn a_raid5_of_384_members_recovers() {
    let mut data = noises(383, 70);
    let mut p = vec![0; 70];
    xor(&mut p, &slices(&data));
    let expected = std::mem::take(&mut data[300]);
    data[300] = vec![0; 70];
    let mut blocks: Vec<_> =
        data.iter_mut().map(|bytes| DataBlock { exponent: 0, bytes }).collect();
    let mut blocks = Blocks { data: &mut blocks, p: Some(&mut p), q: None };
    assert_eq!(recover(&mut blocks, &[Lost::Data(300)]), Ok(()));
    assert_eq!(data[300], expected);
}

#[test]
fn nothing_wrong_has_no_culprit() {
    for stripe in stripes(600) {
        assert_eq!(stripe.locate(), Culprit::None);
    }
    assert_eq!(Stripe::new(&[0, 1], 0).locate(), Culprit::None);
}

fn culprit(lost: Lost) -> Culprit {
    match lost {
        Lost::Data(index) => Culprit::Data(index),
        Lost::P => Culprit::P,
        Lost::Q => Culprit::Q,
    }
}

#[test]
fn a_single_wrong_block_is_found() {
    for stripe in stripes(600) {
        for which in stripe.all() {
            assert_eq!(stripe.damaged(&[which]).locate(), culprit(which));
            for at in [0, 511, 512, 599] {
                let mut damaged = stripe.clone();
                damaged.block(which)[at] ^= 0x40;
                assert_eq!(damaged.locate(), culprit(which), "byte {at}");
            }
        }
    }
}

#[test]
fn two_wrong_blocks_are_many() {
    for stripe in stripes(600) {
        for first in stripe.all() {
            for second in stripe.all().into_iter().filter(|second| *second != first) {
                let mut damaged = stripe.clone();
                damaged.block(first)[3] ^= 0x40;
                damaged.block(second)[577] ^= 0x02;
                assert_eq!(damaged.locate(), Culprit::Many, "{first:?} {second:?}");

                let mut damaged = stripe.damaged(&[first]);
                *damaged.block(second) = noise(901, 600);
                assert_eq!(damaged.locate(), Culprit::Many, "{first:?} {second:?}");
            }
        }
    }
}

/// P and Q wrong by the same value look like data with exponent 0; without such a block that is no
/// single culprit.
#[test]
fn a_block_that_does_not_exist_is_not_blamed() {
    for (exponents, expected) in
        [([0, 1, 2], Culprit::Data(0)), ([2, 1, 0], Culprit::Data(2)), ([1, 2, 4], Culprit::Many)]
    {
        let mut stripe = Stripe::new(&exponents, 70);
        stripe.p[5] ^= 0x21;
        stripe.q[5] ^= 0x21;
        assert_eq!(stripe.locate(), expected, "{exponents:?}");
    }
}

/// Swapping exponents must never go unnoticed: it is the mistake a layout would make.
#[test]
fn a_wrong_exponent_is_noticed() {
    let stripe = Stripe::new(&[0, 1, 2, 3], 70);
    let mut swapped = stripe.clone();
    swapped.exponents.swap(1, 2);
    assert_ne!(swapped.locate(), Culprit::None);
    let mut damaged = swapped.damaged(&[Lost::Data(0), Lost::Data(1)]);
    assert_eq!(damaged.recover(&[Lost::Data(0), Lost::Data(1)], true, true), Ok(()));
    assert_ne!(damaged.data, stripe.data);
}

#[test]
#[should_panic(expected = "differ in length")]
fn blocks_of_unequal_length_are_a_fault() {
    xor(&mut [0; 3], &[&[0; 4]]);
}

#[test]
#[should_panic(expected = "used twice")]
fn an_exponent_used_twice_is_a_fault() {
    locate(&[(1, &[0]), (1, &[0])], &[0], &[0]);
}

#[test]
#[should_panic(expected = "used twice")]
fn an_exponent_used_twice_is_a_fault_even_where_p_would_do() {
    let mut stripe = Stripe::new(&[0, 1, 2], 8);
    stripe.exponents[2] = 1;
    let _ = stripe.recover(&[Lost::Data(0)], true, true);
}

#[test]
#[should_panic(expected = "data block 3 of 3")]
fn losing_a_block_that_does_not_exist_is_a_fault() {
    let _ = Stripe::new(&[0, 1, 2], 8).recover(&[Lost::Data(3)], true, true);
}

#[test]
#[should_panic(expected = "exponent 255")]
fn an_exponent_beyond_the_field_is_a_fault() {
    update_q(&mut [0], 255, &[0], &[0]);
}

#[test]
#[should_panic(expected = "differ in length")]
fn blocks_of_unequal_length_are_a_fault_for_q_too() {
    let (short, long) = (noise(0, 7), noise(1, 8));
    pq(&mut [0; 8], &mut [0; 8], &[Some(&long), Some(&short)]);
}

#[test]
#[should_panic(expected = "powers of g")]
fn more_blocks_than_powers_of_g_are_a_fault() {
    pq(&mut [0; 8], &mut [0; 8], &[None; 256]);
}
