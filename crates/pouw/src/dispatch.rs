//! From a parsed command line to the command that does it.

use clap::CommandFactory;

use crate::cli::{Cli, Command};
use crate::commands;
use crate::session::Session;

/// Runs one command.
///
/// # Errors
/// What failed; [`crate::exit::code`] tells the exit code.
pub async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let session = Session::new(cli.common)?;
    match cli.command {
        Command::Devnet(devnet) => commands::devnet::run(&session, *devnet).await,
        Command::Node(args) => commands::node::run(&session, &args).await,
        Command::Host(command) => commands::host::run(&session, command).await,
        Command::Doctor => commands::doctor::run(&session).await,
        Command::Plan(args) => commands::run::plan(&session, &args).await,
        Command::Run(args) => commands::run::run(&session, &args).await,
        Command::Attach(args) => commands::watch::attach(&session, &args).await,
        Command::Ps(args) => commands::rentals::ps(&session, &args).await,
        Command::Describe(args) => commands::rentals::describe(&session, &args).await,
        Command::Logs(args) => commands::watch::logs(&session, &args).await,
        Command::PortForward(args) => commands::forward::forward(&session, &args).await,
        Command::Stop(args) => commands::watch::stop(&session, &args).await,
        Command::Start(args) => commands::run::start_again(&session, args).await,
        Command::Cp(args) => commands::watch::cp(&session, &args).await,
        Command::Cost => commands::rentals::cost(&session).await,
        Command::Wallet(command) => commands::wallet::run(&session, command).await,
        Command::Chain(command) => commands::chain::run(&session, command).await,
        Command::Sim(command) => commands::sim::run(&session, &command),
        Command::Completions { shell } => {
            // To memory first: the generator panics where a pipe is closed.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pouw", &mut script);
            let script = String::from_utf8_lossy(&script);
            session.output.data(&script, || script.clone().into_owned());
            Ok(())
        }
    }
}
