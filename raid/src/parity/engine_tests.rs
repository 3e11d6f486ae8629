//! Every engine of this CPU, judged by the reference.
//!
//! Blocks lie at odd addresses, and what lies behind a result must stay as it was.

use super::tests::{noise, noises};
use super::{Engine, Mismatch, engines, gf, reference};

/// Bytes behind every result.
const BEHIND: usize = 70;

/// The first `length` bytes of each block, from an offset of its own.
fn cut(blocks: &[Vec<u8>], length: usize) -> Vec<&[u8]> {
    blocks.iter().zip(0..).map(|(block, i)| &block[i * 5 % 67..][..length]).collect()
}

fn options<'a>(blocks: &[&'a [u8]]) -> Vec<Option<&'a [u8]>> {
    blocks.iter().copied().map(Some).collect()
}

/// Calls `write` with the part of a buffer that starts at an odd offset; asserts what it left
/// there, and that it left the rest alone.
fn expect(case: &str, before: &[u8], expected: &[u8], write: impl FnOnce(&mut [u8])) {
    let (offset, length) = (before.len() % 7 + 1, before.len());
    let mut buffer = vec![0xa5; offset + length + BEHIND];
    buffer[offset..][..length].copy_from_slice(before);
    write(&mut buffer[offset..][..length]);
    assert!(buffer[offset..][..length] == *expected, "{case}");
    let (front, behind) = (&buffer[..offset], &buffer[offset + length..]);
    assert!(front.iter().chain(behind).all(|&byte| byte == 0xa5), "{case}: wrote beyond");
}

fn xor_of(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// P and Q by definition.
fn parity(blocks: &[Option<&[u8]>], length: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut p, mut q) = (vec![0; length], vec![0; length]);
    reference::pq(&mut p, &mut q, blocks);
    (p, q)
}

fn check(engine: &Engine, blocks: &[Option<&[u8]>], p: &[u8], q: &[u8]) {
    let length = p.len();
    let case = format!("{} blocks of {length} by {}", blocks.len(), engine.name());
    let present: Vec<&[u8]> = blocks.iter().copied().flatten().collect();
    let (junk, mut other) = (noise(90, length), noise(91, length));

    expect(&case, &junk, p, |dst| engine.xor(dst, &present));
    expect(&case, &junk, &xor_of(&junk, p), |dst| engine.xor_into(dst, &present));
    expect(&case, &junk, p, |dst| engine.xor_streamed(dst, &present));
    expect(&case, &junk, p, |p| engine.pq(p, &mut other, blocks));
    assert!(other == q, "{case}");
    expect(&case, &junk, p, |p| engine.pq_streamed(p, &mut other, blocks));
    assert!(other == q, "{case}");
    expect(&case, &junk, q, |q| engine.pq(&mut other, q, blocks));
    expect(&case, &junk, q, |q| engine.q_only(q, blocks));
    assert_eq!(engine.xor_mismatch(p, &present), None, "{case}");
    assert_eq!(engine.pq_mismatch(p, q, blocks), Mismatch::NONE, "{case}");
}

#[test]
fn any_number_of_blocks_of_any_length() {
    let most = 300;
    let blocks = noises(20, most + 67);
    for count in 0..=20 {
        let (p, q) = parity(&options(&cut(&blocks[..count], most)), most);
        for length in 0..=most {
            for engine in engines() {
                let blocks = cut(&blocks[..count], length);
                check(engine, &options(&blocks), &p[..length], &q[..length]);
            }
        }
    }
}

#[test]
fn any_exponents_without_a_block() {
    let blocks = noises(9, 200 + 67);
    for absent in 0..1 << 9 {
        let mut blocks = options(&cut(&blocks, 200));
        let gaps = blocks.iter_mut().enumerate().filter(|(e, _)| absent >> e & 1 == 1);
        gaps.for_each(|(_, block)| *block = None);
        let (p, q) = parity(&blocks, 200);
        engines().for_each(|engine| check(engine, &blocks, &p, &q));
    }
}

/// Such a stripe goes past the cache unasked. Most of it is the same block.
#[test]
fn a_stripe_larger_than_any_cache() {
    let length = (1 << 19) + 77;
    let blocks = noises(2, length);
    let sources: Vec<&[u8]> = (0..140).map(|i| blocks[i % 2].as_slice()).collect();
    let (p, q) = parity(&options(&sources), length);
    let (mut other_p, mut other_q) = (p.clone(), q.clone());
    for engine in engines() {
        other_p.fill(0);
        engine.xor(&mut other_p, &sources);
        assert!(other_p == p, "{}", engine.name());
        other_p.fill(0);
        engine.pq(&mut other_p, &mut other_q, &options(&sources));
        assert!(other_p == p && other_q == q, "{}", engine.name());
        other_q.fill(0);
    }
}

/// Sources and results at every alignment to the widest vector, with every tail.
#[test]
fn any_alignment_and_any_tail() {
    let (most, widest) = (257, 64);
    let blocks = noises(5, most + 2 * widest);
    let exponent = 3;
    for alignment in 0..widest {
        let at = |block: usize| blocks[block].as_ptr().align_offset(widest) + alignment;
        let all: [&[u8]; 5] = std::array::from_fn(|i| &blocks[i][at(i)..][..most]);
        let ([a, b, c], old, new) = ([all[0], all[1], all[2]], all[3], all[4]);
        let (p, q) = parity(&options(&[a, b, c]), most);
        let (delta_p, delta_q) = parity(&[None, None, None, Some(&xor_of(old, new))], most);
        let (new_p, new_q) = (xor_of(&p, &delta_p), xor_of(&q, &delta_q));
        let mut results = [vec![0; most + 2 * widest], vec![0; most + 2 * widest]];
        let starts = [0, 1].map(|i| results[i].as_ptr().align_offset(widest) + alignment);
        for (length, engine) in (0..=most).flat_map(|l| engines().map(move |engine| (l, engine))) {
            let case = format!("{length} at {alignment} by {}", engine.name());
            let [x, y] = &mut results;
            let (x, y) = (&mut x[starts[0]..][..length], &mut y[starts[1]..][..length]);
            let sources = [a, b, c].map(|block| &block[..length]);
            engine.xor(x, &sources);
            assert!(*x == p[..length], "{case}");
            assert_eq!(engine.xor_mismatch(x, &sources), None, "{case}");
            engine.pq(x, y, &sources.map(Some));
            assert!(*x == p[..length] && *y == q[..length], "{case}");
            engine.xor_streamed(y, &sources);
            assert!(*y == p[..length], "{case}");
            x.fill(0);
            engine.pq_streamed(x, y, &sources.map(Some));
            assert!(*x == p[..length] && *y == q[..length], "{case}");
            assert_eq!(engine.pq_mismatch(x, y, &sources.map(Some)), Mismatch::NONE, "{case}");
            engine.update_pq(x, y, exponent, &old[..length], &new[..length]);
            assert!(*x == new_p[..length] && *y == new_q[..length], "{case}");
            let terms = [(2, sources[2]), (0, sources[0])];
            engine.solve_one(x, &q[..length], &terms, gf::EXP[1]);
            assert!(*x == b[..length], "{case}");
            let parities = [&p[..length], &q[..length]];
            engine.solve_two([x, y], parities, &terms[..1], [gf::EXP[0], gf::EXP[1]]);
            assert!(*x == a[..length] && *y == b[..length], "{case}");
        }
    }
}

#[test]
fn a_wrong_bit_is_found_where_it_is() {
    let length = 600;
    for count in [1, 4, 17] {
        let blocks = noises(count, length);
        let blocks = options(&blocks.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let present: Vec<&[u8]> = blocks.iter().copied().flatten().collect();
        let (mut p, mut q) = parity(&blocks, length);
        for engine in engines() {
            for at in 0..length {
                let (bit, name, mirrored) = (1 << (at % 8), engine.name(), length - 1 - at);
                let expect = |p: &[u8], q: &[u8], wrong_p, wrong_q| {
                    let expected = Mismatch { p: wrong_p, q: wrong_q };
                    assert_eq!(engine.pq_mismatch(p, q, &blocks), expected, "{name} at {at}");
                    assert_eq!(engine.xor_mismatch(p, &present), wrong_p, "{name} at {at}");
                };
                p[at] ^= bit;
                expect(&p, &q, Some(at), None);
                q[mirrored] ^= bit;
                expect(&p, &q, Some(at), Some(mirrored));
                p[at] ^= bit;
                expect(&p, &q, None, Some(mirrored));
                q[mirrored] ^= bit;
            }
        }
    }
}

/// Differences are gathered from many places before they are looked at: none may undo another.
#[test]
fn equal_differences_do_not_cancel() {
    let blocks = noises(5, 512);
    let sources = options(&cut(&blocks, 448));
    let (p, q) = parity(&sources, 448);
    for engine in engines() {
        for (first, step) in [(3, 8), (3, 16), (3, 32), (3, 64), (3, 128), (0, 1)] {
            let (mut wrong_p, mut wrong_q) = (p.clone(), q.clone());
            for at in [first, first + step] {
                wrong_p[at] ^= 0x21;
                wrong_q[at] ^= 0x21;
            }
            let both = Mismatch { p: Some(first), q: Some(first) };
            let case = format!("{first} and {step} behind it by {}", engine.name());
            assert_eq!(engine.pq_mismatch(&wrong_p, &wrong_q, &sources), both, "{case}");
            let present: Vec<&[u8]> = sources.iter().copied().flatten().collect();
            assert_eq!(engine.xor_mismatch(&wrong_p, &present), Some(first), "{case}");
        }
    }
}

#[test]
fn every_coefficient_times_every_byte() {
    let old: Vec<u8> = (0..=255).collect();
    let (new, zeros) = (vec![0; 256], vec![0; 256]);
    for c in 0..=255 {
        let products: Vec<u8> = old.iter().map(|&byte| reference::mul(c, byte)).collect();
        for engine in engines() {
            let case = format!("{c} by {}", engine.name());
            expect(&case, &zeros, &products, |q| engine.kernels.update_q(q, c, &old, &new));
            let changes = |p: &mut [u8], q: &mut [u8]| {
                engine.kernels.update_pq(p, q, c, &old, &new);
            };
            expect(&case, &zeros, &products, |q| changes(&mut zeros.clone(), q));
            expect(&case, &zeros, &old, |p| changes(p, &mut zeros.clone()));
        }
    }
}

#[test]
fn every_exponent_is_its_coefficient() {
    let (one, zero) = ([1], [0]);
    for (exponent, engine) in (0..gf::POWERS).flat_map(|e| engines().map(move |x| (e, x))) {
        let (mut p, mut q) = ([0], [0]);
        engine.update_pq(&mut p, &mut q, exponent, &one, &zero);
        assert_eq!((p[0], q[0]), (1, reference::power_of_g(exponent)), "g^{exponent}");
        engine.update_q(&mut q, exponent, &one, &zero);
        assert_eq!(q[0], 0, "g^{exponent}");
    }
}

#[test]
fn an_update_of_any_length() {
    for length in 0..=300 {
        let [old, new, p, q] = [1, 2, 3, 4].map(|seed| noise(seed, length));
        let delta = xor_of(&old, &new);
        let exponent = length as u32 % gf::POWERS;
        let c = reference::power_of_g(exponent);
        let change: Vec<u8> = delta.iter().map(|&byte| reference::mul(c, byte)).collect();
        let (new_p, new_q) = (xor_of(&p, &delta), xor_of(&q, &change));
        for engine in engines() {
            let case = format!("{length} by {}", engine.name());
            let mut other = q.clone();
            expect(&case, &p, &new_p, |p| engine.update_pq(p, &mut other, exponent, &old, &new));
            assert!(other == new_q, "{case}");
            let mut other = p.clone();
            expect(&case, &q, &new_q, |q| engine.update_pq(&mut other, q, exponent, &old, &new));
            expect(&case, &q, &new_q, |q| engine.update_q(q, exponent, &old, &new));
        }
    }
}

/// One, and two, of up to 30 data blocks: raid6 of up to 32 members.
#[test]
fn every_loss_is_solved() {
    let length = 197;
    let all = noises(30, length);
    for count in 1..=all.len() {
        let blocks: Vec<&[u8]> = all[..count].iter().map(Vec::as_slice).collect();
        let (p, q) = parity(&options(&blocks), length);
        let survivors = |lost: &[usize]| {
            let all = blocks.iter().enumerate().rev();
            let left = all.filter(|(e, _)| !lost.contains(e));
            left.map(|(e, block)| (e as u32, *block)).collect::<Vec<_>>()
        };
        for (y, b) in blocks.iter().enumerate().map(|(y, _)| (y, gf::EXP[y])) {
            for engine in engines() {
                let case = format!("{y} of {count} by {}", engine.name());
                let terms = survivors(&[y]);
                expect(&case, &p, blocks[y], |dst| engine.solve_one(dst, &q, &terms, b));
                for x in 0..y {
                    let case = format!("{x} and {case}");
                    let (terms, ab) = (survivors(&[x, y]), [gf::EXP[x], b]);
                    let mut other = vec![0; length];
                    expect(&case, &p, blocks[x], |dst| {
                        engine.solve_two([dst, &mut other], [&p, &q], &terms, ab);
                    });
                    assert!(other == blocks[y], "{case}");
                }
            }
        }
    }
}
