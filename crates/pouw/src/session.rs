//! What a command has at hand: output, places, profile, account.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner, coins_bip39::English};
use anyhow::Context;
use pouw_types::Network;
use pouw_vault::{Keystore, Password};

use crate::cli::{Common, PasswordArgs};
use crate::client::rpc::Rpc;
use crate::config::{AccountSource, Config, Places, Profile};
use crate::output::Output;

/// The mnemonic whose accounts a devnet funds; everybody knows it.
pub const DEVNET_MNEMONIC: &str = "test test test test test test test test test test test junk";

/// What a command has at hand.
#[derive(Debug)]
pub struct Session {
    /// Where to tell things.
    pub output: Output,
    /// Where files are.
    pub places: Places,
    common: Common,
}

impl Session {
    /// From the options of every command.
    ///
    /// # Errors
    /// Where there is no place for files.
    pub fn new(common: Common) -> anyhow::Result<Self> {
        let output = Output::new(common.json, common.quiet);
        Ok(Self { output, places: Places::from_env()?, common })
    }

    /// The profile that this command uses.
    ///
    /// # Errors
    /// [`crate::config::ConfigError`].
    pub fn profile(&self) -> anyhow::Result<Profile> {
        let config = Config::read(&self.places.config)?;
        let mut profile = config.profile(self.common.profile.as_deref())?;
        if let Some(rpc) = &self.common.rpc {
            profile.rpc.clone_from(rpc);
        }
        Ok(profile)
    }

    /// The node that this command talks to.
    ///
    /// # Errors
    /// As [`Session::profile`].
    pub fn rpc(&self) -> anyhow::Result<Rpc> {
        match &self.common.rpc {
            Some(url) => Ok(Rpc::new(url)),
            None => Ok(Rpc::new(&self.profile()?.rpc)),
        }
    }

    /// The key of the profile's account, unlocked.
    ///
    /// # Errors
    /// Where it can't be read or unlocked.
    pub fn unlock(&self, password: &PasswordArgs) -> anyhow::Result<PrivateKeySigner> {
        match self.profile()?.account {
            AccountSource::Devnet(index) => devnet_key(index),
            AccountSource::Keystore(path) => {
                let keystore = Keystore::read(&path)?;
                let password = self.password(password, "Password: ")?;
                Ok(keystore.unlock(&password)?)
            }
        }
    }

    /// A password from where the options say, else from a prompt.
    ///
    /// # Errors
    /// Where there is neither a file nor a terminal.
    pub fn password(&self, args: &PasswordArgs, prompt: &str) -> anyhow::Result<Password> {
        // Commands without the option hear the variable all the same.
        let named = std::env::var_os("POUW_PASSWORD_FILE").filter(|name| !name.is_empty());
        if let Some(path) = args.password_file.clone().or(named.map(PathBuf::from)) {
            return Ok(Password::from_file(&path)?);
        }
        if !std::io::stdin().is_terminal() {
            anyhow::bail!(
                "a password is needed and there is no terminal to ask on: use --password-file \
                 or name a file in POUW_PASSWORD_FILE"
            );
        }
        let text = rpassword::prompt_password(prompt).context("cannot read the password")?;
        Ok(Password::new(text))
    }

    /// Where keystores are kept.
    #[must_use]
    pub fn wallet_folder(&self) -> PathBuf {
        self.places.data.join("wallet")
    }

    /// A data folder: the one asked for, or `name` in the usual place.
    #[must_use]
    pub fn data_folder(&self, asked: Option<&Path>, name: &str) -> PathBuf {
        asked.map_or_else(|| self.places.data.join(name), Path::to_owned)
    }
}

/// The key of one of the accounts that a devnet funds.
///
/// # Errors
/// For an index that isn't one of theirs.
pub fn devnet_key(index: u32) -> anyhow::Result<PrivateKeySigner> {
    let count = Network::devnet().genesis.len();
    if usize::try_from(index).map_or(true, |index| index >= count) {
        anyhow::bail!("a devnet funds accounts 0 to {}, not {index}", count.saturating_sub(1));
    }
    let builder = MnemonicBuilder::<English>::default().phrase(DEVNET_MNEMONIC);
    Ok(builder.index(index)?.build()?)
}
