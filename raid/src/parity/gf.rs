//! The field GF(2^8) in which Q is computed.
//!
//! Its 256 elements are bytes. A byte is read as a polynomial: bit `i` stands for `x^i`, and
//! coefficients are 0 or 1.
//!
//! - *Adding* is XOR. Every element is its own negative, so subtracting is XOR too.
//! - *Multiplying* multiplies the polynomials and takes the remainder by
//!   `x^8 + x^4 + x^3 + x^2 + 1` (0x11d). Multiplying by `x`, which is the byte 2, is therefore a
//!   shift to the left, followed by XOR with 0x1d if a bit fell out.
//! - *g* is that byte 2. It generates the field: its powers `g^0` … `g^254` are all the bytes but
//!   0, each once, and `g^255 = g^0 = 1`.
//!
//! So each byte but 0 has a logarithm, and multiplying is adding logarithms modulo 255. The tables
//! are made by the compiler.
//!
//! Why Q needs this: with P = ΣD and Q = Σ g^e·D, two unknown data blocks are two linear equations
//! with the determinant `g^a + g^b`, which is not zero as long as the exponents a and b differ
//! modulo 255. That is also why raid6 ends at 255 data members.
//!
//! Source: Linux `lib/raid6/mktables.c`; H. Peter Anvin, "The mathematics of RAID-6".

/// What is left of the polynomial once `x^8` has fallen out of the byte.
pub const REDUCTION: u8 = 0x1d;

/// How many different powers g has.
pub const POWERS: u32 = 255;

/// `EXP[e]` is g^e for `e < 255`; the last entry repeats the first.
pub const EXP: [u8; 256] = exp_table();

/// `LOG[EXP[e]]` is `e`. 0 has no logarithm; `LOG[0]` is 0 and means nothing.
pub const LOG: [u8; 256] = log_table();

/// `a · g`.
pub const fn double(a: u8) -> u8 {
    (a << 1) ^ (if a & 0x80 == 0 { 0 } else { REDUCTION })
}

/// `g^exponent`, for any exponent.
pub const fn exp(exponent: u32) -> u8 {
    EXP[(exponent % POWERS) as usize]
}

/// The exponent e with `g^e = a`, below 255. None for 0.
pub const fn log(a: u8) -> Option<u32> {
    if a == 0 { None } else { Some(LOG[a as usize] as u32) }
}

/// `a · b`.
pub const fn mul(a: u8, b: u8) -> u8 {
    match (log(a), log(b)) {
        (Some(a), Some(b)) => exp(a + b),
        _ => 0,
    }
}

/// `1 / a`.
///
/// # Panics
///
/// If `a` is 0.
pub const fn inv(a: u8) -> u8 {
    div(1, a)
}

/// `a / b`.
///
/// # Panics
///
/// If `b` is 0.
pub const fn div(a: u8, b: u8) -> u8 {
    assert!(b != 0, "division by zero in GF(2^8)");
    match (log(a), log(b)) {
        (Some(a), Some(b)) => exp(a + POWERS - b),
        _ => 0,
    }
}

const fn exp_table() -> [u8; 256] {
    let mut table = [1; 256];
    let mut e = 1;
    while e < table.len() {
        table[e] = double(table[e - 1]);
        e += 1;
    }
    table
}

const fn log_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut e = 0;
    while e < POWERS as usize {
        table[EXP[e] as usize] = e as u8;
        e += 1;
    }
    table
}

// g generates the field, or the tables would be nonsense.
const _: () = assert!(EXP[255] == 1);

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    #[test]
    fn multiplying_agrees_with_long_multiplication() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), reference::mul(a, b), "{a} · {b}");
            }
        }
    }

    #[test]
    fn dividing_undoes_multiplying() {
        for b in 1..=255 {
            assert_eq!(mul(b, inv(b)), 1, "{b}");
            for a in 0..=255 {
                assert_eq!(div(mul(a, b), b), a, "{a} / {b}");
            }
        }
    }

    #[test]
    fn powers_of_g_are_all_bytes_but_zero() {
        let mut seen = [false; 256];
        for e in 0..POWERS {
            assert!(!std::mem::replace(&mut seen[usize::from(exp(e))], true), "g^{e} repeats");
            assert_eq!(log(exp(e)), Some(e));
            assert_eq!(exp(e + POWERS), exp(e));
            assert_eq!(double(exp(e)), exp(e + 1));
        }
        assert!(!seen[0]);
        assert_eq!(log(0), None);
    }

    #[test]
    #[should_panic(expected = "division by zero")]
    fn dividing_by_zero_is_a_fault() {
        div(1, 0);
    }
}
