//! The two counters of the protocol: ballots order configurations, decrees order mutations.

use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// The one after this; the last's is the last. No history gets there, but bytes from elsewhere can say it, and it must not
            /// become the first.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The one before this; zero's is zero.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// Version of a partition's configuration; grows by one with every change. Zero: none stored yet.
    Ballot
}

counter! {
    /// A mutation's serial number in its partition, from one. Zero: nothing yet.
    Decree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stay_between_their_ends() {
        assert_eq!(Decree::ZERO.previous(), Decree::ZERO);
        assert_eq!(Decree(7).next().previous(), Decree(7));
        assert_eq!(Ballot(u64::MAX).next(), Ballot(u64::MAX));
    }
}
