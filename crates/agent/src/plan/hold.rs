//! Why a task that should run stands still, unbilled.

use pouw_types::Amount;
use pouw_types::contracts::IRentals::Phase;

use super::view::{Guard, Observed, Rules};
use crate::receipt;
use crate::record::Record;

/// How long before a limit the task is frozen: freezing takes a moment, and what runs on is unpaid.
pub const MARGIN_MS: u64 = 250;

/// Why a task that should run stands still, unbilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The opening is not in the best chain.
    OffChain,
    /// The firewall that keeps the task off this machine's own network is not there.
    Unguarded,
    /// The last co-signed receipt is too far behind.
    Ahead,
    /// The escrow covers no more.
    Funds,
    /// The journal can't be written: what would run on could be neither billed nor ended.
    Unwritten,
}

impl Hold {
    /// In words.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::OffChain => "the payment left the best chain",
            Self::Unguarded => "the firewall around the task is being put up again",
            Self::Ahead => "the signer does not sign receipts",
            Self::Funds => "the deposit is used up: top it up to go on",
            Self::Unwritten => "the host can't write its journal, its disk may be full",
        }
    }
}

/// The active milliseconds at which the task is frozen, and why then.
#[must_use]
pub fn freeze_at(record: &Record, observed: &Observed, rules: &Rules) -> (u64, Hold) {
    let signed = record.signed_active_s();
    let ahead = (signed + receipt::ahead_s(signed)) * 1_000;
    let covered = observed.chain.as_ref().map_or(u64::MAX, |chain| {
        let deposit = Amount::from_atto(chain.rental.money.deposited);
        let storage = observed.totals.storage_gib_s(record.quote.caps.storageGib);
        let traffic = observed.totals.traffic_bytes;
        receipt::covered_s(&rules.rental, &record.quote, deposit, storage, traffic) * 1_000
    });
    // Where the escrow reaches as far as the cap, the time limit ends the task, not the money.
    let covered = if covered >= cap_ms(record) { u64::MAX } else { covered };
    if covered <= ahead { (covered, Hold::Funds) } else { (ahead, Hold::Ahead) }
}

/// The active milliseconds that the quote sells.
#[must_use]
pub const fn cap_ms(record: &Record) -> u64 {
    record.quote.caps.activeS.saturating_mul(1_000)
}

/// Why the task should stand still right now, if it should.
#[must_use]
pub fn hold(record: &Record, observed: &Observed, rules: &Rules) -> Option<Hold> {
    if !observed.writable {
        return Some(Hold::Unwritten);
    }
    match &observed.chain {
        None => return Some(Hold::OffChain),
        Some(chain) if chain.rental.phase == Phase::None => return Some(Hold::OffChain),
        Some(_) => {}
    }
    if record.egress && observed.guard == Guard::Down {
        return Some(Hold::Unguarded);
    }
    let (at, why) = freeze_at(record, observed, rules);
    (observed.totals.active_ms.saturating_add(MARGIN_MS) >= at).then_some(why)
}
