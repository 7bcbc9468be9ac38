//! `pouw attach`, `pouw logs`, `pouw stop`, `pouw cp`: a rental after its opening.

use core::convert::Infallible;
use core::time::Duration;
use std::io::Write;

use alloy_primitives::Bytes;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use anyhow::Context;
use pouw_agent::door::{Client, Event, EventKind, StopRequest};
use pouw_agent::{End, receipt};
use pouw_api::signer::EndRental;
use pouw_types::contracts::{IRentals, RENTALS, Stop};
use pouw_types::signing::{Signable, Signed};
use pouw_types::{Amount, RentalRules};
use tokio::time::Instant;

use crate::cli::{CpArgs, LogsArgs, PasswordArgs, RentalArgs, StopArgs};
use crate::client::bucket::{Bucket, now_ms, now_s};
use crate::client::follow::{Screen, follow};
use crate::client::inputs;
use crate::client::invoice::Invoice;
use crate::client::node::Node;
use crate::client::rpc::{Rpc, RpcError};
use crate::client::runs::{Run, Runs};
use crate::client::sender::{Order, SendError, Sender};
use crate::client::timing::Timing;
use crate::exit::{Interrupted, Refused, TaskFailed};
use crate::output::{bytes, duration};
use crate::session::Session;

/// How long the host has to put a stop on the chain before the client does.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
const NODE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last transactions of a rental may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);
/// How long the host has to finalize a rental before the client does.
const FINALIZE_PATIENCE: Duration = Duration::from_secs(5);
/// The longest Closing that is waited for.
const MAX_CLOSING_WAIT: Duration = Duration::from_secs(120);
/// Between two looks at whether slots are to be renewed.
const RENEW_LOOK: Duration = Duration::from_secs(3_600);
/// How long before their end slots are renewed, seconds.
const RENEW_BEFORE_S: u64 = 43_200;
/// Between two looks at the chain.
const LOOK: Duration = Duration::from_millis(500);

/// Whether a transaction did its work.
type Sent = Result<(), SendError>;

/// A rental of this client with the key and the door that belong to it.
pub(crate) struct Opened {
    pub(crate) run: Run,
    pub(crate) key: PrivateKeySigner,
    pub(crate) door: Client,
}

impl Opened {
    /// One of this account's rentals.
    pub(crate) fn find(session: &Session, args: &RentalArgs) -> anyhow::Result<Self> {
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
    /// With `patience`, a host that doesn't answer for so long is an error.
    pub(crate) async fn attend(
        &self,
        session: &Session,
        patience: Option<Duration>,
    ) -> anyhow::Result<End> {
        let mut screen = Screen::new(session.output);
        let ended = {
            let show = |event: &Event| screen.show(event);
            let following = follow(&self.door, self.run.rental, patience, show);
            tokio::pin!(following);
            tokio::select! {
                ended = &mut following => Some(ended),
                never = self.keep_renewed(session) => match never {},
                _ = tokio::signal::ctrl_c() => None,
            }
        };
        if let Some(ended) = ended {
            return Ok(ended?);
        }
        drop(screen);
        self.leave(session).await?;
        Err(Interrupted.into())
    }

    /// Renews the addresses of the task's slots before they end, for as long as somebody attends.
    async fn keep_renewed(&self, session: &Session) -> Infallible {
        loop {
            if let Err(error) = self.renew(session).await {
                session.output.note(format!("the slots can't be renewed: {error:#}"));
            }
            tokio::time::sleep(RENEW_LOOK).await;
        }
    }

    async fn renew(&self, session: &Session) -> anyhow::Result<()> {
        // A host that is away now is asked again later.
        let Ok(status) = self.door.status(self.run.rental).await else { return Ok(()) };
        let soon = now_s().saturating_add(RENEW_BEFORE_S);
        if status.end.is_some() || status.slots_until.is_none_or(|until| until > soon) {
            return Ok(());
        }
        let bucket = Bucket::open(&session.profile()?, &self.run.prefix)?;
        let task = bucket.task().await?.context("the task is not beside its results")?;
        let slots = inputs::presign(&task, Vec::new(), &bucket)?;
        self.door.renew(self.run.rental, &slots).await?;
        Ok(())
    }

    /// After Ctrl-C: ends the rental, or leaves it to itself; that also without a terminal, and
    /// after a second Ctrl-C.
    async fn leave(&self, session: &Session) -> anyhow::Result<()> {
        let question = "\nDetach (the task goes on without you) or stop it (what is not used comes \
                        back)? [D/s]";
        let asked = session.output.ask(question);
        let answer = tokio::select! {
            answer = asked => answer,
            _ = tokio::signal::ctrl_c() => None,
        };
        let answer = answer.unwrap_or_default().trim().to_ascii_lowercase();
        if matches!(answer.as_str(), "s" | "stop") {
            return self.stop(session, 0).await;
        }
        let id = self.run.rental;
        session.output.note(format!(
            "detached: it goes on; `pouw attach {id}` comes back to it, `pouw stop {id}` ends it"
        ));
        Ok(())
    }

    /// Shows the invoice once nothing changes any more, or as it is when that takes long.
    pub(crate) async fn conclude(&self, session: &Session) -> anyhow::Result<Invoice> {
        let rpc = Rpc::new(&self.run.rpc);
        let deadline = Instant::now() + CLOSE_LIMIT;
        let invoice = loop {
            let invoice = Invoice::read(&rpc, self.run.rental).await?;
            if invoice.phase == "Closed"
                || invoice.closing_ends_at.is_some()
                || Instant::now() >= deadline
            {
                break invoice;
            }
            tokio::time::sleep(LOOK).await;
        };
        session.output.data(&invoice, || invoice.to_text());
        if let Ok(status) = self.door.status(self.run.rental).await {
            let timing = Timing::of(self.run.sent_ms, &status.steps, now_ms());
            session.output.note(format!("time\n{}", timing.to_text().trim_end()));
        }
        if let Some(at) = invoice.closing_ends_at {
            let left = duration(at.saturating_sub(now_s()));
            session.output.note(format!("the escrow comes back when closing ends, in {left}"));
        }
        Ok(invoice)
    }

    /// What the signer says to an end of the rental.
    async fn order_stop(&self, chain_id: u64, keep_s: u64) -> anyhow::Result<Signed<Stop>> {
        let value = EndRental {
            client: self.run.client,
            rental: self.run.rental.get(),
            signer: self.run.signer,
            keepS: keep_s,
            at: now_s(),
        };
        let signature = self.key.sign_hash_sync(&value.digest(chain_id))?;
        let order = Signed { value, signature: signature.as_bytes().to_vec().into() };
        Ok(Node::new(&self.run.rpc, NODE_TIMEOUT).end_rental(&order).await?)
    }

    /// Ends the rental: the signer signs, the host is told, and the chain has it for certain. With
    /// `keep_s` the host keeps the task's disk from then on.
    async fn stop(&self, session: &Session, keep_s: u64) -> anyhow::Result<()> {
        let rpc = Rpc::new(&self.run.rpc);
        let chain_id = rpc.chain_id().await?;
        if self.rental(&rpc).await?.phase != IRentals::Phase::Open {
            return self.stop_again(session, &rpc, chain_id, keep_s).await;
        }
        let stop = self.order_stop(chain_id, keep_s).await?;
        let told =
            self.door.stop(self.run.rental, &StopRequest { order: Some(stop.clone()) }).await;
        if let Err(error) = &told {
            session.output.note(format!("{error}: the chain is told instead"));
        }
        if told.is_err() || !self.closes_within(&rpc, STOP_PATIENCE).await? {
            let sent = self.stop_on_chain(&rpc, chain_id, stop).await;
            // The host may have been faster after all.
            if self.rental(&rpc).await?.phase == IRentals::Phase::Open {
                sent?;
            }
        }
        if keep_s > 0
            && let Some(until) = self.kept_until().await
        {
            let (left, id) = (duration(until.saturating_sub(now_s())), self.run.rental);
            session.output.note(format!(
                "stopped; the host keeps its disk for {left}, billed as storage: `pouw start {id}` \
                 goes on, `pouw stop {id}` lets go of it"
            ));
            return Ok(());
        }
        session.output.note("stopped");
        self.take_back(session, &rpc, chain_id).await
    }

    /// Of a rental that is not open any more: lets go of what its host keeps, and takes the rest of
    /// the escrow back.
    async fn stop_again(
        &self,
        session: &Session,
        rpc: &Rpc,
        chain_id: u64,
        keep_s: u64,
    ) -> anyhow::Result<()> {
        if keep_s > 0 {
            let text = "it has ended already: what is gone can't be kept";
            return Err(Refused(text.to_owned()).into());
        }
        if self.kept_until().await.is_some() {
            let order = self.order_stop(chain_id, 0).await?;
            self.door.stop(self.run.rental, &StopRequest { order: Some(order) }).await?;
            session.output.note("the host lets go of what it kept");
        } else {
            session.output.note("it has ended already");
        }
        self.take_back(session, rpc, chain_id).await
    }

    /// Until when the host keeps the disk of this stopped rental, as it says.
    async fn kept_until(&self) -> Option<u64> {
        self.door.status(self.run.rental).await.ok().and_then(|status| status.kept_until)
    }

    async fn rental(&self, rpc: &Rpc) -> anyhow::Result<IRentals::Rental> {
        let call = IRentals::rentalOfCall { rental: self.run.rental.get() };
        Ok(rpc.view(RENTALS, &call).await?)
    }

    async fn send(&self, rpc: &Rpc, chain_id: u64, value: Amount, data: Bytes) -> Sent {
        let order = Order { to: RENTALS, value, data };
        Sender::new(self.key.clone(), chain_id).execute(rpc, &order).await.map(|_| ())
    }

    /// Ends the rental of a host that is gone, and takes back what is not used.
    async fn stop_gone(&self, session: &Session) -> anyhow::Result<()> {
        if !self.close_gone(session).await? {
            let text = "the host has answered: it is there; `pouw stop` ends the rental";
            return Err(Refused(text.to_owned()).into());
        }
        let rpc = Rpc::new(&self.run.rpc);
        let chain_id = rpc.chain_id().await?;
        self.take_back(session, &rpc, chain_id).await
    }

    /// Calls a host that is gone, and closes for its fault where it doesn't answer;
    /// `false` where it answers.
    pub(crate) async fn close_gone(&self, session: &Session) -> anyhow::Result<bool> {
        let rpc = Rpc::new(&self.run.rpc);
        let network = rpc.network().await?;
        let chain_id = network.chain_id;
        let mut rental = self.rental(&rpc).await?;
        let id = self.run.rental.get();
        if rental.phase == IRentals::Phase::Open && rental.call.by.is_zero() {
            let ahead_s = u128::from(receipt::ahead_s(rental.best.activeS));
            let rate = self.run.quote.value.rates.activeSecond;
            let stake = Amount::from_atto(ahead_s.saturating_mul(rate));
            let data = IRentals::callCall { rental: id }.abi_encode();
            self.send(&rpc, chain_id, stake, data.into()).await?;
            let RentalRules { call_blocks, call_s, .. } = network.rental;
            session.output.note(format!(
                "called the host, {} FLUX at stake; it has {call_blocks} blocks and {} to answer",
                stake.rounded(6),
                duration(call_s)
            ));
            rental = self.rental(&rpc).await?;
        }
        while rental.phase == IRentals::Phase::Open {
            if rental.call.by.is_zero() {
                return Ok(false);
            }
            let head = rpc.head().await?;
            let over = head.number.to::<u64>() > rental.call.atBlock + network.rental.call_blocks
                && head.timestamp.to::<u64>() > rental.call.at + network.rental.call_s;
            if over {
                let reason = IRentals::Reason::HostFault;
                let call = IRentals::closeCall { rental: id, reason, keepS: 0 };
                self.send(&rpc, chain_id, Amount::ZERO, call.abi_encode().into()).await?;
                session.output.note("the host did not answer: closed for its fault");
            }
            tokio::time::sleep(LOOK).await;
            rental = self.rental(&rpc).await?;
        }
        Ok(true)
    }

    /// Waits until the rental is closed for good, and sees to it where the host doesn't: anyone may
    /// finalize once Closing is over. A long Closing isn't waited for.
    async fn take_back(&self, session: &Session, rpc: &Rpc, chain_id: u64) -> anyhow::Result<()> {
        let mut due_since = None;
        let mut told = false;
        loop {
            let rental = self.rental(rpc).await?;
            if rental.phase == IRentals::Phase::Closed {
                break;
            }
            let (head, times) = (rpc.head().await?, &rental.times);
            let left_s = times.closingEndsAt.saturating_sub(head.timestamp.to());
            let over = head.number.to::<u64>() >= times.closingEndsBlock && left_s == 0;
            if !rental.best.isFinal && left_s > MAX_CLOSING_WAIT.as_secs() {
                let left = duration(left_s);
                session.output.note(format!(
                    "what is not used comes back in {left}; `pouw stop` sees to it then, if the \
                     host has not"
                ));
                return Ok(());
            }
            if !rental.best.isFinal && !told {
                session.output.note(format!("closing; it ends in {}", duration(left_s)));
                told = true;
            }
            if (over || rental.best.isFinal)
                && due_since.get_or_insert_with(Instant::now).elapsed() > FINALIZE_PATIENCE
            {
                let call = IRentals::finalizeCall { rental: self.run.rental.get() };
                let data = call.abi_encode().into();
                match self.send(rpc, chain_id, Amount::ZERO, data).await {
                    // Somebody else was faster, or the next block is the first that may.
                    Ok(())
                    | Err(SendError::Reverted { .. } | SendError::Rpc(RpcError::Refused { .. })) => {
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        let invoice = Invoice::read(rpc, self.run.rental).await?;
        session.output.data(&invoice, || invoice.to_text());
        Ok(())
    }

    async fn closes_within(&self, rpc: &Rpc, limit: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let phase = self.rental(rpc).await?.phase;
            if matches!(phase, IRentals::Phase::Closing | IRentals::Phase::Closed) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn stop_on_chain(
        &self,
        rpc: &Rpc,
        chain_id: u64,
        stop: Signed<Stop>,
    ) -> anyhow::Result<()> {
        let call = IRentals::stopCall { order: stop.value, signerSignature: stop.signature };
        Ok(self.send(rpc, chain_id, Amount::ZERO, call.abi_encode().into()).await?)
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
        other => Err(TaskFailed(other.to_string()).into()),
    }
}

/// `pouw attach`.
///
/// # Errors
/// Where the host refuses, or the task failed.
pub(crate) async fn attach(session: &Session, args: &RentalArgs) -> anyhow::Result<()> {
    let opened = Opened::find(session, args)?;
    let end = opened.attend(session, None).await?;
    opened.conclude(session).await?;
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
    let shown = follow(&opened.door, opened.run.rental, None, |event| match &event.kind {
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
    if args.host_gone {
        opened.stop_gone(session).await
    } else {
        opened.stop(session, args.keep.unwrap_or(0)).await
    }
}

/// `pouw cp`.
///
/// # Errors
/// Where the results aren't there, or differ from what the manifest says.
pub(crate) async fn cp(session: &Session, args: &CpArgs) -> anyhow::Result<()> {
    let (rental, below) = args.from.split_once('/').unwrap_or((&args.from, ""));
    let wanted = RentalArgs { rental: Some(rental.to_owned()) };
    let Opened { run, door, .. } = Opened::find(session, &wanted)?;
    let bucket = Bucket::open(&session.profile()?, &run.prefix)?;
    let told = |path: &str, size| session.output.note(format!("{path}  {}", bytes(size)));
    let files = bucket.fetch_results((&door, run.rental), below, &args.to, told).await?;
    session.output.data(&files, || {
        files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
