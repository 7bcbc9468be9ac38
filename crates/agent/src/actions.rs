//! Performs the actions of [`plan`](crate::plan): everything here may be called again after a
//! crash in its midst.

mod chain;
mod checkpoint;
mod gate;
mod left;
mod mining;
mod network;
mod outputs;
mod prepare;
mod run;

use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::engine::{EngineError, Owner};
use crate::outcome::{Failure, Outcome};
use crate::plan::Action;
use crate::rental::Rental;
use crate::watcher::Snapshot;

/// Carries an action's outcomes to its rental's loop.
#[derive(Debug)]
pub(crate) struct Report {
    action: Action,
    outcomes: mpsc::Sender<(Action, Outcome, bool)>,
}

impl Report {
    /// Of this action.
    #[must_use]
    pub(crate) const fn new(
        action: Action,
        outcomes: mpsc::Sender<(Action, Outcome, bool)>,
    ) -> Self {
        Self { action, outcomes }
    }

    /// Something on the way.
    pub(crate) async fn also(&self, outcome: Outcome) {
        // Nobody listens when the agent ends: the action is done again then.
        drop(self.outcomes.send((self.action, outcome, false)).await);
    }

    /// The last word.
    pub(crate) async fn last(self, outcome: Outcome) {
        drop(self.outcomes.send((self.action, outcome, true)).await);
    }
}

/// What every action gets.
#[derive(Clone, Copy, Debug)]
struct Scene<'a> {
    context: &'a Context,
    rental: &'a Rental,
}

impl Scene<'_> {
    const fn owner(self) -> Owner {
        Owner { machine: self.context.machine.id(), rental: self.rental.id }
    }
}

/// Why an action failed, and what its outcome says about it.
#[derive(Debug)]
struct Trouble(Failure, String);

impl Trouble {
    fn host(detail: impl core::fmt::Display) -> Self {
        Self(Failure::Host, format!("{detail}"))
    }

    fn client(detail: impl core::fmt::Display) -> Self {
        Self(Failure::Client, format!("{detail}"))
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Self {
        let failure = if error.is_transient() {
            Failure::Transient
        } else if error.is_client_fault() {
            Failure::Client
        } else {
            Failure::Host
        };
        Self(failure, in_full(&error))
    }
}

/// An error with its causes, in one line.
pub(crate) fn in_full(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Performs an action to its end.
pub(crate) async fn perform(
    context: &Context,
    rental: &Rental,
    chain: watch::Receiver<Snapshot>,
    action: Action,
    report: &Report,
) -> Outcome {
    let scene = Scene { context, rental };
    let done = match action {
        Action::Save => prepare::save(scene).await,
        Action::Provision => prepare::provision(scene).await,
        Action::Gate => gate::gate(scene).await,
        Action::Load => prepare::load(scene).await,
        Action::Inspect => run::inspect(scene).await,
        Action::Start => run::start(scene).await,
        Action::Pause => run::pause(scene).await,
        Action::Unpause => run::unpause(scene).await,
        Action::Terminate => run::terminate(scene).await,
        Action::Wait => Ok(run::wait(scene).await),
        Action::Logs => Ok(run::logs(scene).await),
        Action::Network => network::watch(scene, report).await,
        Action::Parts => outputs::watch_parts(scene, report).await,
        Action::Copy => checkpoint::copy(scene, report).await,
        Action::Checkpoint => checkpoint::bring_out(scene).await,
        Action::Mine => Ok(mining::serve(scene).await),
        Action::Upload => outputs::upload(scene, report).await,
        Action::Note => outputs::note(scene).await,
        Action::Reset => prepare::reset(scene).await,
        Action::Cosign { is_final } => chain::cosign(scene, &chain, is_final).await,
        Action::Send(call) => chain::send(scene, chain, call).await,
    };
    match done {
        Ok(outcome) => outcome,
        Err(Trouble(failure, detail)) => Outcome::Failed(action, failure, detail),
    }
}
