//! What an action came to, written back into the record: pure.

use alloy_primitives::{B256, Bytes};
use pouw_data::Checkpoint;

use crate::contract::Cosigned;
use crate::door::{Gate, Part};
use crate::engine::{ContainerId, MachineState};
use crate::plan::{Action, Call, Container, MAX_ATTEMPTS, Observed};
use crate::record::{Fetched, Record};
use crate::step::{End, Step};

/// Why an action failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may succeed later.
    Transient,
    /// It fails again: the task or its client is to blame.
    Client,
    /// It fails again: the store refuses it, or the slot has expired.
    Store,
    /// It fails again: this machine is to blame.
    Host,
}

/// What an action came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The machine's state.
    Saved(Box<MachineState>),
    /// Everything is made.
    Provisioned(ContainerId),
    /// The gate ended.
    Gated(Gate),
    /// The inputs are in place.
    Loaded(Vec<Fetched>),
    /// The container was looked at, or brought into another state.
    Seen(Container),
    /// The firewall around the task's network was looked at: whether it stands.
    Guarded(bool),
    /// A part is out.
    Part(Part),
    /// A copy of the checkpoint is made.
    Copied(Checkpoint),
    /// No copy of it: nothing is there, nothing changed, or what is said.
    NotCopied(Option<String>),
    /// A save of the checkpoint is whole in storage.
    Durable(Checkpoint),
    /// The copy did not get there, and will not.
    Undurable(String),
    /// Log, outputs and manifest are out.
    Uploaded(B256),
    /// What could not be brought out stays here.
    Left {
        /// Root of the manifest.
        root: B256,
        /// What stays.
        names: Vec<String>,
        /// Why.
        why: String,
    },
    /// The run is noted.
    Noted,
    /// The machine is as it was saved.
    Reset,
    /// A sent transaction was taken by the ledger.
    Included(Call),
    /// The ledger refuses a transaction.
    Refused(Call, String),
    /// The signer signed it too.
    Cosigned(Bytes),
    /// The signer refuses it.
    Unsigned(String),
    /// The signer does not answer.
    Silent(String),
    /// The task's container can't be seen.
    Lost(String),
    /// Nothing to note.
    Nothing,
    /// It failed.
    Failed(Action, Failure, String),
}

/// Writes an outcome into the record.
pub fn apply(record: &mut Record, outcome: Outcome, observed: &Observed) {
    match outcome {
        Outcome::Saved(state) => record.saved = Some(*state),
        Outcome::Provisioned(container) => record.container = Some(container),
        Outcome::Gated(gate) => gated(record, gate),
        Outcome::Loaded(fetched) => {
            record.fetched = fetched;
            record.loaded = true;
        }
        Outcome::Seen(container) => seen(record, container),
        Outcome::Guarded(true) => record.unguarded_since_s = None,
        Outcome::Guarded(false) => {
            record.unguarded_since_s.get_or_insert(observed.now_s);
            record.remark("the firewall around the task was gone");
        }
        Outcome::Part(part) => {
            if !record.parts.iter().any(|known| known.path == part.path) {
                record.parts.push(part);
            }
        }
        Outcome::Copied(_)
        | Outcome::NotCopied(_)
        | Outcome::Durable(_)
        | Outcome::Undurable(_) => {
            saves(record, outcome, observed);
        }
        Outcome::Uploaded(root) => {
            record.manifest_root = root;
            record.uploaded = true;
        }
        Outcome::Left { root, names, why } => {
            record.remark(format!("results stay on the host: {why}"));
            record.left = names;
            record.manifest_root = root;
            record.uploaded = true;
        }
        Outcome::Noted => record.noted = true,
        Outcome::Reset => record.reset = true,
        Outcome::Refused(call, reason) => refused(record, call, &reason),
        Outcome::Cosigned(signature) => cosigned(record, signature),
        Outcome::Unsigned(reason) => {
            record.remark(format!("the signer refuses a receipt: {reason}"));
            record.silent_since_s.get_or_insert(observed.now_s);
        }
        Outcome::Silent(_) => {
            record.silent_since_s.get_or_insert(observed.now_s);
        }
        Outcome::Lost(detail) => {
            record.engine_lost_s.get_or_insert(observed.now_s);
            record.remark(format!("the task can't be seen: {detail}"));
        }
        Outcome::Included(_) | Outcome::Nothing => {}
        Outcome::Failed(action, failure, detail) => {
            if action == Action::Network {
                record.unguarded_since_s.get_or_insert(observed.now_s);
            }
            failed(record, action, failure, &detail, observed);
        }
    }
}

fn saves(record: &mut Record, outcome: Outcome, observed: &Observed) {
    match outcome {
        Outcome::Copied(copy) => {
            record.saves.copied = Some(copy);
            record.saves.tried_ms = observed.totals.active_ms;
        }
        Outcome::NotCopied(why) => {
            record.saves.tried_ms = observed.totals.active_ms;
            if let Some(why) = why {
                record.remark(why);
            }
        }
        Outcome::Durable(saved) => {
            record.saves.copied = None;
            record.saves.durable = Some(saved);
        }
        Outcome::Undurable(why) => {
            record.saves.copied = None;
            record.remark(why);
        }
        _ => {}
    }
}

fn gated(record: &mut Record, gate: Gate) {
    record.gate = Some(gate);
    if gate.score < gate.needed {
        record.end.get_or_insert(End::GateFailed { score: gate.score, needed: gate.needed });
    }
}

fn seen(record: &mut Record, container: Container) {
    match container {
        Container::Running | Container::Paused => record.engine_lost_s = None,
        Container::Exited(exit) => record.exit = Some(exit),
        Container::Unknown | Container::Absent | Container::Created => {}
    }
}

fn refused(record: &mut Record, call: Call, reason: &str) {
    record.remark(format!("the ledger refuses {}: {reason}", call.name()));
    match call {
        Call::Close(_) | Call::Stop => record.refusals = record.refusals.saturating_add(1),
        Call::Ready | Call::Settle | Call::Call | Call::Answer | Call::Claim | Call::Finalize => {}
    }
}

fn cosigned(record: &mut Record, signature: Bytes) {
    let Some(proposal) = record.proposal.take() else { return };
    let newest = record.signed.as_ref().is_none_or(|s| s.receipt.seq < proposal.value.seq);
    if newest {
        record.signed = Some(Cosigned {
            receipt: proposal.value,
            machine_signature: proposal.signature,
            signer_signature: signature,
        });
    }
    record.silent_since_s = None;
}

fn failed(
    record: &mut Record,
    action: Action,
    failure: Failure,
    detail: &str,
    observed: &Observed,
) {
    record.remark(detail);
    record.attempts = record.attempts.saturating_add(1);
    let given_up = failure != Failure::Transient || record.attempts >= MAX_ATTEMPTS;
    if !given_up {
        return;
    }
    match action {
        Action::Save | Action::Provision | Action::Gate | Action::Load => {
            record.end.get_or_insert(End::NotPrepared { detail: detail.to_owned() });
        }
        // The start is what the client's command makes of it.
        Action::Start if failure == Failure::Client => {
            record.end.get_or_insert(End::ExitCode { code: 127 });
        }
        Action::Start => {
            record.end.get_or_insert(End::HostFault { detail: detail.to_owned() });
        }
        // The next one comes an interval later.
        Action::Copy => record.saves.tried_ms = observed.totals.active_ms,
        Action::Checkpoint => record.saves.copied = None,
        Action::Upload => record.uploaded = true,
        Action::Note => record.noted = true,
        // These are tried until they succeed: nothing may be left behind, and no task unseen.
        Action::Inspect
        | Action::Pause
        | Action::Unpause
        | Action::Terminate
        | Action::Reset
        | Action::Send(_)
        | Action::Cosign { .. }
        | Action::Wait
        | Action::Logs
        | Action::Parts
        | Action::Mine
        | Action::Network => {}
    }
}

/// What is written down before an action begins, so that a crash in its midst is seen.
pub fn begin(record: &mut Record, action: Action) -> bool {
    if action == Action::Start && record.step == Step::Run && !record.started {
        record.started = true;
        return true;
    }
    false
}

impl Call {
    /// The call's name in the ABI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Settle => "settle",
            Self::Call => "call",
            Self::Answer => "answer",
            Self::Stop => "stop",
            Self::Close(_) => "close",
            Self::Claim => "claim",
            Self::Finalize => "finalize",
        }
    }
}
