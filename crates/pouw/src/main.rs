//! `pouw`: see `pouw --help`.

use std::process::ExitCode;

use clap::Parser;
use pouw::cli::Cli;
use pouw::output::{Accent, Output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.common.json, cli.common.quiet);
    let result = pouw::start_runtime(&cli.common).and_then(|runtime| {
        let result = runtime.block_on(pouw::dispatch(cli));
        runtime.shutdown_timeout(core::time::Duration::from_secs(5));
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.problem(format!("{} {error:#}", output.paint(Accent::Red, "error:")));
            pouw::exit::code(&error)
        }
    }
}
