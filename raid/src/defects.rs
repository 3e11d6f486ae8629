//! Planted defects: what an engine that loses data would do wrong, by name.
//!
//! A simulator that finds nothing may be a good engine or a poor simulator. So the engine can be
//! built with one of these mistakes in it, and whoever tests it must notice. Which mistake is
//! chosen by a *type*: [`Array`](crate::Array) is generic over [`Defects`], every place where a
//! mistake could be made asks `self.defects.has(…)`, and [`Sound`], which every real array is made
//! of, has no size and answers no at compile time, so that nothing of it is left in its code.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// A flush is answered although no member has been asked to flush. Breaks: what was flushed
    /// survives a power cut.
    AckBeforeFlush,
}

/// Which defects an engine has.
pub trait Defects: Copy + std::fmt::Debug {
    /// Whether this one is planted.
    fn has(&self, defect: Defect) -> bool;
}

/// None: the engine as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sound;

impl Defects for Sound {
    #[inline(always)]
    fn has(&self, _: Defect) -> bool {
        false
    }
}

impl Defects for Defect {
    fn has(&self, defect: Self) -> bool {
        *self == defect
    }
}
