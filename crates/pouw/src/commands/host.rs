//! `pouw host`: offering this machine.

use std::path::PathBuf;

use alloy_primitives::Address;
use alloy_sol_types::SolCall;
use anyhow::Context;
use pouw_agent::door::Client;
use pouw_agent::probe::CpuProbe;
use pouw_agent::{HostConfig, SelfTest};
use pouw_types::contracts::{HOSTS, IHosts, IRentals, RENTALS};
use pouw_types::{Amount, MachineId, RentalId};
use serde::Serialize;

use crate::cli::{HostArgs, HostCommand, NoticeArgs, PasswordArgs};
use crate::client::bucket::now_s;
use crate::client::rpc::Rpc;
use crate::client::sender::{Order, Sender};
use crate::exit::{Refused, WrongInput};
use crate::host::Setup;
use crate::output::{Accent, bytes, duration};
use crate::session::Session;

const SETTINGS: &str = "host.toml";

/// Does what was asked.
///
/// # Errors
/// What the engine, the node or the agent says.
pub(crate) async fn run(session: &Session, command: HostCommand) -> anyhow::Result<()> {
    match command {
        HostCommand::Install(args) => install(session, &args).await,
        HostCommand::SelfTest(args) => self_test(session, &args).await,
        HostCommand::Offer(args) => offer(session, &args).await,
        HostCommand::Status(args) => status(session, &args).await,
        HostCommand::Run(args) => serve(session, &args).await,
        HostCommand::Preempt(args) => give_notice(session, &args, IRentals::Notice::Preempt).await,
        HostCommand::Reprice(args) => give_notice(session, &args, IRentals::Notice::Reprice).await,
    }
}

#[derive(Serialize)]
struct Noticed {
    rental: RentalId,
    ends_at: u64,
}

/// the agent, which follows the chain, ends the rental when its time has come.
async fn give_notice(
    session: &Session,
    args: &NoticeArgs,
    notice: IRentals::Notice,
) -> anyhow::Result<()> {
    let rpc = Rpc::new(&session.profile()?.rpc);
    let wait_s = pouw_agent::plan::notice_s(notice).unwrap_or_default();
    let question = format!("End rental {} in {}?", args.rental, duration(wait_s));
    if !args.yes && !session.output.confirm(&question) {
        return Err(Refused("no notice was given: confirm, or use -y".to_owned()).into());
    }
    let key = session.unlock(&PasswordArgs::default())?;
    let call = IRentals::giveNoticeCall { rental: args.rental.get(), notice };
    let order = Order { to: RENTALS, value: Amount::ZERO, data: call.abi_encode().into() };
    Sender::new(key, rpc.chain_id().await?).execute(&rpc, &order).await?;
    let rental = rpc.view(RENTALS, &IRentals::rentalOfCall { rental: args.rental.get() }).await?;
    let ends_at = pouw_agent::plan::notice_ends_at(&rental).unwrap_or_default();
    let noticed = Noticed { rental: args.rental, ends_at };
    session.output.data(&noticed, || {
        format!("rental {} ends in {}", noticed.rental, duration(ends_at.saturating_sub(now_s())))
    });
    Ok(())
}

fn setup(session: &Session, args: &HostArgs) -> anyhow::Result<Setup> {
    Setup::open(&session.data_folder(args.data.as_deref(), "host"))
}

fn settings_path(setup: &Setup, args: &HostArgs) -> PathBuf {
    args.settings.clone().unwrap_or_else(|| setup.data.join(SETTINGS))
}

/// The settings of the file, or a proposal where there is none.
async fn settings(
    session: &Session,
    setup: &Setup,
    args: &HostArgs,
) -> anyhow::Result<(PathBuf, HostConfig, bool)> {
    let path = settings_path(setup, args);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let config =
                text.parse().map_err(|error| WrongInput(format!("{}: {error}", path.display())))?;
            Ok((path, config, true))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let payout = match args.payout {
                Some(payout) => payout,
                None => session.unlock(&PasswordArgs::default())?.address(),
            };
            let config = setup.proposal(&setup.describe().await?, args.listen, payout)?;
            Ok((path, config, false))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[derive(Serialize)]
struct Installed {
    machine: MachineId,
    settings: PathBuf,
    score: u32,
}

async fn install(session: &Session, args: &HostArgs) -> anyhow::Result<()> {
    let setup = setup(session, args)?;
    let (path, config, there) = settings(session, &setup, args).await?;
    if !there {
        pouw_vault::write_private(&path, toml::to_string_pretty(&config)?.as_bytes())?;
    }
    session.output.note("measuring this machine, seven times");
    let test = SelfTest::take(&CpuProbe, now_s()).await;
    test.write(&setup.data.join(SelfTest::FILE))?;
    let installed = Installed { machine: setup.machine(), settings: path, score: test.cpu };
    session.output.data(&installed, || {
        format!(
            "machine   {}\nsettings  {}\nscore     {} (1000 is the reference)",
            installed.machine,
            installed.settings.display(),
            installed.score
        )
    });
    session
        .output
        .note("look at the prices in the settings; `pouw host run` registers and offers it");
    Ok(())
}

async fn self_test(session: &Session, args: &HostArgs) -> anyhow::Result<()> {
    let setup = setup(session, args)?;
    let (_, config, _) = settings(session, &setup, args).await?;
    let mut test = SelfTest::take(&CpuProbe, now_s()).await;
    setup.test_images(&config, &mut test, |text| session.output.note(text)).await?;
    test.write(&setup.data.join(SelfTest::FILE))?;
    session.output.data(&test, || {
        let mut out = format!("general    {} (1000 is the reference)", test.cpu);
        for (digest, image) in &test.images {
            let use_case = format!("{:?}", image.use_case).to_lowercase();
            out += &format!("\n{use_case:<10} {} by image {digest}", image.score);
        }
        out
    });
    Ok(())
}

async fn offer(session: &Session, args: &HostArgs) -> anyhow::Result<()> {
    let setup = setup(session, args)?;
    let (_, config, _) = settings(session, &setup, args).await?;
    let endpoint = if config.endpoint.is_empty() {
        format!("http://{}", config.listen)
    } else {
        config.endpoint.clone()
    };
    let offer = Client::new(&endpoint, None)?
        .offer()
        .await
        .context("the agent does not answer: `pouw host run` starts it")?;
    session.output.data(&offer, || {
        let (unit, floor) = (&offer.unit, &offer.floor);
        format!(
            "machine   {}\nunits     {} × {} cores, {} memory, {} disk\nactive    {} FLUX a second\n\
             storage   {} FLUX a GiB·s\ntraffic   {} FLUX a byte\nendpoint  {}",
            offer.machine,
            offer.units,
            unit.cpu_millis / 1000,
            bytes(unit.memory_bytes),
            bytes(unit.disk_bytes),
            floor.active_second,
            floor.storage_gib_second,
            floor.traffic_byte,
            offer.endpoint
        )
    });
    Ok(())
}

#[derive(Serialize)]
struct Status {
    machine: MachineId,
    registered: bool,
    operator: Address,
    payout: Address,
    payout_balance: Amount,
    units: u32,
    open_units: u32,
    bond: Amount,
    rentals: Vec<RentalId>,
}

async fn status(session: &Session, args: &HostArgs) -> anyhow::Result<()> {
    let setup = setup(session, args)?;
    let rpc = session.rpc()?;
    let machine = setup.machine();
    let call = IHosts::machineOfCall { machine: machine.get() };
    let known = rpc.view(HOSTS, &call).await?;
    let call = IRentals::activeOfCall { party: machine.get() };
    let rentals = rpc.view(RENTALS, &call).await?.into_iter().map(RentalId::new).collect();
    let status = Status {
        machine,
        registered: known.operator != Address::ZERO,
        operator: known.operator,
        payout: known.payout,
        payout_balance: rpc.balance(known.payout).await?,
        units: known.units,
        open_units: known.openUnits,
        bond: Amount::from_atto(known.bond),
        rentals,
    };
    session.output.data(&status, || {
        let registered = if status.registered {
            session.output.paint(Accent::Green, "registered")
        } else {
            session.output.paint(Accent::Yellow, "not registered: `pouw host run` does it")
        };
        let mut out = format!(
            "machine   {} {registered}\npayout    {} has {} FLUX\nunits     {} of {} rented\nbond      {} FLUX\n",
            status.machine,
            status.payout,
            status.payout_balance.rounded(6),
            status.open_units,
            status.units,
            status.bond
        );
        for rental in &status.rentals {
            out += &format!("rental    {rental}\n");
        }
        out
    });
    Ok(())
}

async fn serve(session: &Session, args: &HostArgs) -> anyhow::Result<()> {
    let setup = setup(session, args)?;
    let (_, config, _) = settings(session, &setup, args).await?;
    let rpc = session.rpc()?;
    let network = rpc.network().await?;
    let operator = session.unlock(&PasswordArgs::default())?;
    let agent = setup.start(config, network, rpc.url(), operator).await?;
    let offer = agent.offer();
    session
        .output
        .data(&offer, || format!("machine {} is offered at {}", offer.machine, offer.endpoint));
    crate::runtime::asked_to_end().await;
    session.output.note("stopping; rentals that run go on when it is started again");
    agent.stop().await;
    Ok(())
}
