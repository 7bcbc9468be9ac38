//! `pouw node`: a node alone.

use pouw_chain::LaneKey;
use pouw_types::Network;
use serde::Serialize;

use crate::cli::{LaneKeyArg, NodeArgs};
use crate::devnet::folder::Folder;
use crate::exit::WrongInput;
use crate::node::{Node, NodeOptions, PeerOptions};
use crate::session::Session;

#[derive(Serialize)]
struct Doors {
    network: &'static str,
    http: String,
    json_rpc: String,
    websocket: String,
    /// How other nodes call it.
    contact: Option<String>,
    data: std::path::PathBuf,
}

fn lane_keys(args: &[LaneKeyArg]) -> anyhow::Result<Vec<LaneKey>> {
    let key = |arg: &LaneKeyArg| {
        // Made by the host; a key made here by mistake would never be registered.
        anyhow::ensure!(
            arg.file.exists(),
            "no lane key in {}: it is in the data folder of `pouw host`",
            arg.file.display()
        );
        let secret = pouw_vault::load_or_create(&arg.file)?.to_bytes().0;
        Ok(LaneKey { machine: arg.machine, secret })
    };
    args.iter().map(key).collect()
}

/// Runs until Ctrl-C or until the chain can't go on.
///
/// # Errors
/// What couldn't be opened, or why the chain can't go on.
pub(crate) async fn run(session: &Session, args: &NodeArgs) -> anyhow::Result<()> {
    let network: &'static Network =
        args.network.parse().map_err(|error| WrongInput(format!("{error}")))?;
    if network == Network::devnet() && !args.listen.ip().is_loopback() {
        let text = "a devnet's accounts are everybody's: it listens on loopback only".to_owned();
        return Err(WrongInput(text).into());
    }
    let folder = Folder::open(&session.data_folder(args.data.as_deref(), network.name))?;
    let mut node = Node::start(NodeOptions {
        network,
        folder: folder.path(),
        listener: folder.listen("node", args.listen)?,
        mine_to: args.mine_to,
        mine: args.mine.into(),
        min_spacing_ms: 1_000,
        shares_machine: false,
        guests: args.guests.clone(),
        peers: Some(PeerOptions {
            listen: folder.peer_address(args.peer_listen)?,
            named: args.peers.clone(),
            relays: args.relays.clone(),
            trust: args.trust,
        }),
    })
    .await?;
    node.draw(lane_keys(&args.lane_keys)?)?;
    let doors = Doors {
        network: network.name,
        http: node.url(),
        json_rpc: node.url(),
        websocket: format!("ws://{}", node.address),
        contact: node.contact().map(ToString::to_string),
        data: folder.path().to_owned(),
    };
    session.output.data(&doors, || {
        format!(
            "{} node\nhttp, json-rpc  {}\nwebsocket       {}\npeers           --peer {}\ndata            {}",
            doors.network,
            doors.http,
            doors.websocket,
            doors.contact.as_deref().unwrap_or_default(),
            doors.data.display()
        )
    });
    tokio::select! {
        why = node.failed() => {
            node.stop().await;
            anyhow::bail!("the chain can't go on: {why}")
        }
        () = crate::runtime::asked_to_end() => {
            session.output.note("stopping");
            node.stop().await;
            Ok(())
        }
    }
}
