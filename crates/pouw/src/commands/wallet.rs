//! `pouw wallet`: accounts and money.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, Bytes};
use alloy_signer_local::PrivateKeySigner;
use anyhow::Context;
use pouw_types::Amount;
use pouw_vault::{Keystore, Password, ScryptCost};
use serde::Serialize;

use crate::cli::{PasswordArgs, WalletCommand};
use crate::client::rpc::Rpc;
use crate::client::sender::{Order, Sender};
use crate::config::AccountSource;
use crate::exit::Refused;
use crate::output::{Accent, table};
use crate::session::{Session, devnet_key};

/// Does what was asked.
///
/// # Errors
/// With what failed and what would mend it.
pub(crate) async fn run(session: &Session, command: WalletCommand) -> anyhow::Result<()> {
    match command {
        WalletCommand::New(password) => {
            let key = PrivateKeySigner::random();
            keep(session, &key, &password, "New account")
        }
        WalletCommand::Import { file, password } => import(session, &file, &password),
        WalletCommand::Address => list(session),
        WalletCommand::Balance { address } => balance(session, address).await,
        WalletCommand::Send { to, amount, yes, password } => {
            send(session, to, amount, yes, &password).await
        }
    }
}

#[derive(Serialize)]
struct Kept {
    address: Address,
    keystore: PathBuf,
}

fn keep(
    session: &Session,
    key: &PrivateKeySigner,
    password: &PasswordArgs,
    what: &str,
) -> anyhow::Result<()> {
    let asked = session.password(password, "New password: ")?;
    if password.password_file.is_none() {
        let again = session.password(password, "Again: ")?;
        anyhow::ensure!(asked.expose() == again.expose(), "the two passwords differ");
    }
    let path = session.wallet_folder().join(format!("{}.json", key.address()));
    anyhow::ensure!(
        !path.exists(),
        "{} is already in the wallet: {}",
        key.address(),
        path.display()
    );
    Keystore::lock(key, &asked, ScryptCost::STANDARD)?.write(&path)?;
    let kept = Kept { address: key.address(), keystore: path };
    session.output.data(&kept, || format!("{}", kept.address));
    session.output.note(format!(
        "{what} in {}. Whoever loses file or password loses its money: back both up.",
        kept.keystore.display()
    ));
    Ok(())
}

fn import(session: &Session, file: &Path, password: &PasswordArgs) -> anyhow::Result<()> {
    let key = match Keystore::read(file) {
        Ok(keystore) => {
            let old = session.password(password, "Password of the keystore: ")?;
            keystore.unlock(&old)?
        }
        Err(pouw_vault::KeystoreError::Json(..)) => hex_key(file)?,
        Err(error) => return Err(error.into()),
    };
    keep(session, &key, password, "Imported")
}

/// A file with nothing but a key: read as a password is, so that it is bounded and wiped.
fn hex_key(file: &Path) -> anyhow::Result<PrivateKeySigner> {
    let text = Password::from_file(file)?;
    let digits = text.expose().trim();
    let bytes: B256 = digits
        .parse()
        .ok()
        .with_context(|| format!("{} is neither a keystore nor 64 hex digits", file.display()))?;
    PrivateKeySigner::from_bytes(&bytes)
        .with_context(|| format!("{} holds no valid key", file.display()))
}

#[derive(Serialize)]
struct Account {
    address: Address,
    source: String,
}

fn accounts(session: &Session) -> anyhow::Result<Vec<Account>> {
    let mut found = Vec::new();
    if let Ok(profile) = session.profile() {
        match profile.account {
            AccountSource::Devnet(index) => found.push(Account {
                address: devnet_key(index)?.address(),
                source: format!("devnet account {index}, everybody knows its key"),
            }),
            AccountSource::Keystore(path) => {
                if let Some(address) = Keystore::read(&path)?.address() {
                    found.push(Account { address, source: path.display().to_string() });
                }
            }
        }
    }
    let folder = session.wallet_folder();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    let mut paths: Vec<PathBuf> = entries;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    for path in paths {
        if let Some(address) = Keystore::read(&path)?.address()
            && !found.iter().any(|account| account.address == address)
        {
            found.push(Account { address, source: path.display().to_string() });
        }
    }
    Ok(found)
}

fn list(session: &Session) -> anyhow::Result<()> {
    let accounts = accounts(session)?;
    session.output.data(&accounts, || {
        let row = |account: &Account| vec![account.address.to_string(), account.source.clone()];
        table(&["ADDRESS", "FROM"], &accounts.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}

#[derive(Serialize)]
struct Balance {
    address: Address,
    balance: Amount,
}

async fn balance(session: &Session, address: Option<Address>) -> anyhow::Result<()> {
    let rpc = session.rpc()?;
    let addresses = match address {
        Some(address) => vec![address],
        None => accounts(session)?.into_iter().map(|account| account.address).collect(),
    };
    let mut balances = Vec::new();
    for address in addresses {
        balances.push(Balance { address, balance: rpc.balance(address).await? });
    }
    session.output.data(&balances, || {
        let row = |one: &Balance| vec![one.address.to_string(), one.balance.rounded(6)];
        table(&["ADDRESS", "FLUX"], &balances.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}

#[derive(Serialize)]
struct Sent {
    transaction: B256,
    block: u64,
    amount: Amount,
    to: Address,
}

async fn send(
    session: &Session,
    to: Address,
    amount: Amount,
    yes: bool,
    password: &PasswordArgs,
) -> anyhow::Result<()> {
    let rpc: Rpc = session.rpc()?;
    let key = session.unlock(password)?;
    let from = key.address();
    let has = rpc.balance(from).await?;
    if has < amount {
        return Err(Refused(format!("{from} has {has} FLUX, {amount} are to be sent")).into());
    }
    if !yes && !session.output.confirm(&format!("Send {amount} FLUX from {from} to {to}?")) {
        return Err(Refused("not sent: confirm, or use -y".to_owned()).into());
    }
    let sender = Sender::new(key, rpc.chain_id().await?);
    let order = Order { to, value: amount, data: Bytes::new() };
    let receipt = sender.execute(&rpc, &order).await?;
    let sent = Sent {
        transaction: receipt.transaction_hash,
        block: receipt.block_number.to(),
        amount,
        to,
    };
    session.output.data(&sent, || {
        let done = session.output.paint(Accent::Green, "sent");
        format!("{done} {amount} FLUX to {to} in block {}\n{}", sent.block, sent.transaction)
    });
    Ok(())
}
