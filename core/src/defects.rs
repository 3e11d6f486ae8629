//! Planted defects: what a core that breaks its promises would do wrong, by name.
//!
//! A simulator that finds nothing may mean a good core or a poor simulator. So a core can be built
//! with one of its known mistakes in it, and whoever tests it must notice. Which mistake is chosen
//! by a *type*: the core is generic over its `Defects`, the one place where a mistake would be made
//! asks `self.defects.has(…)`, and `Sound`, which every real one is made of, has no size and answers
//! no at compile time, so that nothing of it is left in its code.
//!
//! [`defects!`](crate::defects!) makes all of that of a list: `Defect`, `Defects` and `Sound`, in the
//! module where it stands.

use std::fmt;
use std::str::FromStr;

/// A kind of planted mistake, whichever core it is planted into.
pub trait Planted:
    Copy + fmt::Display + FromStr<Err = UnknownDefect> + Send + Sync + 'static
{
    /// Every one.
    fn all() -> &'static [Self];

    /// Its name on a command line.
    fn name(self) -> &'static str;

    /// What the core does wrong.
    fn what(self) -> &'static str;

    /// The promise that it breaks.
    fn breaks(self) -> &'static str;
}

/// No defect has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no planted defect is called {0:?}")]
pub struct UnknownDefect(pub String);

/// The mistakes that can be planted into a core: of each its name in code and on a command line,
/// what the core does wrong, and the promise that it breaks.
#[macro_export]
macro_rules! defects {
    ($($name:ident $text:literal $what:literal, $breaks:literal;)*) => {
        /// One mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Defect {
            $(#[doc = concat!($what, " Breaks: ", $breaks)] $name,)*
        }

        impl Defect {
            /// Every one.
            pub const ALL: [Self; [$($text,)*].len()] = [$(Self::$name,)*];

            /// Its name on a command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the core does wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// The promise that it breaks.
            pub const fn breaks(self) -> &'static str {
                match self { $(Self::$name => $breaks,)* }
            }
        }

        impl ::std::fmt::Display for Defect {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::std::str::FromStr for Defect {
            type Err = $crate::defects::UnknownDefect;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.into_iter().find(|defect| defect.name() == text);
                found.ok_or_else(|| $crate::defects::UnknownDefect(text.to_owned()))
            }
        }

        impl $crate::defects::Planted for Defect {
            fn all() -> &'static [Self] {
                &Self::ALL
            }

            fn name(self) -> &'static str {
                self.name()
            }

            fn what(self) -> &'static str {
                self.what()
            }

            fn breaks(self) -> &'static str {
                self.breaks()
            }
        }

        /// Which mistakes are planted.
        pub trait Defects: Copy + ::std::fmt::Debug {
            /// Whether any is planted at all. A constant, so that what a sound core is asked is
            /// answered when it is compiled.
            const PLANTED: bool;

            /// Whether this one is planted, if any is.
            fn is(&self, defect: Defect) -> bool;

            /// Whether this one is planted.
            #[inline(always)]
            fn has(&self, defect: Defect) -> bool {
                Self::PLANTED && self.is(defect)
            }
        }

        /// None: as it should be.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Sound;

        impl Defects for Sound {
            const PLANTED: bool = false;

            fn is(&self, _: Defect) -> bool {
                unreachable!("nobody asks a sound core")
            }
        }

        impl Defects for Defect {
            const PLANTED: bool = true;

            // Not inlined, so that a look at a binary tells where it is asked.
            #[inline(never)]
            fn is(&self, defect: Self) -> bool {
                *self == defect
            }
        }
    };
}

#[cfg(test)]
mod tests {
    #[expect(unreachable_pub, reason = "the list makes what a crate shows")]
    mod planted {
        crate::defects! {
            OffByOne "off-by-one" "One more than allowed.", "the limit holds.";
            Forgotten "forgotten" "What was asked is forgotten.", "everybody is answered.";
        }
    }

    use planted::{Defect, Defects, Sound};

    #[test]
    fn defects_are_known_by_name() {
        for defect in Defect::ALL {
            assert_eq!(defect.to_string().parse(), Ok(defect));
            assert!(Defect::ALL.into_iter().all(|other| defect.has(other) == (defect == other)));
            assert!(!Sound.has(defect));
        }
        assert_eq!(Defect::OffByOne.breaks(), "the limit holds.");
        let unknown = "cosmic-rays".parse::<Defect>().map_err(|error| error.to_string());
        assert_eq!(unknown, Err("no planted defect is called \"cosmic-rays\"".to_owned()));
    }
}
