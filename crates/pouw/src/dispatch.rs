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
        Command::Wallet(command) => commands::wallet::run(&session, command).await,
        Command::Chain(command) => commands::chain::run(&session, command).await,
        Command::Devnet(_)
        | Command::Node(_)
        | Command::Host(_)
        | Command::Plan(_)
        | Command::Run(_)
        | Command::Attach(_)
        | Command::Ps(_)
        | Command::Describe(_)
        | Command::Logs(_)
        | Command::Stop(_)
        | Command::Cp(_)
        | Command::Cost(_)
        | Command::Doctor => anyhow::bail!("not built yet"),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "pouw", &mut std::io::stdout());
            Ok(())
        }
    }
}
