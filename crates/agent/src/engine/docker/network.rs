//! A rental's own bridge.

use std::collections::HashMap;
use std::sync::PoisonError;

use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;

use super::super::workload::LABEL_RENTAL;
use super::super::{EngineError, NetworkName, NetworkSeen, Owner, firewall, tool};
use super::{DockerEngine, gone_is_done};

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const BRIDGE_ICC: &str = "com.docker.network.bridge.enable_icc";

impl DockerEngine {
    pub(super) async fn make_network(&self, owner: &Owner) -> Result<NetworkName, EngineError> {
        let name = owner.bridge_name();
        let unsupported = |error: EngineError| EngineError::Unsupported {
            what: "the internet for tasks",
            reason: format!("its firewall cannot be loaded: {error}"),
        };
        // Loaded again each time: another program may have flushed all tables since the start.
        self.put_guard_up(owner).await.map_err(unsupported)?;
        if self.networks().await?.iter().any(|found| is_of(found, owner) && is_right(found, &name))
        {
            return Ok(NetworkName::new(name));
        }
        self.drop_bridges(owner).await?;
        let client = self.client().await?;
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            internal: Some(false),
            attachable: Some(false),
            enable_ipv6: Some(false),
            options: Some(HashMap::from([
                (BRIDGE_NAME.to_owned(), name.clone()),
                (BRIDGE_ICC.to_owned(), "false".to_owned()),
            ])),
            labels: Some(owner.labels().into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        self.call("create the network", &name, client.create_network(request)).await?;
        let made = self.networks().await?;
        if made.iter().any(|found| is_of(found, owner) && is_right(found, &name)) {
            return Ok(NetworkName::new(name));
        }
        self.drop_network(owner).await?;
        Err(EngineError::Unsupported {
            what: "the internet for tasks",
            reason: "the engine made a network that is not the bridge that was asked for"
                .to_owned(),
        })
    }

    pub(super) async fn drop_network(&self, owner: &Owner) -> Result<(), EngineError> {
        self.drop_bridges(owner).await?;
        if tool::find("nft").is_some() { firewall::traffic::remove(owner).await } else { Ok(()) }
    }

    async fn drop_bridges(&self, owner: &Owner) -> Result<(), EngineError> {
        for found in self.networks().await?.iter().filter(|found| is_of(found, owner)) {
            self.drop_network_by_id(found.id.as_deref().unwrap_or_default()).await?;
        }
        Ok(())
    }

    /// Loads both tables, and notes how the kernel shows their rules.
    pub(super) async fn load_firewall(&self) -> Result<(), EngineError> {
        firewall::load().await?;
        firewall::traffic::load().await?;
        let rules = firewall::look().await?.map(|seen| seen.rules);
        *self.firewall.lock().unwrap_or_else(PoisonError::into_inner) = rules;
        Ok(())
    }

    pub(super) async fn put_guard_up(&self, owner: &Owner) -> Result<(), EngineError> {
        self.load_firewall().await?;
        firewall::traffic::add(owner).await
    }

    pub(super) async fn watch_bridge(&self, owner: &Owner) -> Result<NetworkSeen, EngineError> {
        let loaded = self.firewall.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seen = firewall::look().await?;
        let bytes = seen.as_ref().and_then(|seen| seen.traffic.of(owner));
        let as_loaded = loaded.is_some() && seen.map(|seen| seen.rules) == loaded;
        Ok(NetworkSeen { guarded: as_loaded && bytes.is_some(), bytes })
    }

    pub(super) async fn drop_network_by_id(&self, id: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        gone_is_done(self.call("remove the network", id, client.remove_network(id)).await)
    }

    /// The networks that carry this machine's label.
    pub(super) async fn networks(&self) -> Result<Vec<Network>, EngineError> {
        let client = self.client().await?;
        let options = ListNetworksOptionsBuilder::default().filters(&self.id_filter()).build();
        self.call("list networks", "engine", client.list_networks(Some(options))).await
    }
}

fn is_of(found: &Network, owner: &Owner) -> bool {
    let labels = found.labels.as_ref();
    labels.and_then(|labels| labels.get(LABEL_RENTAL)) == Some(&owner.rental_label())
}

/// Whether the firewall knows the network's interface and nothing else leads out of it.
fn is_right(found: &Network, name: &str) -> bool {
    let option = |key: &str| found.options.as_ref().and_then(|options| options.get(key));
    found.name.as_deref() == Some(name)
        && found.driver.as_deref() == Some("bridge")
        && option(BRIDGE_NAME).is_some_and(|bridge| bridge == name)
        && option(BRIDGE_ICC).is_some_and(|icc| icc == "false")
        && found.enable_ipv6 != Some(true)
}
