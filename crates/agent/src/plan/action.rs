//! What an agent can do for a rental, and what goes on beside what.

use pouw_types::contracts::IRentals::Reason;

/// What can be done at the same time: at most one action a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The machine.
    Work,
    /// Transactions.
    Chain,
    /// The signer.
    Sign,
    /// Waiting for the task's end.
    Wait,
    /// Reading the task's output.
    Logs,
    /// Watching for parts.
    Parts,
    /// Bringing a checkpoint out.
    Checkpoint,
    /// Serving the mining socket.
    Mine,
    /// Watching the task's network.
    Network,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Record the machine's state.
    Save,
    /// Make image, network, scratch and container.
    Provision,
    /// Prove the machine's speed.
    Gate,
    /// Bring the inputs in.
    Load,
    /// Look at the container.
    Inspect,
    /// Start the task.
    Start,
    /// Freeze it.
    Pause,
    /// Let it go on.
    Unpause,
    /// End it.
    Terminate,
    /// Bring log, outputs and manifest out.
    Upload,
    /// Note the run in the machine's history.
    Note,
    /// Bring the machine back to its saved state.
    Reset,
    /// Send a transaction.
    Send(Call),
    /// Get a receipt signed.
    Cosign {
        /// Whether it is the last one.
        is_final: bool,
    },
    /// Wait for the task's end.
    Wait,
    /// Read the task's output.
    Logs,
    /// Upload parts as they appear.
    Parts,
    /// Freeze the task, copy its checkpoint, let it go on.
    Copy,
    /// Bring the copy of the checkpoint out.
    Checkpoint,
    /// Serve the task's mining socket.
    Mine,
    /// Count what passes the task's network, and see that its firewall stands.
    Network,
}

/// A transaction to send; its content follows from the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    ///
    Ready,
    ///
    Settle,
    /// R-9, by us.
    Call,
    /// R-9, to the client's call.
    Answer,
    /// R-10, by the signer's order.
    Stop,
    ///
    Close(Reason),
    ///
    Claim,
    ///
    Finalize,
}

impl Action {
    /// Where it runs.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Send(_) => Lane::Chain,
            Self::Cosign { .. } => Lane::Sign,
            Self::Wait => Lane::Wait,
            Self::Logs => Lane::Logs,
            Self::Parts => Lane::Parts,
            Self::Checkpoint => Lane::Checkpoint,
            Self::Mine => Lane::Mine,
            Self::Network => Lane::Network,
            Self::Save
            | Self::Provision
            | Self::Gate
            | Self::Load
            | Self::Inspect
            | Self::Start
            | Self::Pause
            | Self::Unpause
            | Self::Copy
            | Self::Terminate
            | Self::Upload
            | Self::Note
            | Self::Reset => Lane::Work,
        }
    }

    /// Whether it may be dropped half-way when it is no longer wanted.
    #[must_use]
    pub const fn is_droppable(self) -> bool {
        !matches!(
            self,
            Self::Start
                | Self::Pause
                | Self::Unpause
                | Self::Copy
                | Self::Terminate
                | Self::Reset
                | Self::Save
                | Self::Note
                | Self::Cosign { .. }
                | Self::Send(_)
        )
    }
}
