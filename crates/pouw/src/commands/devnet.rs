//! `pouw devnet`: a whole network on this machine.

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use pouw_types::{Amount, MachineId, Network};
use serde::Serialize;

use crate::cli::{self, DevnetArgs, DevnetCommand};
use crate::config::{Config, Named};
use crate::devnet::Devnet;
use crate::devnet::folder::Folder;
use crate::exit::Refused;
use crate::node::Node;
use crate::output::Accent;
use crate::session::Session;

/// The profile's name in the configuration.
const PROFILE: &str = "devnet";

/// Does what was asked.
///
/// # Errors
/// What couldn't be started, or why the chain can't go on.
pub(crate) async fn run(session: &Session, devnet: cli::Devnet) -> anyhow::Result<()> {
    match devnet.command.unwrap_or(DevnetCommand::Start(devnet.args)) {
        DevnetCommand::Start(args) => start(session, &args).await,
        DevnetCommand::Reset { data, yes } => {
            let folder = session.data_folder(data.as_deref(), PROFILE);
            let question =
                format!("Delete the devnet in {}, its chain and store?", folder.display());
            if !yes && !session.output.confirm(&question) {
                return Err(Refused("not deleted: confirm, or use -y".to_owned()).into());
            }
            Folder::remove(&folder)?;
            session.output.note(format!("{} is gone", folder.display()));
            Ok(())
        }
    }
}

/// Where every door is.
#[derive(Serialize)]
struct Doors {
    network: &'static str,
    chain_id: u64,
    http: String,
    json_rpc: String,
    websocket: String,
    s3: String,
    s3_bucket: &'static str,
    s3_credentials: PathBuf,
    host: Option<String>,
    machine: Option<MachineId>,
    no_host: Option<String>,
    payout: Address,
    data: PathBuf,
    profile: PathBuf,
    accounts: Vec<Account>,
    /// More than one, if there are peers.
    nodes: Vec<NodeDoors>,
}

#[derive(Serialize)]
struct NodeDoors {
    http: String,
    contact: Option<String>,
}

impl NodeDoors {
    fn of(node: &Node) -> Self {
        Self { http: node.url(), contact: node.contact().map(ToString::to_string) }
    }
}

#[derive(Serialize)]
struct Account {
    address: Address,
    funded: Amount,
}

impl Doors {
    fn of(devnet: &Devnet) -> Self {
        let network = Network::devnet();
        let url = devnet.node.url();
        let account =
            |one: &pouw_types::Funded| Account { address: one.address, funded: one.amount };
        Self {
            network: network.name,
            chain_id: network.chain_id,
            websocket: url.replacen("http", "ws", 1),
            json_rpc: url.clone(),
            http: url,
            s3: devnet.s3.clone(),
            s3_bucket: crate::devnet::BUCKET,
            s3_credentials: devnet.folder.join("s3-credentials"),
            host: devnet.host.as_ref().map(|host| format!("http://{}", host.address())),
            machine: devnet.host.as_ref().map(|host| host.offer().machine),
            no_host: devnet.no_host.clone(),
            payout: devnet.payout,
            data: devnet.folder.path().to_owned(),
            profile: devnet.profile_file(),
            accounts: network.genesis.iter().map(account).collect(),
            nodes: core::iter::once(&devnet.node)
                .chain(&devnet.others)
                .map(NodeDoors::of)
                .collect(),
        }
    }

    fn to_text(&self, session: &Session) -> String {
        let host = match (&self.host, &self.no_host) {
            (Some(host), _) => host.clone(),
            (None, Some(why)) => {
                format!("{}: {why}", session.output.paint(Accent::Yellow, "not offered"))
            }
            (None, None) => "not offered".to_owned(),
        };
        let mut out = format!(
            "http, json-rpc  {}\nwebsocket       {}\ns3              {}, bucket {}, keys in {}\n\
             host            {host}\ndata            {}\nprofile         {}\n\
             accounts        (mnemonic `{}`, path m/44'/60'/0'/0/i)\n",
            self.http,
            self.websocket,
            self.s3,
            self.s3_bucket,
            self.s3_credentials.display(),
            self.data.display(),
            self.profile.display(),
            crate::session::DEVNET_MNEMONIC,
        );
        for (index, account) in self.accounts.iter().enumerate() {
            out += &format!("  {index}  {}  {} FLUX\n", account.address, account.funded);
        }
        for (index, node) in self.nodes.iter().enumerate().skip(1) {
            out += &format!("node {:<11}{}\n", index + 1, node.http);
        }
        out + "Ctrl-C stops it; `pouw run examples/hello/task.yaml` in another terminal uses it"
    }
}

async fn start(session: &Session, args: &DevnetArgs) -> anyhow::Result<()> {
    let root = std::path::absolute(session.data_folder(args.data.as_deref(), PROFILE))?;
    let mut devnet = Devnet::start(&root, args).await?;
    name_profile(session, &devnet.profile_file())?;
    let doors = Doors::of(&devnet);
    session.output.data(&doors, || doors.to_text(session));
    tokio::select! {
        why = devnet.failed() => {
            devnet.stop().await;
            anyhow::bail!("the chain can't go on: {why}")
        }
        () = crate::runtime::asked_to_end() => {
            session.output.note("stopping; rentals that run go on when it is started again");
            devnet.stop().await;
            Ok(())
        }
    }
}

/// Names the devnet in the configuration, so that other commands find the one started last; each
/// is found by its profile's file as well.
fn name_profile(session: &Session, file: &Path) -> anyhow::Result<()> {
    let path = &session.places.config;
    let mut config = Config::read(path)?;
    let named = Named::File { file: file.to_owned() };
    if config.profiles.get(PROFILE) != Some(&named) {
        config.profiles.insert(PROFILE.to_owned(), named);
        config.write(path)?;
    }
    Ok(())
}
