//! `pouw ps`, `pouw cost`, `pouw describe`: rentals of this client, read from the chain.

use pouw_agent::door::{Client, NoticeView, RentalStatus};
use pouw_types::contracts::{IRentals, RENTALS};
use pouw_types::{Amount, RentalId};
use serde::Serialize;

use crate::cli::{PasswordArgs, PsArgs, RentalArgs};
use crate::client::bucket::now_ms;
use crate::client::invoice::Invoice;
use crate::client::rpc::Rpc;
use crate::client::runs::{Run, Runs};
use crate::client::timing::Timing;
use crate::output::{Accent, bytes, duration, table};
use crate::session::Session;

#[derive(Serialize)]
struct Listed {
    rental: RentalId,
    name: String,
    phase: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<NoticeView>,
    opened_at: u64,
    active_s: u64,
    price: Amount,
    fees: Amount,
    escrow: Amount,
}

async fn listed(rpc: &Rpc, run: &Run) -> anyhow::Result<Listed> {
    let call = IRentals::rentalOfCall { rental: run.rental.get() };
    let rental = rpc.view(RENTALS, &call).await?;
    let money = &rental.money;
    Ok(Listed {
        rental: run.rental,
        name: run.name.clone(),
        phase: format!("{:?}", rental.phase).to_lowercase(),
        reason: format!("{:?}", rental.reason),
        notice: NoticeView::of(&rental).filter(|_| rental.phase == IRentals::Phase::Open),
        opened_at: run.opened_at,
        active_s: rental.best.activeS.max(rental.claim.activeS),
        price: Amount::from_atto(money.paid),
        fees: Amount::from_atto(money.burned.saturating_add(money.foundation)),
        escrow: Amount::from_atto(money.escrow),
    })
}

async fn all(session: &Session, closed_too: bool) -> anyhow::Result<Vec<Listed>> {
    let mut rows = Vec::new();
    for run in Runs::new(&session.places.data).list()? {
        let rpc = Rpc::new(&run.rpc);
        let row = listed(&rpc, &run).await?;
        if closed_too || row.phase != "closed" {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// `pouw ps`.
///
/// # Errors
/// Where a record can't be read or the node doesn't answer.
pub(crate) async fn ps(session: &Session, args: &PsArgs) -> anyhow::Result<()> {
    let rows = all(session, args.all).await?;
    session.output.data(&rows, || {
        let row = |one: &Listed| {
            let id: String = one.rental.to_string().chars().take(10).collect();
            let active = one.active_s.to_string();
            let phase = one.phase.clone();
            let reason = match one.notice {
                Some(notice) => format!("{:?} noticed", notice.why),
                None => one.reason.clone(),
            };
            vec![id, one.name.clone(), phase, reason, active, one.price.rounded(6)]
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        table(&["RENTAL", "TASK", "PHASE", "REASON", "ACTIVE S", "PAID FLUX"], &rows)
    });
    Ok(())
}

#[derive(Serialize)]
struct Costs {
    rentals: Vec<Listed>,
    price: Amount,
    fees: Amount,
    escrow: Amount,
}

/// `pouw cost`.
///
/// # Errors
/// As [`ps`].
pub(crate) async fn cost(session: &Session) -> anyhow::Result<()> {
    let rentals = all(session, true).await?;
    let sum = |part: fn(&Listed) -> Amount| {
        rentals.iter().map(part).try_fold(Amount::ZERO, Amount::checked_add)
    };
    let (price, fees) = (sum(|one| one.price)?, sum(|one| one.fees)?);
    let costs = Costs { price, fees, escrow: sum(|one| one.escrow)?, rentals };
    session.output.data(&costs, || {
        let row = |one: &Listed| {
            let id: String = one.rental.to_string().chars().take(10).collect();
            vec![
                id,
                one.name.clone(),
                one.price.rounded(6),
                one.fees.rounded(6),
                one.escrow.rounded(6),
            ]
        };
        let mut rows: Vec<_> = costs.rentals.iter().map(row).collect();
        let sums = [costs.price, costs.fees, costs.escrow].map(|amount| amount.rounded(6));
        rows.push(["all".to_owned(), String::new()].into_iter().chain(sums).collect());
        table(&["RENTAL", "TASK", "PAID FLUX", "FEES FLUX", "IN ESCROW"], &rows)
    });
    Ok(())
}

#[derive(Serialize)]
struct Description {
    run: Run,
    invoice: Invoice,
    host: Option<RentalStatus>,
    timing: Option<Timing>,
}

/// `pouw describe`.
///
/// # Errors
/// Where there is no such rental or the node doesn't answer; a host that is gone is no error.
pub(crate) async fn describe(session: &Session, args: &RentalArgs) -> anyhow::Result<()> {
    let run = Runs::new(&session.places.data).find(args.rental.as_deref())?;
    let invoice = Invoice::read(&Rpc::new(&run.rpc), run.rental).await?;
    let key = session.unlock(&PasswordArgs::default())?;
    let host = Client::new(&run.endpoint, Some(key))?.status(run.rental).await.ok();
    let timing = host.as_ref().map(|host| Timing::of(run.sent_ms, &host.steps, now_ms()));
    let description = Description { run, invoice, host, timing };
    session.output.data(&description, || {
        let Description { run, invoice, host, timing } = &description;
        let name = session.output.paint(Accent::Bold, &run.name);
        let mut out = format!("{name}\nhost       {}\nresults    {}\n", run.endpoint, run.prefix);
        match host {
            Some(status) => {
                out += &format!("step       {}\n", status.step);
                if let Some(end) = &status.end {
                    out += &format!("end        {end}\n");
                }
                if let Some(why) = &status.paused {
                    out += &format!("paused     {why}, unbilled\n");
                }
                if let Some(notice) = &status.notice {
                    let left = duration(notice.ends_at.saturating_sub(now_ms() / 1000));
                    out += &format!("notice     {}, in {left}\n", notice.why);
                }
                if let Some(until) = status.kept_until {
                    let left = duration(until.saturating_sub(now_ms() / 1000));
                    out += &format!("kept       for {left} more: `pouw start` goes on\n");
                }
                if !status.left.is_empty() {
                    let count = status.left.len();
                    out += &format!("left       {count} results stay on the host for a day: `pouw cp` gets them\n");
                }
                if let Some(saved) = &status.checkpoint {
                    let (at, size) = (duration(saved.active_s), bytes(saved.size_bytes));
                    out += &format!("checkpoint {at} of its work ({size})\n");
                }
                let total = status.parts_total.map(|total| format!(" of {total}"));
                let total = total.unwrap_or_default();
                out += &format!("parts      {}{total}\n", status.parts.len());
                for remark in &status.remarks {
                    out += &format!("remark     {remark}\n");
                }
            }
            None => out += "step       the host does not answer\n",
        }
        if let Some(timing) = timing {
            out += "time\n";
            out += &timing.to_text();
        }
        out + &invoice.to_text()
    });
    Ok(())
}
