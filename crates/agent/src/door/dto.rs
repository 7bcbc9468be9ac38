//! Requests and replies of the door.

use core::fmt;
use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use pouw_data::{Checkpoint, InputSlot, Slots};
use pouw_spec::{Input, Port, Task};
use pouw_types::contracts::{IRentals, Stop};
use pouw_types::signing::{Signed, SignedQuote};
use pouw_types::{Amount, MachineId, RentalId};
use serde::{Deserialize, Serialize};

use crate::step::{End, Step};

/// Asks for a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuoteRequest {
    /// What shall run, its image by digest.
    pub task: Task,
    /// Who will open the rental.
    pub client: Address,
    /// How many shares of the machine.
    pub units: u32,
    /// The rental that this one continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<RentalId>,
}

/// A price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteReply {
    /// The rental that this quote would open.
    pub rental: RentalId,
    /// What the machine signed.
    pub quote: SignedQuote,
    /// Rates times caps: what the host could be paid at most.
    pub max_price: Amount,
    /// Burn and foundation on top of that.
    pub max_fees: Amount,
    /// Least deposit that the ledger takes.
    pub min_deposit: Amount,
}

/// A secret of a task; wiped from logs and errors.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// From its text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself: not for logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a client hands over after opening a rental.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// What shall run; its hash must be the quote's.
    pub task: Task,
    /// Where data comes from and goes to.
    pub slots: Slots,
    /// The files that the task names as secrets.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// What it goes on from; nothing: it starts anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

/// What a task goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Resume {
    /// A save of its checkpoint's folder.
    Checkpoint(InputSlot),
    /// What the host keeps of the rental that this one continues.
    Kept,
}

impl TaskRequest {
    /// Where an input is read: from the slot of its name, or, where it comes from a prefix, from
    /// one slot for each object, named by the path below the input's.
    #[must_use]
    pub fn slots_of(&self, input: &Input) -> Vec<&InputSlot> {
        let name = input.to.as_str();
        let below = |slot: &InputSlot| {
            slot.name.strip_prefix(name).is_some_and(|rest| {
                rest.is_empty() || (input.from.is_directory() && rest.starts_with('/'))
            })
        };
        self.slots.inputs.iter().filter(|slot| below(slot)).collect()
    }
}

/// Ends a rental.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// The signer's order, if it is there; the agent then puts it on the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Signed<Stop>>,
}

/// Where a rental stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentalStatus {
    /// Which.
    pub rental: RentalId,
    /// The step it is in.
    pub step: Step,
    /// When each step began; those that took no time are left out.
    #[serde(default)]
    pub steps: Vec<StepBegan>,
    /// Whether the client's task has arrived.
    pub has_task: bool,
    /// Where the task listens for its client.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Why it does not run right now, if it should.
    pub paused: Option<String>,
    /// Blocks since the opening, 1 for its own; `None`: not in the best chain.
    pub depth: Option<u64>,
    /// What was measured.
    pub meter: MeterView,
    /// The last receipt that both sides signed.
    pub signed: Option<MeterView>,
    /// The gate's result.
    pub gate: Option<Gate>,
    /// Parts that count.
    pub parts: Vec<Part>,
    /// How many parts the task is to make, if it says so.
    pub parts_total: Option<u64>,
    /// The last save of the task's checkpoint that is whole in storage.
    #[serde(default)]
    pub checkpoint: Option<Checkpoint>,
    /// The host's notice that it will end the rental.
    #[serde(default)]
    pub notice: Option<NoticeView>,
    /// When the addresses of the task's slots end, Unix seconds: renew them before.
    #[serde(default)]
    pub slots_until: Option<u64>,
    /// Results that stay on the host for a day, because they could not be brought out.
    #[serde(default)]
    pub left: Vec<String>,
    /// Until when data of a stopped task is kept here, Unix seconds.
    #[serde(default)]
    pub kept_until: Option<u64>,
    /// Why it ended.
    pub end: Option<End>,
    /// What happened beside it, in words: outputs too large, slots that expired, ….
    pub remarks: Vec<String>,
    /// Transactions that the host sent for it.
    pub transactions: Vec<(String, B256)>,
}

/// A host's notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeView {
    /// What for.
    pub why: NoticeReason,
    /// When the host ends the rental, Unix seconds.
    pub ends_at: u64,
}

/// What a host gives notice for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeReason {
    /// Somebody pays more than this spot rental.
    Preempt,
    /// The price of this on-demand rental is to change.
    Reprice,
}

impl NoticeView {
    /// What the ledger knows of it.
    #[must_use]
    pub fn of(rental: &IRentals::Rental) -> Option<Self> {
        let why = match rental.notice {
            IRentals::Notice::Preempt => NoticeReason::Preempt,
            IRentals::Notice::Reprice => NoticeReason::Reprice,
            IRentals::Notice::None | IRentals::Notice::__Invalid => return None,
        };
        Some(Self { why, ends_at: crate::plan::notice_ends_at(rental)? })
    }
}

impl fmt::Display for NoticeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preempt => "the host gave notice: it takes the machine back",
            Self::Reprice => "the host gave notice: its price is to change",
        })
    }
}

/// A step with the moment of its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepBegan {
    /// Which.
    pub step: Step,
    /// Unix milliseconds.
    pub at_ms: u64,
}

/// Usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterView {
    /// Number of the receipt; 0 for a measurement that has none.
    pub seq: u64,
    /// Unix seconds.
    pub at: u64,
    /// Active seconds.
    pub active_s: u64,
    /// GiB·s of scratch.
    pub storage_gib_s: u64,
    /// Bytes moved.
    pub traffic_bytes: u64,
    /// Active seconds that uploaded parts and saved checkpoints cover.
    pub done_s: u64,
    /// Multiplications that mined, as far as they count.
    #[serde(default)]
    pub work_macs: u64,
    /// Whether this is the last receipt.
    pub is_final: bool,
}

/// How a gate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Best of its runs.
    pub score: u32,
    /// What passes.
    pub needed: u32,
    /// How many runs it took.
    pub runs: u32,
    /// What was run.
    #[serde(default)]
    pub probe: GateProbe,
}

/// What a gate runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateProbe {
    /// The image's own benchmark.
    ImageBench,
    /// The processor's probe: the image brings no benchmark.
    #[default]
    ProcessorForWantOfABench,
    /// The processor's probe: this host has not measured the image's benchmark yet, or it gave no
    /// result here.
    ProcessorForWantOfATest,
}

impl core::fmt::Display for GateProbe {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::ImageBench => "by the image's own benchmark",
            Self::ProcessorForWantOfABench => {
                "by the processor's probe, as the image brings no benchmark"
            }
            Self::ProcessorForWantOfATest => {
                "by the processor's probe, as this host has no result of the image's benchmark"
            }
        })
    }
}

/// A part that counts: renamed into place, hashed and uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The file, relative to the task's output folder.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// BLAKE3 of its content, hex.
    pub blake3: String,
    /// Active seconds of the task when it was seen.
    pub active_s: u64,
}

/// How far something is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// The image.
    Image,
    /// An input.
    Download,
    /// An output, the log or the manifest.
    Upload,
    /// Parts of the task.
    Parts,
}

/// Something that happened in a rental.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Grows in each rental, also when the agent is started again.
    pub id: u64,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A step began.
    Step {
        /// Which.
        step: Step,
    },
    /// Something moves.
    Progress {
        /// What.
        what: Progress,
        /// Its name.
        name: String,
        /// Bytes or parts so far.
        done: u64,
        /// Bytes or parts in all; 0 where nobody knows.
        total: u64,
    },
    /// A line of the task's output.
    Log {
        /// `stdout` or `stderr`.
        stream: String,
        /// The line, without its end.
        line: String,
    },
    /// A part counts.
    Part(Part),
    /// A save of the checkpoint is whole in storage.
    Checkpoint(Checkpoint),
    /// The host gave notice.
    Notice(NoticeView),
    /// A receipt was signed by both sides.
    Receipt(MeterView),
    /// The gate ended.
    Gate(Gate),
    /// The task stands still, unbilled.
    Paused {
        /// Why.
        why: String,
    },
    /// The task goes on.
    Resumed,
    /// A transaction was sent.
    Transaction {
        /// The call.
        call: String,
        /// Its hash.
        hash: B256,
    },
    /// Something worth knowing.
    Remark {
        /// In words.
        text: String,
    },
    /// The rental ended.
    Ended {
        /// Why.
        end: End,
    },
}

/// An error of the door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// For programs, such as `spec-invalid`.
    pub code: String,
    /// For people: what failed.
    pub message: String,
    /// For people: what would mend it.
    pub hint: String,
}

/// Whether the agent works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it can take rentals right now.
    pub ready: bool,
    /// Which machine.
    pub machine: MachineId,
    /// Height of the chain as the agent last saw it.
    pub height: u64,
    /// Rentals that are not done.
    pub rentals: u64,
    /// What is wrong, if something is.
    pub problems: Vec<String>,
}
