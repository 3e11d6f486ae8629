//! Intel's ISA-L, loaded at run time, so that nothing here needs it to be built.
//!
//! This is a room with unsafe code: a library is loaded and called. What makes it sound is that the
//! signatures below are those of ISA-L's `raid.h` and `erasure_code.h`, that every pointer handed
//! over comes from a slice that is as long as the length handed over with it, that no slice written
//! is read at the same time, and that blocks are aligned to 32 bytes and a multiple of 32 long, as
//! `raid.h` wants.

#![allow(unsafe_code, reason = "a library in C; see above")]

use std::ffi::{OsStr, c_int, c_uchar, c_void};

use holdfast_benches::parity::{Contestant, Op, Stripe};
use holdfast_core::buf::Buf;
use holdfast_raid::parity::gf;
use libloading::Library;

use crate::rebuild::Rebuild;

/// Names paths of further versions.
const PATHS: &str = "HOLDFAST_ISAL";

/// Debian's.
const USUAL: &str = "libisal.so.2";

/// Bytes of table per coefficient.
const TABLE: usize = 32;

/// `int xor_gen(int vects, int len, void **array)`, and its three sisters.
type Raid = unsafe extern "C" fn(c_int, c_int, *mut *mut c_void) -> c_int;
/// `void ec_init_tables(int k, int rows, unsigned char *a, unsigned char *tables)`.
type InitTables = unsafe extern "C" fn(c_int, c_int, *const c_uchar, *mut c_uchar);
/// `void ec_encode_data(int len, int k, int rows, tables, unsigned char **data, **coding)`.
type Encode =
    unsafe extern "C" fn(c_int, c_int, c_int, *mut c_uchar, *mut *mut c_void, *mut *mut c_void);
/// `void ec_encode_data_update(int len, int k, int rows, int i, tables, data, **coding)`.
type Update = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    *mut c_uchar,
    *const c_uchar,
    *mut *mut c_void,
);

/// One version of it.
pub(crate) struct Isal {
    name: String,
    xor_gen: Raid,
    xor_check: Raid,
    pq_gen: Raid,
    pq_check: Raid,
    init_tables: InitTables,
    encode: Encode,
    update: Update,
    /// The functions live as long as it does.
    _library: Library,
}

/// All versions there are, and why others are not.
pub(crate) fn load_all() -> (Vec<Isal>, Vec<String>) {
    let given = std::env::var_os(PATHS).unwrap_or_default();
    let paths: Vec<_> =
        std::env::split_paths(&given).filter(|p| !p.as_os_str().is_empty()).collect();
    // The usual one first: asked for by its name alone, any version loaded before would answer to it.
    let all = [OsStr::new(USUAL)].into_iter().chain(paths.iter().map(|path| path.as_os_str()));
    let (mut found, mut notices) = (Vec::new(), Vec::new());
    for path in all {
        match Isal::load(path) {
            Ok(isal) => found.push(isal),
            Err(error) => notices.push(format!("ISA-L {}: {error}", path.display())),
        }
    }
    (found, notices)
}

impl Isal {
    fn load(path: &OsStr) -> Result<Self, libloading::Error> {
        // SAFETY: ISA-L's initialisers do nothing but choose functions for this CPU; the types are
        // those of its headers.
        unsafe {
            let library = Library::new(path)?;
            Ok(Self {
                name: format!("ISA-L {}", version(path)),
                xor_gen: *library.get(b"xor_gen")?,
                xor_check: *library.get(b"xor_check")?,
                pq_gen: *library.get(b"pq_gen")?,
                pq_check: *library.get(b"pq_check")?,
                init_tables: *library.get(b"ec_init_tables")?,
                encode: *library.get(b"ec_encode_data")?,
                update: *library.get(b"ec_encode_data_update")?,
                _library: library,
            })
        }
    }

    fn raid(&self, function: Raid, length: usize, blocks: &mut [*mut c_void], times: u32) {
        for _ in 0..times {
            // SAFETY: see the head of this file.
            let wrong =
                unsafe { function(blocks.len() as c_int, length as c_int, blocks.as_mut_ptr()) };
            assert_eq!(wrong, 0, "{} refuses its arguments or finds wrong parity", self.name);
        }
    }

    /// The tables of a matrix of two rows. Their form depends on the version.
    fn tables(&self, rows: &[u8]) -> Buf {
        let mut tables = Buf::zeroed(rows.len() * TABLE);
        let k = (rows.len() / 2) as c_int;
        // SAFETY: a table's bytes for each coefficient are there.
        unsafe { (self.init_tables)(k, 2, rows.as_ptr(), tables.as_mut_ptr()) };
        tables
    }

    /// Two steps: the change, then its part in P and in Q.
    fn update_pq(&self, stripe: &mut Stripe<'_>, times: u32) {
        let (length, members, changed) = (stripe.p.len(), stripe.sources.len(), stripe.changed());
        let powers = (0..members).map(|exponent| gf::exp(exponent as u32));
        let rows: Vec<u8> = std::iter::repeat_n(1, members).chain(powers).collect();
        let mut tables = self.tables(&rows);
        let mut delta = Buf::zeroed(length);
        let (old, new) = (shared(stripe.sources[changed]), shared(stripe.new));
        let mut parity = [exclusive(stripe.p), exclusive(stripe.q)];
        for _ in 0..times {
            self.raid(self.xor_gen, length, &mut [old, new, exclusive(&mut delta)], 1);
            // SAFETY: see the head of this file.
            unsafe {
                (self.update)(
                    length as c_int,
                    members as c_int,
                    2,
                    changed as c_int,
                    tables.as_mut_ptr(),
                    delta.as_ptr(),
                    parity.as_mut_ptr(),
                );
            }
        }
    }

    fn rebuild(&self, op: Op, stripe: &mut Stripe<'_>, times: u32) {
        let (lost, length) = (stripe.lost(), stripe.p.len());
        let plan = Rebuild::new(op, stripe.blocks.len(), lost);
        let mut tables = self.tables(&plan.rows);
        let gone = if plan.from_p { &lost[..] } else { &lost[..1] };
        let (mut sources, mut results) = (Vec::new(), Vec::new());
        for (index, block) in stripe.blocks.iter_mut().enumerate() {
            let into = if gone.contains(&index) { &mut results } else { &mut sources };
            into.push(exclusive(block.bytes));
        }
        let into = if plan.from_p { &mut sources } else { &mut results };
        into.push(exclusive(stripe.p));
        sources.push(exclusive(stripe.q));
        for _ in 0..times {
            // SAFETY: see the head of this file.
            unsafe {
                (self.encode)(
                    length as c_int,
                    sources.len() as c_int,
                    2,
                    tables.as_mut_ptr(),
                    sources.as_mut_ptr(),
                    results.as_mut_ptr(),
                );
            }
        }
    }
}

impl Contestant for Isal {
    fn name(&self) -> &str {
        &self.name
    }

    fn takes(&self, op: Op) -> bool {
        op != Op::Locate
    }

    fn run(&self, op: Op, stripe: &mut Stripe<'_>, times: u32) {
        let length = stripe.p.len();
        let mut blocks: Vec<*mut c_void> = stripe.sources.iter().map(|s| shared(s)).collect();
        match op {
            Op::XorGen | Op::XorCheck => {
                blocks.push(exclusive(stripe.p));
                let function = if op == Op::XorGen { self.xor_gen } else { self.xor_check };
                self.raid(function, length, &mut blocks, times);
            }
            Op::PqGen | Op::PqCheck => {
                blocks.extend([exclusive(stripe.p), exclusive(stripe.q)]);
                let function = if op == Op::PqGen { self.pq_gen } else { self.pq_check };
                self.raid(function, length, &mut blocks, times);
            }
            Op::XorUpdate => {
                let p = exclusive(stripe.p);
                let mut blocks = [p, blocks[stripe.changed()], shared(stripe.new), p];
                self.raid(self.xor_gen, length, &mut blocks, times);
            }
            Op::PqUpdate => self.update_pq(stripe, times),
            Op::RecData => {
                let (lost, p) = (stripe.lost()[0], exclusive(stripe.p));
                let blocks = stripe.blocks.iter_mut().map(|block| exclusive(block.bytes));
                let mut blocks: Vec<_> = blocks.collect();
                let result = std::mem::replace(&mut blocks[lost], p);
                blocks.push(result);
                self.raid(self.xor_gen, length, &mut blocks, times);
            }
            Op::RecDataP | Op::Rec2Data => self.rebuild(op, stripe, times),
            Op::Locate => unreachable!("not taken"),
        }
    }
}

/// The library takes all blocks as `void *`, those it only reads as well.
fn shared(block: &[u8]) -> *mut c_void {
    block.as_ptr().cast_mut().cast()
}

fn exclusive(block: &mut [u8]) -> *mut c_void {
    block.as_mut_ptr().cast()
}

/// What a loaded library's file is called, which has the version in it; or the path as given.
fn version(path: &OsStr) -> String {
    let file =
        std::path::Path::new(path).file_name().unwrap_or(path).to_string_lossy().into_owned();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut mapped = maps.lines().filter_map(|line| line.rsplit('/').next());
    let full = mapped.rfind(|name| name.starts_with(&file));
    full.unwrap_or(&file).trim_start_matches("libisal.so.").to_owned()
}
