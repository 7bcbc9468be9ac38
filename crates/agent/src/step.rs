//! The ten steps and the reasons for which a rental ends.

use core::fmt;

use pouw_types::contracts::IRentals;
use serde::{Deserialize, Serialize};

/// Where a rental stands on its host, in the order of the ten steps.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The machine's state is recorded.
    #[default]
    Save,
    /// Image pulled; network, scratch and container made.
    Provision,
    /// The machine proves that it is as fast as its offer says.
    Gate,
    /// Inputs come in; the host posts `ready`.
    Load,
    /// The client's code runs and is billed.
    Run,
    /// The client's code is stopped.
    End,
    /// Log, outputs and manifest go out.
    Upload,
    /// What the run tells about the machine is noted; the rental is settled and closed.
    Score,
    /// The machine is brought back to its saved state.
    Reset,
    /// The rental is finalized; nothing of it stays but its journal entry.
    Dismount,
    /// Nothing is left to do.
    Done,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 11] = [
        Self::Save,
        Self::Provision,
        Self::Gate,
        Self::Load,
        Self::Run,
        Self::End,
        Self::Upload,
        Self::Score,
        Self::Reset,
        Self::Dismount,
        Self::Done,
    ];

    /// Its word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Save => "save",
            Self::Provision => "provision",
            Self::Gate => "gate",
            Self::Load => "load",
            Self::Run => "run",
            Self::End => "end",
            Self::Upload => "upload",
            Self::Score => "score",
            Self::Reset => "reset",
            Self::Dismount => "dismount",
            Self::Done => "done",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a rental ended, as its host saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum End {
    /// The task ended by itself, exit code 0.
    Completed,
    /// The task ended by itself with another exit code.
    ExitCode {
        /// Which.
        code: i64,
    },
    /// The task wanted more memory than it rented.
    OutOfMemory,
    /// The rental's active seconds are used up.
    TimeLimit,
    /// The rental's bytes of traffic are used up.
    TrafficLimit,
    /// The escrow covers no more.
    OutOfFunds,
    /// The rental's last moment came.
    EndBy,
    /// The client stopped it.
    ClientStop,
    /// The signer stayed silent, also after a call.
    ClientSilent,
    /// Somebody pays more than a spot rental; notice was given.
    Preempted,
    /// The host wants another price; notice was given.
    Repriced,
    /// The machine is slower than its offer says.
    GateFailed {
        /// Best of its runs.
        score: u32,
        /// What would have passed.
        needed: u32,
    },
    /// Preparation failed: image, inputs, or the task itself never came. Unbilled.
    NotPrepared {
        /// What was missing.
        detail: String,
    },
    /// The opening left the best chain for too long.
    PaymentReorged,
    /// The host's operator stopped it.
    HostStop,
    /// The host's machinery failed under the task.
    HostFault {
        /// What failed.
        detail: String,
    },
    /// Somebody closed the rental on chain.
    ClosedOnChain {
        /// The ledger's reason.
        #[serde(with = "reason_name")]
        by: IRentals::Reason,
    },
}

impl End {
    /// What the host tells the ledger; `None` where there is nothing to close.
    #[must_use]
    pub const fn ledger_reason(&self) -> Option<IRentals::Reason> {
        use IRentals::Reason;
        Some(match self {
            // The client's code ran and ended, well or badly: the client pays for the run.
            Self::Completed | Self::ExitCode { .. } | Self::OutOfMemory | Self::ClientStop => {
                Reason::Completed
            }
            Self::TimeLimit | Self::TrafficLimit => Reason::Limit,
            Self::OutOfFunds => Reason::OutOfFunds,
            Self::EndBy => Reason::EndBy,
            Self::ClientSilent => Reason::ClientSilent,
            Self::Preempted => Reason::Preempted,
            Self::Repriced => Reason::Repriced,
            Self::GateFailed { .. } | Self::NotPrepared { .. } => Reason::GateFailed,
            Self::HostStop | Self::HostFault { .. } => Reason::HostStop,
            Self::PaymentReorged | Self::ClosedOnChain { .. } => return None,
        })
    }

    /// Whether the client pays for all that its receipts say.
    #[must_use]
    pub const fn pays_all(&self) -> bool {
        use IRentals::Reason;
        match self {
            Self::Completed
            | Self::ExitCode { .. }
            | Self::OutOfMemory
            | Self::TimeLimit
            | Self::TrafficLimit
            | Self::OutOfFunds
            | Self::EndBy
            | Self::ClientStop
            | Self::ClientSilent
            | Self::Preempted
            | Self::Repriced => true,
            Self::GateFailed { .. }
            | Self::NotPrepared { .. }
            | Self::PaymentReorged
            | Self::HostStop
            | Self::HostFault { .. } => false,
            Self::ClosedOnChain { by } => matches!(
                by,
                Reason::ClientStop
                    | Reason::Completed
                    | Reason::Limit
                    | Reason::OutOfFunds
                    | Reason::EndBy
                    | Reason::ClientSilent
                    | Reason::Preempted
                    | Reason::Repriced
            ),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("the task completed"),
            // Nobody here sends that signal to a task whose end is not decided yet. An engine that
            // missed the kernel's reason leaves only the code.
            Self::ExitCode { code: 137 } => f.write_str(
                "the task was killed (exit code 137): most often it needed more memory than it rented",
            ),
            Self::ExitCode { code } => write!(f, "the task ended with exit code {code}"),
            Self::OutOfMemory => f.write_str("the task needed more memory than it rented"),
            Self::TimeLimit => f.write_str("the rental's time is used up"),
            Self::TrafficLimit => f.write_str("the rental's traffic is used up"),
            Self::OutOfFunds => f.write_str("the deposit is used up"),
            Self::EndBy => f.write_str("the rental's last moment came"),
            Self::ClientStop => f.write_str("the client stopped it"),
            Self::ClientSilent => f.write_str("the client's signer stayed silent"),
            Self::Preempted => f.write_str("the host took the machine back after its notice"),
            Self::Repriced => f.write_str("the host ended it for another price, after its notice"),
            Self::GateFailed { score, needed } => {
                write!(f, "the machine scored {score}, {needed} was needed")
            }
            Self::NotPrepared { detail } => write!(f, "preparation failed: {detail}"),
            Self::PaymentReorged => f.write_str("the payment left the best chain"),
            Self::HostStop => f.write_str("the host stopped it"),
            Self::HostFault { detail } => write!(f, "the host failed: {detail}"),
            Self::ClosedOnChain { by } => write!(f, "closed on chain: {}", reason_name::text(*by)),
        }
    }
}

/// The ledger's reasons as words.
pub mod reason_name {
    use pouw_types::contracts::IRentals::Reason;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    const NAMES: [(&str, Reason); 13] = [
        ("none", Reason::None),
        ("client-stop", Reason::ClientStop),
        ("completed", Reason::Completed),
        ("limit", Reason::Limit),
        ("out-of-funds", Reason::OutOfFunds),
        ("end-by", Reason::EndBy),
        ("client-silent", Reason::ClientSilent),
        ("preempted", Reason::Preempted),
        ("repriced", Reason::Repriced),
        ("gate-failed", Reason::GateFailed),
        ("not-started", Reason::NotStarted),
        ("host-stop", Reason::HostStop),
        ("host-fault", Reason::HostFault),
    ];

    /// The word for a reason.
    #[must_use]
    pub fn text(reason: Reason) -> &'static str {
        NAMES.iter().find(|(_, one)| *one == reason).map_or("unknown", |(name, _)| name)
    }

    pub(super) fn serialize<S: Serializer>(reason: &Reason, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text(*reason))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Reason, D::Error> {
        let word = String::deserialize(from)?;
        let found = NAMES.iter().find(|(name, _)| *name == word).map(|(_, reason)| *reason);
        found.ok_or_else(|| D::Error::custom(format!("no closing reason `{word}`")))
    }
}
