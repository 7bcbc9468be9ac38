//! What the agent remembers of one rental; [`journal`](crate::journal) keeps it.

use alloy_primitives::B256;
use pouw_data::Checkpoint;
use pouw_spec::Port;
use pouw_types::RentalId;
use pouw_types::contracts::{Quote, Receipt, Stop};
use pouw_types::signing::Signed;
use serde::{Deserialize, Serialize};

use crate::contract::Cosigned;
use crate::door::{Gate, MeterView, Part, StepBegan};
use crate::engine::{ContainerId, Exit, MachineState};
use crate::meter::Totals;
use crate::step::{End, Step};

/// Version of [`Record`] on disk.
pub const RECORD_VERSION: u32 = 1;
/// Most remarks and transactions that a record keeps.
const MAX_LIST: usize = 200;

/// An object that was fetched as an input, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetched {
    /// Its name in the task.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest, as it came.
    pub blake3: B256,
}

/// Saves of a task's checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saves {
    /// Active seconds between two; 0: the task declares no checkpoint.
    pub interval_s: u64,
    /// Active milliseconds of the task when the last was tried.
    pub tried_ms: u64,
    /// The copy that is on its way to storage; written once it lies in the staging folder whole.
    pub copied: Option<Checkpoint>,
    /// The last one that is whole in storage.
    pub durable: Option<Checkpoint>,
}

impl Saves {
    /// The number of the next save.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.durable.as_ref().map_or(1, |saved| saved.number.saturating_add(1))
    }

    /// The active milliseconds at which the next copy is due; `None` while one is on its way, and
    /// for a task without a checkpoint.
    #[must_use]
    pub fn due_at_ms(&self) -> Option<u64> {
        let waits = self.interval_s == 0 || self.copied.is_some();
        (!waits).then(|| self.tried_ms.saturating_add(self.interval_s.saturating_mul(1_000)))
    }
}

/// Everything about a rental that must outlive the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the journal")]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// Which rental.
    pub rental: RentalId,
    /// What opened it.
    #[serde(with = "crate::wire")]
    pub quote: Quote,
    /// When the agent first saw the opening, Unix seconds.
    pub seen_at_s: u64,
    /// The step it is in.
    pub step: Step,
    /// When each step began, in their order.
    #[serde(default)]
    pub steps: Vec<StepBegan>,
    /// Whether the client's task lies beside this record.
    pub has_task: bool,
    /// How many parts the task is to make, if it says so.
    pub parts_total: Option<u64>,
    /// Whether the task has a network, which is guarded and counted.
    #[serde(default)]
    pub egress: bool,
    /// Where the task listens for its client.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Since when the firewall around the task is not as it was loaded, Unix seconds.
    #[serde(default)]
    pub unguarded_since_s: Option<u64>,
    /// The machine before anything was made for this rental.
    pub saved: Option<MachineState>,
    /// The task's container.
    pub container: Option<ContainerId>,
    /// How the gate ended.
    pub gate: Option<Gate>,
    /// Whether all inputs are in place.
    pub loaded: bool,
    /// What was fetched for them.
    #[serde(default)]
    pub fetched: Vec<Fetched>,
    /// Whether the container's start was ordered; written before it is.
    pub started: bool,
    /// Usage up to the last writing.
    pub totals: Totals,
    /// A receipt that the machine signed and the signer did not yet; written before it is sent.
    pub proposal: Option<Signed<Receipt>>,
    /// The last receipt that both signed; written before it counts.
    pub signed: Option<Cosigned>,
    /// Since when the signer is silent, Unix seconds.
    pub silent_since_s: Option<u64>,
    /// Parts that count.
    pub parts: Vec<Part>,
    /// Saves of the task's checkpoint.
    #[serde(default)]
    pub saves: Saves,
    /// The height at which the opening was first missing from the best chain.
    pub off_since: Option<u64>,
    /// Since when the engine does not answer while the task should run, Unix seconds.
    pub engine_lost_s: Option<u64>,
    /// How the task ended.
    pub exit: Option<Exit>,
    /// Why the rental ends.
    pub end: Option<End>,
    /// The signer's order to end it.
    pub stop_order: Option<Signed<Stop>>,
    /// how long the client wants its data kept from the closing on, seconds; 0: not.
    #[serde(default)]
    pub keep_s: u64,
    /// Whether that is over.
    #[serde(default)]
    pub keep_over: bool,
    /// Whether log, outputs and manifest are out, or given up.
    pub uploaded: bool,
    /// Results that stay here because they could not be brought out.
    #[serde(default)]
    pub left: Vec<String>,
    /// When the slots' addresses end, Unix seconds.
    #[serde(default)]
    pub slots_until_s: Option<u64>,
    /// When the client's task came, Unix seconds.
    #[serde(default)]
    pub task_at_s: Option<u64>,
    /// Root of the manifest.
    pub manifest_root: B256,
    /// Whether the run is noted in the machine's history.
    pub noted: bool,
    /// Whether the machine is as it was saved.
    pub reset: bool,
    /// Failed tries of the current step.
    pub attempts: u32,
    /// Refused closings: the next reason is tried.
    pub refusals: u32,
    /// When the last settlement was sent, or the opening seen; Unix seconds.
    pub settled_at_s: u64,
    /// When everything was done, Unix seconds.
    pub done_at_s: Option<u64>,
    /// What happened beside it, in words.
    pub remarks: Vec<String>,
    /// Transactions sent, by call and hash.
    pub transactions: Vec<(String, B256)>,
}

impl Record {
    /// For a rental whose opening was just seen.
    #[must_use]
    pub fn new(rental: RentalId, quote: Quote, now_s: u64) -> Self {
        Self {
            version: RECORD_VERSION,
            rental,
            quote,
            seen_at_s: now_s,
            step: Step::Save,
            steps: Vec::new(),
            has_task: false,
            parts_total: None,
            egress: false,
            ports: Vec::new(),
            unguarded_since_s: None,
            saved: None,
            container: None,
            gate: None,
            loaded: false,
            fetched: Vec::new(),
            started: false,
            totals: Totals::default(),
            proposal: None,
            signed: None,
            silent_since_s: None,
            parts: Vec::new(),
            saves: Saves::default(),
            off_since: None,
            engine_lost_s: None,
            exit: None,
            end: None,
            stop_order: None,
            keep_s: 0,
            keep_over: false,
            uploaded: false,
            left: Vec::new(),
            slots_until_s: None,
            task_at_s: None,
            manifest_root: B256::ZERO,
            noted: false,
            reset: false,
            attempts: 0,
            refusals: 0,
            settled_at_s: now_s,
            done_at_s: None,
            remarks: Vec::new(),
            transactions: Vec::new(),
        }
    }

    /// Notes that the step it is in began, if that is not noted yet.
    pub fn step_began(&mut self, at_ms: u64) {
        if self.steps.last().is_none_or(|last| last.step < self.step) {
            self.steps.push(StepBegan { step: self.step, at_ms });
        }
    }

    /// Active seconds of the last co-signed receipt.
    #[must_use]
    pub fn signed_active_s(&self) -> u64 {
        self.signed.as_ref().map_or(0, |signed| signed.receipt.activeS)
    }

    /// Whether both sides signed the last receipt.
    #[must_use]
    pub fn is_final_signed(&self) -> bool {
        self.signed.as_ref().is_some_and(|signed| signed.receipt.isFinal)
    }

    /// Active seconds that uploaded parts and saved checkpoints cover.
    #[must_use]
    pub fn done_s(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.active_s);
        parts.chain(self.saves.durable.iter().map(|saved| saved.active_s)).max().unwrap_or(0)
    }

    /// whether the client's data stays here though its task has ended.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.keep_s > 0 && self.started && !self.keep_over
    }

    /// Notes something; the oldest go when there are too many.
    pub fn remark(&mut self, text: impl Into<String>) {
        let text: String = text.into();
        if self.remarks.last() != Some(&text) {
            self.remarks.push(text.chars().take(500).collect());
        }
        if self.remarks.len() > MAX_LIST {
            self.remarks.remove(0);
        }
    }

    /// Notes a transaction.
    pub fn sent(&mut self, call: &str, hash: B256) {
        self.transactions.push((call.to_owned(), hash));
        if self.transactions.len() > MAX_LIST {
            self.transactions.remove(0);
        }
    }

    /// What the last co-signed receipt says.
    #[must_use]
    pub fn signed_view(&self) -> Option<MeterView> {
        self.signed.as_ref().map(|signed| view(&signed.receipt))
    }
}

/// A receipt as the door shows it.
#[must_use]
pub fn view(receipt: &Receipt) -> MeterView {
    MeterView {
        seq: receipt.seq,
        at: receipt.at,
        active_s: receipt.activeS,
        storage_gib_s: u64::try_from(receipt.storageGibS).unwrap_or(u64::MAX),
        traffic_bytes: receipt.trafficB,
        done_s: receipt.doneS,
        work_macs: u64::try_from(receipt.workMacs).unwrap_or(u64::MAX),
        is_final: receipt.isFinal,
    }
}
