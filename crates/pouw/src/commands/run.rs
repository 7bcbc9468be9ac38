//! `pouw plan` and `pouw run`: from a specification to an invoice.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alloy_primitives::{B256, Bytes};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use anyhow::Context;
use pouw_agent::door::{Client, Secret, TaskRequest};
use pouw_api::signer::NewSigner;
use pouw_spec::{Task, ValidTask};
use pouw_types::contracts::{IRentals, RENTALS};
use pouw_types::signing::{Signable, Signed};
use pouw_types::{Network, RentalId};
use serde::Serialize;

use super::watch::{Opened, judge};
use crate::cli::{PasswordArgs, PlanArgs, RunArgs};
use crate::client::bucket::{Bucket, now_ms, now_s};
use crate::client::images::Images;
use crate::client::inputs::{self, Found};
use crate::client::node::Node;
use crate::client::plan::{Plan, choose};
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
const MAX_SPEC_BYTES: u64 = 1 << 20;
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Everything that is known before a machine is chosen.
struct Prepared {
    profile: Profile,
    rpc: Rpc,
    network: &'static Network,
    key: PrivateKeySigner,
    valid: ValidTask,
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
    let folder = args.task.parent().unwrap_or_else(|| Path::new("")).to_owned();
    Ok(Prepared { profile, rpc, network, key, valid, folder })
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
    async fn plan(&self, args: &PlanArgs) -> anyhow::Result<Plan> {
        let node = Node::new(&self.profile.rpc, NODE_TIMEOUT);
        let mut offers = node.offers().await?;
        if let Some(machine) = args.machine {
            offers.retain(|offer| offer.machine.get() == machine);
        }
        let task = self.valid.task.clone();
        choose(task, offers, self.key.address(), self.network, now_s()).await
    }
}

/// `pouw plan`.
///
/// # Errors
/// For a wrong specification, or where no machine fits.
pub(crate) async fn plan(session: &Session, args: &PlanArgs) -> anyhow::Result<()> {
    let prepared = prepare(session, args).await?;
    let plan = prepared.plan(args).await?;
    session.output.data(&plan, || plan.to_text());
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
    let prepared = prepare(session, &args.plan).await?;
    let secrets = read_secrets(&prepared.valid, &prepared.folder)?;
    let plan = prepared.plan(&args.plan).await?;
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
    session.output.note(plan.to_text());
    if !args.yes && !session.output.confirm("Rent it?") {
        return Err(Refused("not rented: confirm, or use -y".to_owned()).into());
    }
    let rental = plan.quote.rental;
    let bucket = Bucket::open(&prepared.profile, &format!("{rental}"))?;
    let found = inputs::find(&prepared.valid.task, &prepared.folder, &bucket).await?;
    keep_task(&plan.task, &bucket).await?;
    let slots = upload(session, &plan.task, &found, &bucket).await?;
    let opened = open(session, &prepared, &plan, &bucket).await?;
    let task = plan.task.clone();
    hand_over(&opened, &TaskRequest { task, slots, secrets }).await?;
    if args.detach {
        let started = Started { rental, transaction: opened.run.transaction };
        session.output.data(&started, || rental.to_string());
        session.output.note(format!("come back with `pouw attach {rental}`"));
        return Ok(());
    }
    let end = opened.attend(session).await?;
    if let Some(folder) = &args.output {
        fetch(session, &bucket, folder).await?;
    }
    opened.conclude(session).await?;
    judge(&end)
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

async fn fetch(session: &Session, bucket: &Bucket, folder: &Path) -> anyhow::Result<()> {
    let told =
        |path: &str, size| session.output.note(format!("result     {path} ({})", bytes(size)));
    bucket.fetch_results("", folder, told).await?;
    Ok(())
}
