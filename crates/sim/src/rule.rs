//! The rules as they are, and what was weighed against them to close what timestamps open.

/// Which rule a simulated chain follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// As in `docs/spec/chain.md`.
    #[default]
    Current,
    /// Silence is counted by timestamps alone: a block stands for one spacing at least.
    TimeSilence,
    /// And a block's time is at least T/4 after its parent's.
    MinSpacing,
    /// And a block's time is at least n·T/4 after that of its n-th ancestor, n up to 11.
    WindowFloor,
    /// And a block weighs in full only as far as its branch has saved up time: a quarter of T each, at
    /// most 60 T saved.
    TimeCredit,
}

impl Rule {
    /// The rules as they are, then the others.
    pub const ALL: [Self; 5] =
        [Self::Current, Self::TimeSilence, Self::MinSpacing, Self::WindowFloor, Self::TimeCredit];

    /// What tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "as it is",
            Self::TimeSilence => "silence by time",
            Self::MinSpacing => "spacing >= T/4",
            Self::WindowFloor => "11 blocks >= 11 T/4",
            Self::TimeCredit => "weight by time credit",
        }
    }

    /// What one types for it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::TimeSilence => "time-silence",
            Self::MinSpacing => "min-spacing",
            Self::WindowFloor => "window-floor",
            Self::TimeCredit => "time-credit",
        }
    }

    /// The rule of a key.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.key() == key)
    }

    /// The most time credit, in T.
    pub(crate) const fn bank(self) -> f64 {
        match self {
            Self::TimeCredit => 60.0,
            _ => 0.0,
        }
    }
}
