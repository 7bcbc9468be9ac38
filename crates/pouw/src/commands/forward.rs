//! `pouw port-forward`: a running task's ports on this computer.

use pouw_agent::door::{PortName, RentalStatus};

use super::watch::Opened;
use crate::cli::{Forward, ForwardArgs, RentalArgs};
use crate::client::follow::follow;
use crate::client::forward::{Told, carry, listen};
use crate::exit::{Interrupted, WrongInput};
use crate::session::Session;

/// `pouw port-forward`: stays until the task ends.
///
/// # Errors
/// Where the task has no such port, or one of this computer's is taken.
pub(crate) async fn forward(session: &Session, args: &ForwardArgs) -> anyhow::Result<()> {
    let opened = Opened::find(session, &RentalArgs { rental: Some(args.rental.clone()) })?;
    let rental = opened.run.rental;
    check(&opened.door.status(rental).await?, &args.ports)?;
    let listening = listen(&args.ports).await?;
    let told: Vec<Told> = listening.iter().map(crate::client::forward::Listening::told).collect();
    session
        .output
        .data(&told, || told.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let ended = follow(&opened.door, rental, None, |_| ());
    tokio::select! {
        ended = ended => {
            session.output.note(ended?.to_string());
            Ok(())
        }
        () = carry(listening, opened.door.clone(), rental, session.output) => Ok(()),
        _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
    }
}

/// Says at once what the host would refuse at the first connection.
fn check(status: &RentalStatus, forwards: &[Forward]) -> Result<(), WrongInput> {
    for Forward { port, .. } in forwards {
        if status.has_task && !status.ports.contains(&port.0) {
            let named: Vec<String> =
                status.ports.iter().map(|port| PortName(*port).to_string()).collect();
            let has = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
            return Err(WrongInput(format!("the task has no port {port}; its ports: {has}")));
        }
    }
    Ok(())
}
