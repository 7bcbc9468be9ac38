//! `pouw plan` and `pouw run`: from a specification to an invoice.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, Bytes};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use anyhow::Context;
use pouw_agent::End;
use pouw_agent::door::{Client, ClientError, Secret, TaskRequest};
use pouw_api::signer::NewSigner;
use pouw_spec::{Mineable, Task, ValidTask};
use pouw_types::contracts::{IRentals, RENTALS};
use pouw_types::signing::{Signable, Signed};
use pouw_types::{Network, Offer, RentalId};
use serde::Serialize;

use super::watch::{Opened, judge};
use crate::cli::{Forward, OnFault, PasswordArgs, PlanArgs, RunArgs, StartArgs};
use crate::client::bucket::{Bucket, now_ms, now_s};
use crate::client::forward::{carry, listen};
use crate::client::images::Images;
use crate::client::inputs::{self, Found};
use crate::client::node::Node;
use crate::client::plan::{OPENING, Plan, choose};
use crate::client::resume::{Left, is_hosts_end};
use crate::client::rpc::{Rpc, TransactionReceipt};
use crate::client::runs::{Run, Runs};
use crate::client::sender::{Order, Sender};
use crate::client::support;
use crate::config::Profile;
use crate::exit::{Refused, WrongInput};
use crate::output::{Accent, bytes};
use crate::session::Session;

const NODE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a host may take to notice an opening.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(120);
const RETRY: Duration = Duration::from_millis(500);
/// How long a machine is looked for to go on with.
const GO_ON_LIMIT: Duration = Duration::from_secs(120);
/// How long a host may be away before it is called, where going on elsewhere is wanted.
const HOST_PATIENCE: Duration = Duration::from_secs(120);
const GO_ON_RETRY: Duration = Duration::from_secs(3);
const MAX_SPEC_BYTES: u64 = 1 << 20;
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Everything that is known before a machine is chosen.
struct Prepared {
    profile: Profile,
    rpc: Rpc,
    network: &'static Network,
    key: PrivateKeySigner,
    valid: ValidTask,
    spec: PathBuf,
    folder: PathBuf,
}

/// Reads and checks the specification first: a mistyped field is told before anything is asked.
async fn prepare(session: &Session, args: &PlanArgs) -> anyhow::Result<Prepared> {
    let mut valid = read_task(session, &args.task)?;
    support::check(&valid.task)?;
    let profile = session.profile()?;
    let rpc = Rpc::new(&profile.rpc);
    let network = rpc.network().await?;
    let images = Images::new(profile.images.clone());
    valid.task.image =
        images.resolve(&valid.task.image).await.map_err(|e| WrongInput(e.to_string()))?;
    let key = session.unlock(&PasswordArgs::default())?;
    let spec = std::path::absolute(&args.task)?;
    let folder = args.task.parent().unwrap_or_else(|| Path::new("")).to_owned();
    Ok(Prepared { profile, rpc, network, key, valid, spec, folder })
}

fn read_task(session: &Session, path: &Path) -> anyhow::Result<ValidTask> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|e| WrongInput(format!("{name}: {e}")))?.len();
    if size > MAX_SPEC_BYTES {
        return Err(WrongInput(format!("{name} has {size} bytes, a task has at most 1 MiB")).into());
    }
    let text = std::fs::read_to_string(path).map_err(|e| WrongInput(format!("{name}: {e}")))?;
    Task::from_yaml(&name, &text).map_err(|problems| {
        if session.output.json {
            session.output.data(&problems, String::new);
        }
        WrongInput(format!("{name} is no valid task\n{problems}")).into()
    })
}

impl Prepared {
    async fn plan(&self, args: &PlanArgs, from: Option<&Left>) -> anyhow::Result<Plan> {
        let node = Node::new(&self.profile.rpc, NODE_TIMEOUT);
        let mut offers = node.offers().await?;
        let only = from.and_then(|left| left.kept_by).or(args.machine);
        if let Some(machine) = only {
            offers.retain(|offer| offer.machine.get() == machine);
        }
        // A machine that failed is taken again only where no other fits.
        if let Some(failed) = from.and_then(|left| left.failed_machine) {
            let mut others = offers.clone();
            others.retain(|offer| offer.machine.get() != failed);
            if let Ok(plan) = self.choose(others, from).await {
                return Ok(plan);
            }
        }
        self.choose(offers, from).await
    }

    /// The same for a rental that goes on. The machine of the one before may need some blocks until
    /// it can be quoted again, and what the contract can continue changes meanwhile.
    async fn plan_on(
        &self,
        session: &Session,
        args: &PlanArgs,
        from: &mut Option<Left>,
    ) -> anyhow::Result<Plan> {
        let deadline = tokio::time::Instant::now() + GO_ON_LIMIT;
        let mut told = false;
        loop {
            let error = match self.plan(args, from.as_ref()).await {
                Ok(plan) => return Ok(plan),
                Err(error) => error,
            };
            let Some(left) = from.as_ref() else { return Err(error) };
            if tokio::time::Instant::now() >= deadline {
                return Err(error);
            }
            if !told {
                session.output.note(format!("{error:#}\ntrying for two minutes"));
                told = true;
            }
            tokio::time::sleep(GO_ON_RETRY).await;
            let rental = left.run.rental.to_string();
            *from = Some(self.left(&session.places.data, &rental).await?);
        }
    }

    async fn left(&self, data: &Path, rental: &str) -> anyhow::Result<Left> {
        Left::find(&self.profile, data, &self.rpc, &self.key, rental).await
    }

    async fn choose(&self, offers: Vec<Offer>, from: Option<&Left>) -> anyhow::Result<Plan> {
        let (task, client) = (self.valid.task.clone(), self.key.address());
        let continues = from.and_then(|left| left.continues);
        choose(task, offers, client, continues, self.network, now_s()).await
    }
}

/// `pouw plan`.
///
/// # Errors
/// For a wrong specification, or where no machine fits.
pub(crate) async fn plan(session: &Session, args: &PlanArgs) -> anyhow::Result<()> {
    let prepared = prepare(session, args).await?;
    let plan = prepared.plan(args, None).await?;
    session.output.data(&plan, || plan.to_text());
    if plan.task.mineable == Mineable::Opening {
        session.output.note(OPENING);
    }
    Ok(())
}

/// What `pouw run --detach --json` tells.
#[derive(Serialize)]
struct Started {
    rental: RentalId,
    transaction: B256,
}

/// `pouw run`.
///
/// # Errors
/// For a wrong specification, a refusal, or a task that failed.
pub(crate) async fn run(session: &Session, args: &RunArgs) -> anyhow::Result<()> {
    let mut prepared = prepare(session, &args.plan).await?;
    let data = &session.places.data;
    let mut from = match &args.resume {
        Some(rental) => Some(prepared.left(data, rental).await?),
        None => None,
    };
    agree_to_opening(session, args, &prepared.valid.task)?;
    check_forwards(&prepared.valid.task, &args.forwards)?;
    let mut consented = args.yes;
    loop {
        // A port that is taken is told before money moves.
        let listening = listen(&args.forwards).await?;
        let started = start(session, &prepared, args, &mut from, consented).await?;
        let Some(opened) = started else {
            return Ok(());
        };
        for one in &listening {
            session.output.note(format!("forward    {}", one.told()));
        }
        let end = tokio::select! {
            end = attend(session, &opened, args.on_fault) => end?,
            () = carry(listening, opened.door.clone(), opened.run.rental, session.output) => {
                anyhow::bail!("the forwards ended");
            }
        };
        let rental = opened.run.rental.to_string();
        if !is_hosts_end(&end) || !goes_on(session, args.on_fault, &prepared.valid.task, &rental) {
            // What never ran has nothing to fetch: what it came to is told first, and counts.
            let fetched = match &args.output {
                Some(folder) => {
                    let bucket = Bucket::open(&prepared.profile, &opened.run.prefix)?;
                    fetch(session, &opened, &bucket, folder).await
                }
                None => Ok(()),
            };
            opened.conclude(session).await?;
            return judge(&end).and(fetched);
        }
        let invoice = opened.conclude(session).await?;
        let left = prepared.left(data, &rental).await?;
        left.shorten(&mut prepared.valid.task, invoice.spent());
        from = Some(left);
        // Who goes on after a fault has consented to the task's own limits.
        consented = true;
    }
}

/// Follows a rental to its end. Whoever wants to go on after a fault also ends the rental of a host
/// that vanished.
async fn attend(session: &Session, opened: &Opened, on_fault: OnFault) -> anyhow::Result<End> {
    let patience = (on_fault == OnFault::Resume).then_some(HOST_PATIENCE);
    loop {
        let error = match opened.attend(session, patience).await {
            Ok(end) => return Ok(end),
            Err(error) => error,
        };
        let gone = error.downcast_ref::<ClientError>().is_some_and(ClientError::is_transient);
        if patience.is_none() || !gone {
            return Err(error);
        }
        session.output.note(format!("{error:#}"));
        if opened.close_gone(session).await? {
            return Ok(End::HostFault { detail: "it does not answer".to_owned() });
        }
    }
}

/// `pouw start`: what `pouw run --resume` does, with the file that the rental was run from.
///
/// # Errors
/// As [`run`].
pub(crate) async fn start_again(session: &Session, args: StartArgs) -> anyhow::Result<()> {
    let before = Runs::new(&session.places.data).find(args.rental.rental.as_deref())?;
    let Some(task) = args.task.or(before.spec) else {
        let text = "it is not known from which file it was run: name it by --task";
        return Err(WrongInput(text.to_owned()).into());
    };
    let args = RunArgs {
        plan: PlanArgs { task, machine: None },
        yes: args.yes,
        allow_opening: args.allow_opening,
        detach: args.detach,
        output: args.output,
        resume: Some(before.rental.to_string()),
        on_fault: OnFault::Ask,
        forwards: Vec::new(),
    };
    run(session, &args).await
}

/// Whether the client consents to go on elsewhere; what it can do where it does not is told.
fn goes_on(session: &Session, on_fault: OnFault, task: &Task, rental: &str) -> bool {
    if task.checkpoint.is_none() {
        return false;
    }
    let wanted = match on_fault {
        OnFault::Resume => true,
        OnFault::Ask => session.output.confirm("Go on from the last checkpoint elsewhere?"),
        OnFault::Leave => false,
    };
    if !wanted {
        session.output.note(format!("`pouw run --resume {rental}` goes on from its checkpoint"));
    }
    wanted
}

/// Rents a machine and gives it the task; `None` where nobody waits for its end.
async fn start(
    session: &Session,
    prepared: &Prepared,
    args: &RunArgs,
    from: &mut Option<Left>,
    consented: bool,
) -> anyhow::Result<Option<Opened>> {
    let secrets = read_secrets(&prepared.valid, &prepared.folder)?;
    let plan = prepared.plan_on(session, &args.plan, from).await?;
    let from = from.as_ref();
    let resume = from.map(|left| left.resume(&prepared.valid.task)).transpose()?;
    let has = prepared.rpc.balance(prepared.key.address()).await?;
    if has < plan.deposit {
        let address = prepared.key.address();
        let text = format!(
            "{address} has {} FLUX, the deposit is {}: send it money, or lower limits.cost",
            has.rounded(6),
            plan.deposit.rounded(6)
        );
        return Err(Refused(text).into());
    }
    if let Some(left) = from {
        session.output.note(left.to_text());
    }
    session.output.note(plan.to_text());
    if !consented && !session.output.confirm("Rent it?") {
        return Err(Refused("not rented: confirm, or use -y".to_owned()).into());
    }
    let rental = plan.quote.rental;
    let bucket = Bucket::open(&prepared.profile, &format!("{rental}"))?;
    let found = inputs::find(&prepared.valid.task, &prepared.folder, &bucket).await?;
    inputs::check_places(&plan.task, &bucket).await?;
    keep_task(&plan.task, &bucket).await?;
    let slots = upload(session, &plan.task, &found, &bucket).await?;
    let opened = open(session, prepared, &plan, &bucket, from).await?;
    let task = plan.task.clone();
    hand_over(&opened, &TaskRequest { task, slots, secrets, resume }).await?;
    if args.detach {
        let started = Started { rental, transaction: opened.run.transaction };
        session.output.data(&started, || rental.to_string());
        session.output.note(format!("come back with `pouw attach {rental}`"));
        return Ok(None);
    }
    Ok(Some(opened))
}

/// `mineable: opening` is agreed to by its own word: `-y` is about money.
fn agree_to_opening(session: &Session, args: &RunArgs, task: &Task) -> anyhow::Result<()> {
    if task.mineable == Mineable::None {
        return Ok(());
    }
    session.output.note(OPENING);
    if args.allow_opening {
        return Ok(());
    }
    let question = "Show that much of what it multiplies with each block that it wins?";
    if !args.yes && session.output.confirm(question) {
        return Ok(());
    }
    let text = "not rented: the task says mineable: opening, and nobody agreed to what that shows: add \
                --allow-opening (-y alone does not agree), or write mineable: none";
    Err(Refused(text.to_owned()).into())
}

fn check_forwards(task: &Task, forwards: &[Forward]) -> Result<(), WrongInput> {
    match forwards.iter().find(|forward| !task.ports.contains(&forward.port.0)) {
        Some(forward) => {
            let text = format!("--forward {forward}: name the port under `ports:` in the task");
            Err(WrongInput(text))
        }
        None => Ok(()),
    }
}

fn read_secrets(valid: &ValidTask, folder: &Path) -> anyhow::Result<BTreeMap<String, Secret>> {
    let mut secrets = BTreeMap::new();
    for (name, file) in &valid.secret_files {
        let path = folder.join(file);
        let wrong = |what: String| WrongInput(format!("secret {name}, {}: {what}", path.display()));
        let size = std::fs::metadata(&path).map_err(|e| wrong(e.to_string()))?.len();
        if size > MAX_SECRET_BYTES {
            return Err(wrong(format!("{size} bytes, at most {MAX_SECRET_BYTES}")).into());
        }
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
        secrets.insert(name.clone(), Secret::new(text));
    }
    Ok(secrets)
}

/// Keeps the task beside its results. Whether the store takes anything has to be known before money
/// moves: the host would learn it only when there are results to lose.
async fn keep_task(task: &Task, bucket: &Bucket) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::to_vec_pretty(task)?)?;
    let kept = bucket.put(file.path(), "task.json", &()).await;
    kept.context("the profile's store takes nothing: check its [s3] and credentials_file")?;
    Ok(())
}

async fn upload(
    session: &Session,
    task: &Task,
    found: &[Found],
    bucket: &Bucket,
) -> anyhow::Result<pouw_data::Slots> {
    for one in found {
        let size = one.size_bytes.map(bytes).unwrap_or_else(|| "read by the host".to_owned());
        session.output.note(format!("input      {} ({size})", one.name));
    }
    let silent = |_: &str| Box::new(()) as Box<dyn pouw_data::Progress>;
    inputs::hand_over(task, found, bucket, silent).await
}

/// Makes the signer, sends the deposit, and keeps the record: from here on the rental can be
/// found again whatever happens to this command.
async fn open(
    session: &Session,
    prepared: &Prepared,
    plan: &Plan,
    bucket: &Bucket,
    from: Option<&Left>,
) -> anyhow::Result<Opened> {
    let chain_id = prepared.network.chain_id;
    let (rental, client) = (plan.quote.rental, prepared.key.address());
    let value = NewSigner { client, rental: rental.get(), at: now_s() };
    let signature = prepared.key.sign_hash_sync(&value.digest(chain_id))?;
    let order = Signed { value, signature: signature.as_bytes().to_vec().into() };
    let signer = Node::new(&prepared.profile.rpc, NODE_TIMEOUT).new_signer(&order).await?;
    let call = IRentals::openCall {
        quote: plan.quote.quote.value.clone(),
        signature: plan.quote.quote.signature.clone(),
        signer,
    };
    let data = Bytes::from(call.abi_encode());
    let sender = Sender::new(prepared.key.clone(), chain_id);
    let order = Order { to: RENTALS, value: plan.deposit, data };
    let sent_ms = now_ms();
    let hash = sender.send(&prepared.rpc, &order).await?;
    let run = Run {
        rental,
        name: plan.task.name.clone(),
        rpc: prepared.profile.rpc.clone(),
        endpoint: plan.offer.endpoint.clone(),
        client,
        signer,
        quote: plan.quote.quote.clone(),
        transaction: hash,
        opened_at: now_s(),
        sent_ms,
        prefix: bucket.location.prefix().to_owned(),
        outputs: inputs::results(&plan.task),
        spec: Some(prepared.spec.clone()),
        resumes: from.map(|left| left.run.rental),
    };
    Runs::new(&session.places.data).keep(&run)?;
    let receipt: TransactionReceipt = prepared.rpc.included(hash, HAND_OVER_LIMIT).await?;
    if !receipt.succeeded() {
        let reason = receipt.revert_reason.unwrap_or_else(|| "no reason given".to_owned());
        return Err(Refused(format!("the ledger refused the opening: {reason}")).into());
    }
    let block = receipt.block_number;
    let deposit = plan.deposit.rounded(6);
    let done = session.output.paint(Accent::Green, "rented");
    session.output.note(format!(
        "{done}     {rental}\n           deposit {deposit} FLUX, block {block}, {hash}"
    ));
    let door = Client::new(&plan.offer.endpoint, Some(prepared.key.clone()))?;
    Ok(Opened::from((run, prepared.key.clone(), door)))
}

/// Gives the task to the host, again and again until it has noticed the opening.
async fn hand_over(opened: &Opened, task: &TaskRequest) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + HAND_OVER_LIMIT;
    loop {
        match opened.door.put_task(opened.run.rental, task).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() >= deadline => {
                return Err(error)
                    .context("the host did not take the task; `pouw stop` ends the rental");
            }
            Err(error) if error.is_transient() || is_unknown(&error) => {
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The host follows the chain a moment behind.
fn is_unknown(error: &pouw_agent::door::ClientError) -> bool {
    matches!(error, pouw_agent::door::ClientError::Refused { status: 404 | 409 | 425, .. })
}

async fn fetch(
    session: &Session,
    opened: &Opened,
    bucket: &Bucket,
    folder: &Path,
) -> anyhow::Result<()> {
    let told =
        |path: &str, size| session.output.note(format!("result     {path} ({})", bytes(size)));
    bucket.fetch_results((&opened.door, opened.run.rental), "", folder, told).await?;
    Ok(())
}
