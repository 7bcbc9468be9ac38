//! Receipts and transactions.

use std::time::Duration;

use pouw_types::RentalId;
use pouw_types::signing::{Signable, recover};
use tokio::sync::watch;

use super::{Scene, Trouble, in_full};
use crate::contract::{ContractError, HostCall, Inclusion};
use crate::outcome::Outcome;
use crate::plan::{self, Call, ChainView};
use crate::receipt;
use crate::record::Record;
use crate::signer::SignerError;
use crate::watcher::{self, Snapshot};

type Done = Result<Outcome, Trouble>;

/// How long a signer may think.
const SIGNER_PATIENCE: Duration = Duration::from_secs(10);
/// Blocks within which a transaction should be in.
const INCLUSION_BLOCKS: u64 = 12;
/// How long a transaction is waited for, however slow the blocks are.
const INCLUSION_PATIENCE: Duration = Duration::from_secs(600);

fn view(chain: &watch::Receiver<Snapshot>, rental: RentalId) -> Result<ChainView, Trouble> {
    let view = chain.borrow().view(rental);
    view.ok_or_else(|| Trouble::host("the chain was not seen yet"))
}

pub(super) async fn cosign(
    scene: Scene<'_>,
    chain: &watch::Receiver<Snapshot>,
    is_final: bool,
) -> Done {
    let Scene { context, rental } = scene;
    let signer = view(chain, rental.id)?.rental.signer;
    let record = rental.record();
    rental.count_mined();
    let totals = rental.meter(|meter| meter.read(context.clock.monotonic_ms()));
    // A proposal that nobody answered may have been signed: the next one goes on from it.
    let last = record.proposal.as_ref().map(|signed| &signed.value);
    let last = last.or(record.signed.as_ref().map(|signed| &signed.receipt));
    let seq = last.map_or(1, |last| last.seq + 1);
    let (id, now) = (rental.id.get(), context.clock.unix_s());
    let mut value = receipt::next(&record.quote, id, last, seq, now, totals, record.done_s());
    value.isFinal = is_final;
    if is_final || record.uploaded {
        value.manifestRoot = record.manifest_root;
    }
    let digest = value.digest(context.machine.chain_id());
    let proposal = context.machine.sign(value).map_err(|error| Trouble::host(in_full(&error)))?;
    let kept = Box::new(proposal.clone());
    rental.update(context, |record| record.proposal = Some(*kept)).map_err(Trouble::host)?;
    let answer = context.signer.cosign(rental.id, signer, proposal);
    Ok(match crate::time::timeout(SIGNER_PATIENCE, answer).await {
        Ok(Ok(signature)) if recover(digest, &signature) == Ok(signer) => {
            Outcome::Cosigned(signature)
        }
        Ok(Ok(_)) => Outcome::Unsigned(format!("its signature is not {signer}'s")),
        Ok(Err(SignerError::Refused(reason))) => Outcome::Unsigned(reason),
        Ok(Err(error @ SignerError::Unreachable(_))) => Outcome::Silent(error.to_string()),
        Err(_) => Outcome::Silent("the signer does not answer within 10 s".to_owned()),
    })
}

/// The transaction of a call, made of what the record says.
fn transaction(record: &Record, view: &ChainView, call: Call) -> Option<HostCall> {
    let rental = record.rental;
    Some(match call {
        Call::Ready => HostCall::Ready(rental),
        Call::Settle => HostCall::Settle(Box::new(record.signed.clone()?)),
        Call::Call => HostCall::Call(rental),
        Call::Answer => HostCall::Answer(rental),
        Call::Stop => {
            let order = record.stop_order.clone()?;
            HostCall::Stop { order: order.value, signature: order.signature }
        }
        Call::Close(reason) => HostCall::Close { rental, reason, keep_s: 0 },
        Call::Claim => {
            let (active_s, storage_gib_s) = plan::claimable(record, view);
            HostCall::Claim { rental, active_s, storage_gib_s }
        }
        Call::Finalize => HostCall::Finalize(rental),
    })
}

pub(super) async fn send(
    scene: Scene<'_>,
    mut chain: watch::Receiver<Snapshot>,
    call: Call,
) -> Done {
    let Scene { context, rental } = scene;
    let seen = view(&chain, rental.id)?;
    let transaction = transaction(&rental.record(), &seen, call)
        .ok_or_else(|| Trouble::host(format!("nothing to send for {}", call.name())))?;
    let hash = match context.contract.submit(transaction).await {
        Ok(hash) => hash,
        Err(ContractError::Refused(reason)) => return Ok(Outcome::Refused(call, reason)),
        Err(error) => return Err(Trouble(crate::outcome::Failure::Transient, error.to_string())),
    };
    let now = context.clock.unix_s();
    rental
        .update(context, |record| {
            record.sent(call.name(), hash);
            if call == Call::Settle {
                record.settled_at_s = now;
            }
        })
        .map_err(Trouble::host)?;
    let kind = crate::door::EventKind::Transaction { call: call.name().to_owned(), hash };
    rental.emit(context, kind);
    let included = included(scene, &mut chain, hash, seen.head.height);
    Ok(match crate::time::timeout(INCLUSION_PATIENCE, included).await {
        Ok(Some(Inclusion { succeeded: true, height, .. })) => {
            // Planning on an older view would send it again.
            watcher::reached(&mut chain, height).await;
            Outcome::Included(call)
        }
        Ok(Some(Inclusion { reason, .. })) => Outcome::Refused(call, reason),
        Ok(None) | Err(_) => Outcome::Nothing,
    })
}

async fn included(
    scene: Scene<'_>,
    chain: &mut watch::Receiver<Snapshot>,
    hash: alloy_primitives::B256,
    sent_at: u64,
) -> Option<Inclusion> {
    loop {
        if let Ok(Some(inclusion)) = scene.context.contract.inclusion(hash).await {
            return Some(inclusion);
        }
        chain.changed().await.ok()?;
        let height = chain.borrow_and_update().head.map_or(0, |head| head.height);
        if height > sent_at + INCLUSION_BLOCKS {
            return None;
        }
    }
}
