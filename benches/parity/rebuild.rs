//! Rebuilding lost blocks, as matrices: what libraries for erasure codes want to be told.
//!
//! Every lost block is a sum over the blocks that are left, each times a coefficient. With a, b the
//! coefficients in Q of lost data x, y, it follows from P = ΣD and Q = Σ g^e·D.

use holdfast_benches::parity::Op;
use holdfast_raid::parity::gf;

/// Rows of a matrix, one per lost block, each over the data that is left, by exponent, then P and Q
/// as far as they are used.
pub(crate) struct Rebuild {
    /// The coefficients, row after row.
    pub(crate) rows: Vec<u8>,
    /// Whether P is a source, after the data. Q always is, at the end.
    pub(crate) from_p: bool,
}

impl Rebuild {
    /// Of an operation, for lost data at these exponents.
    pub(crate) fn new(op: Op, members: usize, lost: [usize; 2]) -> Self {
        let [a, b] = lost.map(|exponent| gf::exp(exponent as u32));
        let left = |gone: &[usize]| -> Vec<u8> {
            let left = (0..members).filter(|exponent| !gone.contains(exponent));
            left.map(|exponent| gf::exp(exponent as u32)).collect()
        };
        if op == Op::RecDataP {
            // x = (Q + Σ g^e·D) / a, and P = x + ΣD.
            let x: Vec<u8> =
                left(&lost[..1]).into_iter().chain([1]).map(|c| gf::div(c, a)).collect();
            let p = x.iter().enumerate().map(|(i, &c)| c ^ u8::from(i + 1 < x.len()));
            let p: Vec<u8> = p.collect();
            return Self { rows: [x, p].concat(), from_p: false };
        }
        // y = (ΔQ + a·ΔP) / (a + b), and x = ΔP + y.
        let sum = a ^ b;
        let left = left(&lost);
        let y = left.iter().map(|c| gf::div(c ^ a, sum));
        let y: Vec<u8> = y.chain([gf::div(a, sum), gf::inv(sum)]).collect();
        let x: Vec<u8> =
            y.iter().enumerate().map(|(i, &c)| c ^ u8::from(i + 1 < y.len())).collect();
        Self { rows: [x, y].concat(), from_p: true }
    }
}
