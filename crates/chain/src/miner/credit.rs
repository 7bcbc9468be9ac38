//! Drawing the slots of lane 2 for this node's machines: one try a second and machine.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use pouw_consensus::Lane;

use super::{MinerError, MinerReport, Stop, locked};
use crate::chain::Chain;
use crate::error::ImportError;

/// A machine whose slots are drawn, and the secret half of the key that `Hosts.setLaneKey` was told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LaneKey {
    /// Which machine.
    pub machine: Address,
    /// Ed25519.
    pub secret: [u8; 32],
}

impl core::fmt::Debug for LaneKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LaneKey").field("machine", &self.machine).finish_non_exhaustive()
    }
}

pub(super) struct Draw {
    pub(super) chain: Chain,
    pub(super) keys: Vec<LaneKey>,
    pub(super) min_spacing_ms: u64,
    pub(super) stop: Arc<Stop>,
    pub(super) report: Arc<Mutex<MinerReport>>,
}

impl Draw {
    pub(super) fn start(self) -> Result<std::thread::JoinHandle<()>, MinerError> {
        let thread = std::thread::Builder::new().name("lane 2".to_owned());
        Ok(thread.spawn(move || self.run())?)
    }

    fn run(self) {
        loop {
            // A slot is a second of the chain's clock; its start is as good as any moment of it.
            let into = self.chain.now_ms() % 1_000;
            if self.stop.wait(Duration::from_millis(1_000_u64.saturating_sub(into))) {
                return;
            }
            for key in &self.keys {
                match self.draw(key) {
                    Ok(()) => {}
                    Err(error) if error.is_fatal() => {
                        tracing::error!(%error, "lane 2 stops: the chain failed");
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "a block of lane 2 was not taken"),
                }
            }
        }
    }

    fn draw(&self, key: &LaneKey) -> Result<(), ImportError> {
        let began = Instant::now();
        let Some(lot) = self.chain.lot(key.machine)? else { return Ok(()) };
        let now_ms = self.chain.now_ms();
        let earliest = self.chain.head().time_ms().saturating_add(self.min_spacing_ms);
        if lot.credit == 0 || now_ms < earliest {
            return Ok(());
        }
        let slot = now_ms / 1_000;
        let proof = lot.draw(&key.secret, slot);
        locked(&self.report).tried(Lane::Credit, 1, began.elapsed());
        let Some(proof) = proof else { return Ok(()) };
        let template = self.chain.template_of(Lane::Credit, lot.payout)?;
        if template.parent() != lot.parent || template.core.time_ms / 1_000 != slot {
            // Another block was faster, or the second is over.
            return Ok(());
        }
        let block = template.claimed(key.machine, &key.secret, proof);
        self.chain.import_block(block)?;
        let mut report = locked(&self.report);
        report.won(Lane::Credit);
        report.credit_minted = report.credit_minted.saturating_add(template.minted().atto());
        Ok(())
    }
}
