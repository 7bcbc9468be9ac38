//! The command line as typed; nothing is read or resolved here.

use std::net::SocketAddr;
use std::path::PathBuf;

use alloy_primitives::Address;
use clap::{Args, Parser, Subcommand};
use pouw_net::{Contact, Trust};
use pouw_types::{Amount, RentalId};

pub use crate::client::forward::Forward;

mod sim;

pub use sim::{SimCommand, SimPlot};

/// Rent machines, rent out machines, and run the chain that pays for it.
#[derive(Debug, Parser)]
#[command(name = "pouw", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  pouw devnet start                      a whole network on this machine
  pouw run examples/hello/task.yaml      rent a machine and run a task on it
  pouw ps                                what runs and what it has cost
  pouw chain status                      the chain and where all its money is

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 refused (money, permission, price),
4 the task failed, 5 nobody answers, 130 interrupted. Files: POUW_CONFIG, POUW_DATA.")]
pub struct Cli {
    /// Common to all commands.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Data as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// A profile of the configuration file, or a profile's file
    #[arg(long, global = true, value_name = "NAME|FILE", env = "POUW_PROFILE")]
    pub profile: Option<String>,
    /// A node's address, instead of the profile's
    #[arg(long, global = true, value_name = "URL", env = "POUW_RPC")]
    pub rpc: Option<String>,
    /// Log what happens inside: info, debug, or a filter such as `pouw_agent=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "POUW_LOG")]
    pub log: Option<String>,
}

/// What `pouw` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A whole network in one process: node, store, host
    Devnet(Box<Devnet>),
    /// Run a node
    Node(NodeArgs),
    /// Offer this machine
    #[command(subcommand)]
    #[command(after_help = "Examples:
  pouw host install                   measure this machine, put up its bond, offer it
  pouw host run                       serve rentals until Ctrl-C
  pouw host status")]
    Host(HostCommand),
    /// Show what a task would run on and cost, without running it
    #[command(after_help = "Examples:
  pouw plan examples/hello/task.yaml
  pouw plan task.yaml --json | jq .deposit")]
    Plan(PlanArgs),
    /// Rent a machine and run a task on it
    Run(RunArgs),
    /// Follow a running task
    #[command(after_help = "Examples:
  pouw attach         your newest rental
  pouw attach 0x4f    the one that starts with 0x4f")]
    Attach(RentalArgs),
    /// List your rentals
    #[command(after_help = "Examples:
  pouw ps
  pouw ps --all --json")]
    Ps(PsArgs),
    /// Show a rental: contract, receipts, results
    #[command(after_help = "Examples:
  pouw describe         your newest rental
  pouw describe 0x4f --json")]
    Describe(RentalArgs),
    /// Show a task's output
    #[command(after_help = "Examples:
  pouw logs -f               as it grows
  pouw logs 0x4f --system    what the host did")]
    Logs(LogsArgs),
    /// Reach a port of a running task from this computer
    PortForward(ForwardArgs),
    /// End a rental
    Stop(StopArgs),
    /// Go on with a rental that was stopped with its data kept
    #[command(after_help = "Example: pouw start 0x4f")]
    Start(StartArgs),
    /// Copy a rental's results
    Cp(CpArgs),
    /// What rentals have cost
    #[command(after_help = "Example: pouw cost --json | jq .price")]
    Cost,
    /// Accounts and money
    #[command(subcommand)]
    #[command(after_help = "Examples:
  pouw wallet new
  pouw wallet balance
  pouw wallet send 0x7099…79C8 1.5")]
    Wallet(WalletCommand),
    /// Look into the chain
    #[command(subcommand)]
    #[command(after_help = "Examples:
  pouw chain status
  pouw chain blocks --lane matmul
  pouw chain tx 0xa4b6…d3de      a hash of an invoice")]
    Chain(ChainCommand),
    /// Attack the rules of the chain in virtual time
    #[command(subcommand)]
    #[command(after_help = "Examples:
  pouw sim list
  pouw sim attack rental --seeds 32 --svg rental.svg
  pouw sim attack timestamps --json
  pouw sim year --svg year.svg")]
    Sim(SimCommand),
    /// Tell what this machine lacks and what mends it
    #[command(after_help = "Example: pouw doctor --json | jq '.[] | select(.state != \"ok\")'")]
    Doctor,
    /// Write a shell's completions to stdout
    #[command(after_help = "Example: pouw completions bash > /etc/bash_completion.d/pouw")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// `pouw devnet …`: without a word more it starts.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  pouw devnet
  pouw devnet --json --data ./net --listen 127.0.0.1:0    one line for scripts, free ports
  pouw devnet reset")]
pub struct Devnet {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<DevnetCommand>,
    /// How to start.
    #[command(flatten)]
    pub args: DevnetArgs,
}

/// What can be done with a devnet.
#[derive(Debug, Subcommand)]
pub enum DevnetCommand {
    /// Start it, and stay until Ctrl-C
    #[command(after_help = "Examples:
  pouw devnet start
  pouw devnet start --no-host --listen 127.0.0.1:8545    a chain for wallets alone
  pouw devnet start --nodes 5 --mine-all")]
    Start(DevnetArgs),
    /// Forget its chain, store and wallets
    #[command(after_help = "Example: pouw devnet reset -y")]
    Reset {
        /// Its data folder
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// How a devnet is started.
#[derive(Clone, Debug, Args)]
pub struct DevnetArgs {
    /// Where everything is kept
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The node's address; port 0 takes a free one, chosen once and kept
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The store's address; port 0 takes a free one, chosen once and kept
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub s3_listen: SocketAddr,
    /// The host agent's address; port 0 takes a free one, chosen once and kept
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub host_listen: SocketAddr,
    /// Don't offer this machine
    #[arg(long)]
    pub no_host: bool,
    /// Which lanes the local miner works on
    #[arg(long, value_enum, value_name = "LANES", default_value_t = MineArg::All)]
    pub mine: MineArg,
    /// Least time between two blocks of the local miner, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1000..=3_600_000))]
    pub block_time: u64,
    /// A file that maps image names to digests
    #[arg(long, value_name = "FILE")]
    pub images: Option<PathBuf>,
    /// How many nodes, each with a chain and a folder of its own; 1 talks to no peer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub nodes: u16,
    /// Let every node mine, not the first alone
    #[arg(long)]
    pub mine_all: bool,
    /// Who may knock beside programs on this machine.
    #[command(flatten)]
    pub guests: GuestArgs,
}

/// On which lanes a miner works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum MineArg {
    /// Lane 0 alone
    Hash,
    /// Random matrix products for lane 1 alone
    Matmul,
    /// Lanes 0 and 1, each for as much time as it has share
    Both,
    /// Lane 2 alone: the slots of machines with credit
    Credit,
    /// All three lanes
    All,
    /// Lane 0 or 1, whichever earns more at once as measured on this machine, and lane 2
    Auto,
}

impl From<MineArg> for pouw_chain::Mine {
    fn from(arg: MineArg) -> Self {
        match arg {
            MineArg::Hash => Self::Hash,
            MineArg::Matmul => Self::Matmul,
            MineArg::Both => Self::Both,
            MineArg::Credit => Self::Credit,
            MineArg::All => Self::All,
            MineArg::Auto => Self::Auto,
        }
    }
}

/// A machine and the file of its lane key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneKeyArg {
    /// Which machine.
    pub machine: Address,
    /// Where its host keeps the key.
    pub file: PathBuf,
}

impl core::str::FromStr for LaneKeyArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (machine, file) = text
            .split_once('=')
            .ok_or("MACHINE=FILE: the machine's address and its host's lane.key")?;
        let machine = machine.parse().map_err(|error| format!("`{machine}`: {error}"))?;
        Ok(Self { machine, file: file.into() })
    }
}

/// Who may reach the node's HTTP and JSON-RPC door, beside addresses and `localhost`.
#[derive(Clone, Debug, Default, Args)]
pub struct GuestArgs {
    /// A name under which clients may address the node, such as node.example (repeatable)
    #[arg(long = "allow-host", value_name = "NAME", value_parser = pouw_api::parse_host)]
    pub hosts: Vec<String>,
    /// A web origin whose pages may use the node, as a browser sends it (repeatable)
    #[arg(long = "allow-origin", value_name = "ORIGIN", value_parser = pouw_api::parse_origin)]
    pub origins: Vec<String>,
}

/// Options of `pouw node`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  pouw node --network testnet --peer-listen 0.0.0.0:7373
  pouw node --network testnet --peer 3f…c1@203.0.113.7:7373    as the other node prints it
  pouw chain peers                                             who is connected")]
pub struct NodeArgs {
    /// Which network
    #[arg(long, default_value = "devnet", value_name = "NAME")]
    pub network: String,
    /// Where the chain is kept
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// HTTP and JSON-RPC address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8545")]
    pub listen: SocketAddr,
    /// Mine, and be paid here
    #[arg(long, value_name = "ADDRESS")]
    pub mine_to: Option<Address>,
    /// Another node, always called: PEER@IP:PORT as it prints it (repeatable)
    #[arg(long = "peer", value_name = "CONTACT")]
    pub peers: Vec<Contact>,
    /// Where to listen for peers (UDP); port 0 takes a free one, chosen once and kept
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub peer_listen: SocketAddr,
    /// A relay of one's own for nodes behind a NAT (repeatable); none is used but these
    #[arg(long = "relay", value_name = "URL")]
    pub relays: Vec<String>,
    /// A recent block that you trust: what leads to it is taken without its matmul certificates,
    /// which nodes keep only for a while
    #[arg(long, value_name = "BLOCKID@HEIGHT")]
    pub trust: Option<Trust>,
    /// Which lanes to mine
    #[arg(long, value_enum, value_name = "LANES", default_value_t = MineArg::Auto, requires = "mine_to")]
    pub mine: MineArg,
    /// A machine whose credit wins blocks of lane 2, and its host's lane.key (repeatable)
    #[arg(long = "lane-key", value_name = "MACHINE=FILE", requires = "mine_to")]
    pub lane_keys: Vec<LaneKeyArg>,
    /// Who may knock beside programs on this machine.
    #[command(flatten)]
    pub guests: GuestArgs,
}

/// `pouw host …`
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Make this machine's key, measure it, register it and offer it
    #[command(after_help = "Examples:
  pouw host install
  pouw host install --payout 0x7099…79C8 --settings host.toml")]
    Install(HostArgs),
    /// Measure this machine
    #[command(after_help = "Example: pouw host self-test")]
    SelfTest(HostArgs),
    /// Show what is offered
    #[command(after_help = "Example: pouw host offer --json")]
    Offer(HostArgs),
    /// Show rentals and earnings
    #[command(after_help = "Example: pouw host status")]
    Status(HostArgs),
    /// Serve rentals until Ctrl-C
    #[command(after_help = "Example: pouw host run --listen 0.0.0.0:8547")]
    Run(HostArgs),
    /// Give notice to a spot rental: its machine is taken back in 120 s
    #[command(after_help = "Example: pouw host preempt 0x21b4…35a8")]
    Preempt(NoticeArgs),
    /// Give notice to an on-demand rental: it ends in 24 h, for another price
    #[command(after_help = "Example: pouw host reprice 0x21b4…35a8")]
    Reprice(NoticeArgs),
}

/// Options of `pouw host`.
#[derive(Clone, Debug, Args)]
pub struct HostArgs {
    /// Where the agent keeps its key, journal and scratch
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Prices and limits; default: host.toml in the data folder
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// The agent's address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8547")]
    pub listen: SocketAddr,
    /// Who is paid; default: the operator
    #[arg(long, value_name = "ADDRESS")]
    pub payout: Option<Address>,
}

/// Options of `pouw host preempt` and `reprice`.
#[derive(Clone, Debug, Args)]
pub struct NoticeArgs {
    /// Which rental, all of its id
    #[arg(value_name = "RENTAL", value_parser = rental_id)]
    pub rental: RentalId,
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
}

/// What a task is run with.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// The task's specification
    #[arg(value_name = "TASK.YAML")]
    pub task: PathBuf,
    /// Only this machine
    #[arg(long, value_name = "MACHINE")]
    pub machine: Option<Address>,
}

/// Options of `pouw run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  pouw run examples/hello/task.yaml
  pouw run -y examples/render/task.yaml --output ./frames    no question, results here
  pouw run --detach examples/hello/task.yaml                 come back with `pouw attach`
  pouw run --on-fault resume train.yaml                      go on elsewhere if the host fails
  pouw run --resume 0x4f train.yaml                          from where 0x4f… ended")]
pub struct RunArgs {
    /// What to run.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Don't ask before paying
    #[arg(short, long)]
    pub yes: bool,
    /// Agree that a block won by the task shows 16 rows and columns of what it multiplies
    #[arg(long)]
    pub allow_opening: bool,
    /// Return once the rental is open
    #[arg(short, long)]
    pub detach: bool,
    /// Copy the results into this folder
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Go on from the last checkpoint of this rental of yours
    #[arg(long, value_name = "RENTAL")]
    pub resume: Option<String>,
    /// What to do when the host fails or ends the rental
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnFault::Ask)]
    pub on_fault: OnFault,
    /// A port of the task, reached from this computer while it runs (repeatable)
    #[arg(long = "forward", value_name = "PORT[:LOCAL][/udp]", conflicts_with = "detach")]
    pub forwards: Vec<Forward>,
}

/// Options of `pouw port-forward`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  pouw port-forward 0x4f 8080              the task's port 8080 at 127.0.0.1:8080
  pouw port-forward 0x4f 8080:0 53:5353/udp    a free port of this computer; UDP

Only ports under `ports:` of the task can be reached, and only by its client. What passes counts as
traffic.")]
pub struct ForwardArgs {
    /// Its id, or the first digits of one of yours
    pub rental: String,
    /// The task's port and, behind the colon, this computer's; 0 takes a free one
    #[arg(value_name = "PORT[:LOCAL][/udp]", required = true)]
    pub ports: Vec<Forward>,
}

/// What a client wants when its host fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OnFault {
    /// Ask; without a terminal, leave it
    Ask,
    /// Go on from the last checkpoint, within the task's own limits
    Resume,
    /// Leave it
    Leave,
}

/// One rental.
#[derive(Clone, Debug, Args)]
pub struct RentalArgs {
    /// Its id, or the first digits of one of yours; default: your newest
    pub rental: Option<String>,
}

/// Options of `pouw ps`.
#[derive(Clone, Debug, Args)]
pub struct PsArgs {
    /// Closed ones too
    #[arg(short, long)]
    pub all: bool,
}

/// Options of `pouw logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// Which rental.
    #[command(flatten)]
    pub rental: RentalArgs,
    /// Go on as it grows
    #[arg(short, long)]
    pub follow: bool,
    /// What the host did, instead of what the task wrote
    #[arg(long)]
    pub system: bool,
}

/// Options of `pouw stop`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  pouw stop 0x4f                 end it
  pouw stop --keep 6h 0x4f       end it, the host keeps its disk: `pouw start 0x4f` goes on
  pouw stop --host-gone 0x4f     end it as the fault of a host that doesn't answer")]
pub struct StopArgs {
    /// Which rental.
    #[command(flatten)]
    pub rental: RentalArgs,
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
    /// The host is gone: call it on the chain, and end the rental as its fault unless it answers
    #[arg(long)]
    pub host_gone: bool,
    /// Have the host keep the task's disk for so long, billed as storage, such as 6h
    #[arg(long, value_name = "TIME", value_parser = pouw_spec::quantity::seconds, conflicts_with = "host_gone")]
    pub keep: Option<u64>,
}

/// Options of `pouw start`.
#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    /// Which rental.
    #[command(flatten)]
    pub rental: RentalArgs,
    /// The task's specification; default: the file it was run from
    #[arg(long, value_name = "TASK.YAML")]
    pub task: Option<PathBuf>,
    /// Don't ask before paying
    #[arg(short, long)]
    pub yes: bool,
    /// Agree that a block won by the task shows 16 rows and columns of what it multiplies
    #[arg(long)]
    pub allow_opening: bool,
    /// Return once the rental is open
    #[arg(short, long)]
    pub detach: bool,
    /// Copy the results into this folder
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Options of `pouw cp`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  pouw cp 0x4f ./results            all results of the rental that starts with 0x4f
  pouw cp 0x4f/frames ./frames      one folder of them")]
pub struct CpArgs {
    /// RENTAL or RENTAL/PATH
    pub from: String,
    /// A folder of this machine
    pub to: PathBuf,
}

/// `pouw wallet …`
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Make a new account
    #[command(after_help = "Examples:
  pouw wallet new
  pouw wallet new --password-file pw.txt")]
    New(PasswordArgs),
    /// Take in an account: a keystore file, or 64 hex digits
    #[command(after_help = "Examples:
  pouw wallet import UTC--2026-01-01--….json
  pouw wallet import key.hex --password-file pw.txt")]
    Import {
        /// The keystore or key
        file: PathBuf,
        /// How the new keystore is locked
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Show accounts
    #[command(after_help = "Example: pouw wallet address")]
    Address,
    /// Show what accounts have
    #[command(after_help = "Examples:
  pouw wallet balance
  pouw wallet balance 0x7099…79C8 --json")]
    Balance {
        /// Which; default: the profile's
        address: Option<Address>,
    },
    /// Send money
    #[command(after_help = "Example: pouw wallet send 0x7099…79C8 1.5")]
    Send {
        /// To whom
        to: Address,
        /// How much FLUX
        amount: Amount,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
        /// How the account is unlocked
        #[command(flatten)]
        password: PasswordArgs,
    },
}

/// Where a password comes from: a file, else the file that `POUW_PASSWORD_FILE` names, else a prompt.
#[derive(Clone, Debug, Default, Args)]
pub struct PasswordArgs {
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE", env = "POUW_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
}

/// `pouw chain …`
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// The head, the lanes, the miner, and where all money is
    #[command(after_help = "Examples:
  pouw chain status
  pouw chain status --json | jq .mining")]
    Status,
    /// Who the node is connected with
    #[command(after_help = "Example: pouw chain peers")]
    Peers,
    /// Blocks, newest first, by lane
    #[command(after_help = "Examples:
  pouw chain blocks
  pouw chain blocks --lane matmul --limit 5
  pouw chain blocks --below 100 --json")]
    Blocks {
        /// Only of this lane
        #[arg(long, value_enum)]
        lane: Option<LaneArg>,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Only below this height
        #[arg(long, value_name = "HEIGHT")]
        below: Option<u64>,
    },
    /// A machine's lane key, its credit, and its rewards that wait for paid work
    #[command(after_help = "Example: pouw chain machine 0x…")]
    Machine {
        /// Its address
        machine: Address,
    },
    /// Each lane's difficulty in its own unit, its spacing, the network's work, and what receipts backed
    #[command(after_help = "Examples:
  pouw chain lanes
  pouw chain lanes --window 1000 --json")]
    Lanes {
        /// How many of the last blocks to look at
        #[arg(long, value_name = "BLOCKS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=2_000))]
        window: u64,
    },
    /// The lanes' shares by epoch, and why they moved
    #[command(after_help = "Examples:
  pouw chain share
  pouw chain share --epochs 100 --json")]
    Share {
        /// How many epochs
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=200))]
        epochs: u64,
    },
    /// One block
    #[command(after_help = "Examples:
  pouw chain block
  pouw chain block 100 --json")]
    Block {
        /// Height, id, or latest
        #[arg(default_value = "latest")]
        block: String,
    },
    /// One transaction
    #[command(after_help = "Example: pouw chain tx 0xa4b6…d3de")]
    Tx {
        /// Its hash
        hash: alloy_primitives::B256,
    },
    /// One account
    #[command(after_help = "Example: pouw chain account 0x7099…79C8")]
    Account {
        /// Its address
        address: Address,
    },
}

/// A lane by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LaneArg {
    /// Lane 0
    Hash,
    /// Lane 1
    Matmul,
    /// Lane 2
    Credit,
}

impl LaneArg {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Hash => 0,
            Self::Matmul => 1,
            Self::Credit => 2,
        }
    }
}

/// Reads a whole rental id.
///
/// # Errors
/// A text that says what an id looks like.
pub fn rental_id(text: &str) -> Result<RentalId, String> {
    text.parse().map_err(|_| format!("`{text}` is no rental id: 0x and 64 hex digits"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path}{} ", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let shown = path.trim_end();
            assert!(help.starts_with("Example") && help.contains(shown), "{shown}: {help}");
            command.get_subcommands().for_each(|one| check(one, &path));
        }
        check(&Cli::command(), "");
    }
}
