//! `pouw attach`, `pouw logs`, `pouw stop`, `pouw cp`: a rental after its opening.

use core::time::Duration;
use std::io::Write;

use alloy_primitives::Bytes;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use pouw_agent::End;
use pouw_agent::door::{Client, EventKind, StopRequest};
use pouw_api::signer::EndRental;
use pouw_types::Amount;
use pouw_types::contracts::{IRentals, RENTALS, Stop};
use pouw_types::signing::{Signable, Signed};

use crate::cli::{CpArgs, LogsArgs, PasswordArgs, RentalArgs, StopArgs};
use crate::client::bucket::{Bucket, now_s};
use crate::client::follow::{Screen, follow};
use crate::client::invoice::Invoice;
use crate::client::node::Node;
use crate::client::rpc::Rpc;
use crate::client::runs::{Run, Runs};
use crate::client::sender::{Order, Sender};
use crate::exit::{Interrupted, Refused, TaskFailed};
use crate::output::bytes;
use crate::session::Session;

/// How long the host has to put a stop on the chain before the client does.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
const NODE_TIMEOUT: Duration = Duration::from_secs(10);

/// A rental of this client with the key and the door that belong to it.
pub(crate) struct Opened {
    pub(crate) run: Run,
    pub(crate) key: PrivateKeySigner,
    pub(crate) door: Client,
}

impl Opened {
    fn find(session: &Session, args: &RentalArgs) -> anyhow::Result<Self> {
        let run = Runs::new(&session.places.data).find(args.rental.as_deref())?;
        let key = session.unlock(&PasswordArgs::default())?;
        if key.address() != run.client {
            let message = format!(
                "rental {} was opened by {}, the profile's account is {}: choose its profile",
                run.rental,
                run.client,
                key.address()
            );
            return Err(Refused(message).into());
        }
        let door = Client::new(&run.endpoint, Some(key.clone()))?;
        Ok(Self { run, key, door })
    }

    /// Shows what happens until the results are stored; Ctrl-C asks whether to stop.
    pub(crate) async fn attend(&self, session: &Session) -> anyhow::Result<End> {
        let mut screen = Screen::new(session.output);
        let ended = {
            let following = follow(&self.door, self.run.rental, |event| screen.show(event));
            tokio::pin!(following);
            tokio::select! {
                ended = &mut following => Some(ended),
                _ = tokio::signal::ctrl_c() => None,
            }
        };
        if let Some(ended) = ended {
            return Ok(ended?);
        }
        drop(screen);
        let id = self.run.rental;
        if session.output.confirm("\nEnd the rental? Otherwise it goes on without you.") {
            self.stop(session).await?;
        } else {
            session.output.note(format!("it goes on: `pouw attach {id}` comes back to it"));
        }
        Err(Interrupted.into())
    }

    /// Ends the rental: the signer signs, the host is told, and the chain has it for certain.
    async fn stop(&self, session: &Session) -> anyhow::Result<()> {
        let rpc = Rpc::new(&self.run.rpc);
        let chain_id = rpc.chain_id().await?;
        let value = EndRental {
            client: self.run.client,
            rental: self.run.rental.get(),
            signer: self.run.signer,
            keepS: 0,
            at: now_s(),
        };
        let signature = self.key.sign_hash_sync(&value.digest(chain_id))?;
        let order = Signed { value, signature: signature.as_bytes().to_vec().into() };
        let stop = Node::new(&self.run.rpc, NODE_TIMEOUT).end_rental(&order).await?;
        let told =
            self.door.stop(self.run.rental, &StopRequest { order: Some(stop.clone()) }).await;
        if let Err(error) = &told {
            session.output.note(format!("{error}: the chain is told instead"));
        }
        if told.is_err() || !self.closes_within(&rpc, STOP_PATIENCE).await? {
            self.stop_on_chain(&rpc, chain_id, stop).await?;
        }
        session.output.note("stopped; what is not used comes back when the rental closes");
        Ok(())
    }

    async fn closes_within(&self, rpc: &Rpc, limit: Duration) -> anyhow::Result<bool> {
        let deadline = tokio::time::Instant::now() + limit;
        let call = IRentals::rentalOfCall { rental: self.run.rental.get() };
        loop {
            let phase = rpc.view(RENTALS, &call).await?.phase;
            if matches!(phase, IRentals::Phase::Closing | IRentals::Phase::Closed) {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn stop_on_chain(
        &self,
        rpc: &Rpc,
        chain_id: u64,
        stop: Signed<Stop>,
    ) -> anyhow::Result<()> {
        let call = IRentals::stopCall { order: stop.value, signerSignature: stop.signature };
        let data = Bytes::from(call.abi_encode());
        let order = Order { to: RENTALS, value: Amount::ZERO, data };
        Sender::new(self.key.clone(), chain_id).execute(rpc, &order).await?;
        Ok(())
    }
}

impl From<(Run, PrivateKeySigner, Client)> for Opened {
    fn from((run, key, door): (Run, PrivateKeySigner, Client)) -> Self {
        Self { run, key, door }
    }
}

/// What a task's end means for this command.
pub(crate) fn judge(end: &End) -> anyhow::Result<()> {
    match end {
        End::Completed => Ok(()),
        other => Err(TaskFailed(format!("the task ended: {other}")).into()),
    }
}

/// `pouw attach`.
///
/// # Errors
/// Where the host refuses, or the task failed.
pub(crate) async fn attach(session: &Session, args: &RentalArgs) -> anyhow::Result<()> {
    let opened = Opened::find(session, args)?;
    let end = opened.attend(session).await?;
    let invoice = Invoice::read(&Rpc::new(&opened.run.rpc), opened.run.rental).await?;
    session.output.data(&invoice, || invoice.to_text());
    judge(&end)
}

/// `pouw logs`.
///
/// # Errors
/// Where neither the host nor the store has them.
pub(crate) async fn logs(session: &Session, args: &LogsArgs) -> anyhow::Result<()> {
    let opened = Opened::find(session, &args.rental)?;
    if !args.follow && !args.system {
        let text = match opened.door.log(opened.run.rental).await {
            Ok(text) => text,
            // The host may be gone: what it stored isn't.
            Err(_) => stored_log(session, &opened.run).await?,
        };
        let _closed_pipe = std::io::stdout().lock().write_all(&text);
        return Ok(());
    }
    let system = args.system;
    let mut screen = Screen::new(session.output);
    let shown = follow(&opened.door, opened.run.rental, |event| match &event.kind {
        EventKind::Log { line, .. } if !system => session.output.data(event, || line.clone()),
        EventKind::Log { .. } => {}
        _ if system && session.output.json => session.output.data(event, String::new),
        _ if system => screen.show(event),
        _ => {}
    });
    tokio::select! {
        ended = shown => ended.map(|_| ()).map_err(Into::into),
        _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
    }
}

const MAX_LOG_BYTES: u64 = 1 << 30;

async fn stored_log(session: &Session, run: &Run) -> anyhow::Result<Vec<u8>> {
    let bucket = Bucket::open(&session.profile()?, &run.prefix)?;
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("log.txt");
    bucket.fetch("log.txt", &path, MAX_LOG_BYTES, &()).await?;
    Ok(std::fs::read(path)?)
}

/// `pouw stop`.
///
/// # Errors
/// Where neither host nor chain can be told.
pub(crate) async fn stop(session: &Session, args: &StopArgs) -> anyhow::Result<()> {
    let opened = Opened::find(session, &args.rental)?;
    let question = format!("End rental {} ({})?", opened.run.rental, opened.run.name);
    if !args.yes && !session.output.confirm(&question) {
        return Err(Refused("not stopped: confirm, or use -y".to_owned()).into());
    }
    opened.stop(session).await
}

/// `pouw cp`.
///
/// # Errors
/// Where the results aren't there, or differ from what the manifest says.
pub(crate) async fn cp(session: &Session, args: &CpArgs) -> anyhow::Result<()> {
    let (rental, below) = args.from.split_once('/').unwrap_or((&args.from, ""));
    let run = Runs::new(&session.places.data).find(Some(rental))?;
    let bucket = Bucket::open(&session.profile()?, &run.prefix)?;
    let told = |path: &str, size| session.output.note(format!("{path}  {}", bytes(size)));
    let files = bucket.fetch_results(below, &args.to, told).await?;
    session.output.data(&files, || {
        files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
