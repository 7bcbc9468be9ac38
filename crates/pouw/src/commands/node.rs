//! `pouw node`: a node alone.

use pouw_types::Network;
use serde::Serialize;

use crate::cli::NodeArgs;
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
        }),
    })
    .await?;
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
