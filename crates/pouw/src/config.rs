//! Profiles: which network, store and account a command uses.
//!
//! A profile is a small TOML file or a section of the configuration file. A devnet writes the
//! profile of its own doors into its data folder and names it in the configuration, so that
//! `pouw run` finds it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Doors and account of one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// A node's HTTP and JSON-RPC address.
    pub rpc: String,
    /// Where results are stored; none: `run` needs `--s3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Profile>,
    /// Whose money is spent.
    pub account: AccountSource,
    /// Where image names are resolved: a file that maps names to digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<PathBuf>,
}

/// An S3 service and how to get in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Profile {
    /// Such as `http://127.0.0.1:9000`.
    pub endpoint: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// Where results go.
    pub bucket: String,
    /// Access keys as AWS tools keep them: the section `[default]` of a credentials file.
    pub credentials_file: PathBuf,
}

/// Where the key of an account is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum AccountSource {
    /// One of the ten accounts that a devnet funds: everybody knows its key.
    Devnet(u32),
    /// A password-protected keystore.
    Keystore(PathBuf),
}

/// The configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which profile is used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Profiles by name.
    #[serde(default)]
    pub profiles: BTreeMap<String, Named>,
}

/// A profile in the configuration: written out, or a file elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Named {
    /// A file that holds the profile.
    File {
        /// Where.
        file: PathBuf,
    },
    /// The profile itself.
    Inline(Profile),
}

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file can't be read or written.
    #[error("cannot use {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// A file isn't a configuration.
    #[error("{}: {text}", .0.display(), text = .1)]
    Syntax(PathBuf, String),
    /// No such profile.
    #[error("no profile `{name}`{}; a running devnet makes one: `pouw devnet start`", nearest(.near.as_deref()))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The closest name there is.
        near: Option<String>,
    },
    /// There is neither a home folder nor a path in the environment.
    #[error("no folder for pouw's files: set HOME, or POUW_CONFIG and POUW_DATA")]
    NoHome,
}

fn nearest(name: Option<&str>) -> String {
    name.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

/// Where pouw keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The configuration file: `POUW_CONFIG`, else `$XDG_CONFIG_HOME/pouw/config.toml`.
    pub config: PathBuf,
    /// Wallets, records of runs, devnets: `POUW_DATA`, else `$XDG_DATA_HOME/pouw`.
    pub data: PathBuf,
}

impl Places {
    /// From the environment.
    ///
    /// # Errors
    /// [`ConfigError::NoHome`].
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::resolve(|name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from))
    }

    fn resolve(env: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, ConfigError> {
        let under = |own: &str, xdg: &str, home: &str, rest: &str| {
            env(own)
                .or_else(|| env(xdg).map(|folder| folder.join(rest)))
                .or_else(|| env("HOME").map(|folder| folder.join(home).join(rest)))
                .ok_or(ConfigError::NoHome)
        };
        Ok(Self {
            config: under("POUW_CONFIG", "XDG_CONFIG_HOME", ".config", "pouw/config.toml")?,
            data: under("POUW_DATA", "XDG_DATA_HOME", ".local/share", "pouw")?,
        })
    }
}

impl Config {
    /// Reads the configuration; none is an empty one.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => parse(path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(ConfigError::File(path.to_owned(), error)),
        }
    }

    /// Writes it whole or not at all.
    ///
    /// # Errors
    /// [`ConfigError::File`].
    pub fn write(&self, path: &Path) -> Result<(), ConfigError> {
        write_toml(path, self)
    }

    /// The profile of a name or of a file; without either the one the configuration names.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn profile(&self, wanted: Option<&str>) -> Result<Profile, ConfigError> {
        let name = wanted.or(self.profile.as_deref()).unwrap_or("devnet");
        match self.profiles.get(name) {
            Some(Named::Inline(profile)) => Ok(profile.clone()),
            Some(Named::File { file }) => Profile::read(file),
            None if name.contains('/') || name.ends_with(".toml") => Profile::read(Path::new(name)),
            None => {
                let near = |candidate: &&String| strsim::damerau_levenshtein(candidate, name);
                let near = self.profiles.keys().filter(|c| near(c) <= 2).min_by_key(near);
                Err(ConfigError::Unknown { name: name.to_owned(), near: near.cloned() })
            }
        }
    }
}

impl Profile {
    /// Reads a profile's file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::File(path.to_owned(), error))?;
        parse(path, &text)
    }

    /// Writes a profile's file whole or not at all.
    ///
    /// # Errors
    /// [`ConfigError::File`].
    pub fn write(&self, path: &Path) -> Result<(), ConfigError> {
        write_toml(path, self)
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text)
        .map_err(|error| ConfigError::Syntax(path.to_owned(), error.to_string().trim().to_owned()))
}

fn write_toml(path: &Path, value: &impl Serialize) -> Result<(), ConfigError> {
    let text = toml::to_string_pretty(value)
        .map_err(|error| ConfigError::Syntax(path.to_owned(), error.to_string()))?;
    pouw_vault::write_private(path, text.as_bytes())
        .map_err(|error| ConfigError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            rpc: "http://127.0.0.1:8545".to_owned(),
            s3: Some(S3Profile {
                endpoint: "http://127.0.0.1:9000".to_owned(),
                region: "us-east-1".to_owned(),
                bucket: "results".to_owned(),
                credentials_file: PathBuf::from("/x/credentials"),
            }),
            account: AccountSource::Devnet(0),
            images: None,
        }
    }

    #[test]
    fn a_profile_is_found_by_name_by_default_and_by_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profile.toml");
        profile().write(&file).unwrap();
        let mut config = Config { profile: Some("mine".to_owned()), ..Config::default() };
        config.profiles.insert("mine".to_owned(), Named::File { file: file.clone() });
        config.profiles.insert("devnet".to_owned(), Named::Inline(profile()));
        let path = folder.path().join("pouw/config.toml");
        config.write(&path).unwrap();
        let config = Config::read(&path).unwrap();
        for name in [None, Some("mine"), Some("devnet"), file.to_str()] {
            assert_eq!(config.profile(name).unwrap(), profile(), "{name:?}");
        }
        let error = config.profile(Some("devent")).unwrap_err().to_string();
        assert!(error.contains("did you mean `devnet`"), "{error}");
    }

    #[test]
    fn a_missing_configuration_is_empty_and_a_wrong_one_is_told_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(Config::read(&path).unwrap(), Config::default());
        std::fs::write(&path, "profil = \"x\"\n").unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("profil"), "{error}");
    }

    #[test]
    fn places_prefer_our_own_variable_then_xdg_then_home() {
        let check = |set: &[(&str, &str)], config: &str| {
            let env = |name: &str| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
            };
            assert_eq!(Places::resolve(env).unwrap().config, Path::new(config));
        };
        let all = [("POUW_CONFIG", "/a.toml"), ("XDG_CONFIG_HOME", "/xdg"), ("HOME", "/home/x")];
        check(&all, "/a.toml");
        check(&all[1..], "/xdg/pouw/config.toml");
        check(&all[2..], "/home/x/.config/pouw/config.toml");
        assert!(matches!(Places::resolve(|_| None), Err(ConfigError::NoHome)));
    }
}
