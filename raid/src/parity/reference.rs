//! Parity as the definition says it, one byte at a time.
//!
//! Nobody runs this on data. It is here to be read first, and to judge the fast versions: it uses
//! none of their tricks and none of their tables.

/// `a · b` in GF(2^8): the long multiplication of school, then the long division by 0x11d.
pub fn mul(a: u8, b: u8) -> u8 {
    let mut product = 0u16;
    for bit in 0..8 {
        if b & (1 << bit) != 0 {
            product ^= u16::from(a) << bit;
        }
    }
    for bit in (8..15).rev() {
        if product & (1 << bit) != 0 {
            product ^= 0x11d << (bit - 8);
        }
    }
    u8::try_from(product).expect("the remainder has at most eight bits")
}

/// `2^exponent`, by multiplying that often.
pub fn power_of_g(exponent: u32) -> u8 {
    (0..exponent).fold(1, |power, _| mul(power, 2))
}

/// The XOR of all sources.
pub fn xor(dst: &mut [u8], sources: &[&[u8]]) {
    for (at, byte) in dst.iter_mut().enumerate() {
        *byte = sources.iter().fold(0, |sum, source| sum ^ source[at]);
    }
}

/// P = Σ D and Q = Σ g^e · D, where e is the index of D in `sources` and None is a block of zeros.
pub fn pq(p: &mut [u8], q: &mut [u8], sources: &[Option<&[u8]>]) {
    p.fill(0);
    q.fill(0);
    for (exponent, source) in (0..).zip(sources) {
        let Some(source) = source else { continue };
        let coefficient = power_of_g(exponent);
        for (at, &byte) in source.iter().enumerate() {
            p[at] ^= byte;
            q[at] ^= mul(coefficient, byte);
        }
    }
}
