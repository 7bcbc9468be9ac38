//! Rules that tests can break, one at a time, to show that they would notice.
//!
//! Outside this crate's tests every switch is off at compile time.

/// A broken variant of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// a host may run ahead without limit.
    AheadUnlimited,
    /// fees are rounded on each settlement, not on the sum.
    FeesPerSettlement,
    /// settling pays the full meters.
    SettlePaysAll,
    /// a receipt may lower a meter.
    MetersFall,
    /// a call is unanswered once the blocks have passed, whatever the clock says.
    WindowInBlocksOnly,
    /// a claim counts although the host is at fault.
    ClaimOnFault,
    /// a forfeit isn't limited by the bond.
    ForfeitAboveBond,
    /// finalizing twice.
    ClosedReopens,
    /// units stay taken after the close.
    UnitsKept,
    /// the successor's unused fund vanishes.
    FundVanishes,
}

#[cfg(test)]
std::thread_local! {
    static ACTIVE: core::cell::Cell<Option<Flaw>> = const { core::cell::Cell::new(None) };
}

/// Whether the rule is broken on this thread.
#[cfg(test)]
pub(crate) fn is(flaw: Flaw) -> bool {
    ACTIVE.get() == Some(flaw)
}

/// Never, outside tests.
#[cfg(not(test))]
pub(crate) const fn is(_: Flaw) -> bool {
    false
}

/// Breaks a rule while a closure runs.
#[cfg(test)]
pub(crate) fn with<T>(flaw: Option<Flaw>, run: impl FnOnce() -> T) -> T {
    ACTIVE.set(flaw);
    let result = run();
    ACTIVE.set(None);
    result
}
