//! Setting a host up and starting its agent: key, settings, engine, doors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use anyhow::Context;
use pouw_agent::engine::{DockerConfig, DockerEngine, Engine, EngineInfo, ImageRef};
use pouw_agent::{
    Agent, HostConfig, ImageScore, ImageTest, ImageTestError, Outside, SelfTest, Tuning,
};
use pouw_chain::LaneKey;
use pouw_consensus::lane_key_of;
use pouw_types::{Amount, Floor, Isolation, MachineId, Network, Resources};

use super::{Host, NodeContract, NodeLaneOne, NodeSigner};
use crate::client::rpc::Rpc;
use crate::client::sender::Sender;

/// Left to the person who uses the machine.
const SPARE_MEMORY_BYTES: u64 = 512 << 20;
/// How long a machine is offered, seconds: a month.
const AVAILABLE_S: u64 = 30 * 86_400;

/// A host's data folder with its key and engine.
pub struct Setup {
    /// The data folder, absolute.
    pub data: PathBuf,
    /// The machine's key.
    pub key: PrivateKeySigner,
    /// The secret half of its lane key.
    lane_secret: [u8; 32],
    engine: Arc<DockerEngine>,
}

impl core::fmt::Debug for Setup {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Setup").field("data", &self.data).finish_non_exhaustive()
    }
}

impl Setup {
    /// File of the lane key, in the data folder.
    pub const LANE_KEY: &str = "lane.key";

    /// Takes up a data folder, or makes it with a new machine key.
    ///
    /// # Errors
    /// What the file system says, or a key file that isn't one.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
        let data = std::path::absolute(data)?;
        let key = pouw_vault::load_or_create(&data.join("machine.key"))?;
        // 32 secret bytes, whichever curve they are for.
        let lane_secret = pouw_vault::load_or_create(&data.join(Self::LANE_KEY))?.to_bytes().0;
        let machine = MachineId::new(key.address());
        let engine = Arc::new(DockerEngine::new(DockerConfig::new(machine, &data)));
        Ok(Self { data, key, lane_secret, engine })
    }

    /// The machine and the key that draws its slots of lane 2.
    #[must_use]
    pub fn lane_key(&self) -> LaneKey {
        LaneKey { machine: self.key.address(), secret: self.lane_secret }
    }

    /// Which machine this is.
    #[must_use]
    pub const fn machine(&self) -> MachineId {
        MachineId::new(self.key.address())
    }

    /// What the engine says of the machine.
    ///
    /// # Errors
    /// Where no engine answers.
    pub async fn describe(&self) -> anyhow::Result<EngineInfo> {
        Ok(self.engine.describe().await?)
    }

    /// Settings that offer this whole machine, less what its owner needs.
    ///
    /// # Errors
    /// Where the disk can't be asked.
    pub fn proposal(
        &self,
        info: &EngineInfo,
        listen: SocketAddr,
        payout: Address,
    ) -> anyhow::Result<HostConfig> {
        let stat = rustix::fs::statvfs(&self.data)?;
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        Ok(HostConfig {
            listen,
            endpoint: String::new(),
            payout,
            miner: payout,
            lane_key: B256::ZERO,
            units: 1,
            unit: Resources {
                cpu_millis: info.cores.saturating_mul(1_000),
                memory_bytes: info.memory_bytes.saturating_sub(SPARE_MEMORY_BYTES) / 2,
                disk_bytes: free_bytes / 4,
                gpus: 0,
            },
            floor: Floor {
                // 3.6 FLUX an hour, to be set by whoever knows the power's price.
                active_second: Amount::from_atto(1_000_000_000_000_000),
                storage_gib_second: Amount::from_atto(1_000_000_000_000),
                traffic_byte: Amount::from_atto(10_000_000),
            },
            bond: Amount::from_flux(10),
            isolation: info.isolation.clone(),
            egress: info.egress,
            available_s: AVAILABLE_S,
            scratch: None,
            tuning: Tuning::default(),
        })
    }

    /// Measures the benchmarks of the images that are on this machine, into `test`.
    ///
    /// # Errors
    /// What the engine says. An image that can't run its benchmark here is told of and passed over.
    pub async fn test_images(
        &self,
        config: &HostConfig,
        test: &mut SelfTest,
        note: impl Fn(&str),
    ) -> anyhow::Result<()> {
        let engine = self.engine.as_ref();
        let info = engine.prepare().await?;
        let offered = config.isolation.iter().find(|one| info.isolation.contains(one));
        let isolation = *offered.context("the engine has none of the isolations of host.toml")?;
        let images = engine.benchmarked_images().await?;
        if images.is_empty() {
            note(
                "no image on this machine brings a benchmark; one that a task brings is measured later",
            );
        }
        for image in images {
            note(&format!("measuring {image}, seven times"));
            match self.test_image(&image, &info, config, isolation).await {
                Ok(score) => {
                    test.images.insert(image.digest(), score);
                }
                Err(ImageTestError::Engine(error)) => return Err(error.into()),
                Err(error) => note(&error.to_string()),
            }
        }
        Ok(())
    }

    async fn test_image(
        &self,
        image: &ImageRef,
        info: &EngineInfo,
        config: &HostConfig,
        isolation: Isolation,
    ) -> Result<ImageScore, ImageTestError> {
        let engine = self.engine.as_ref();
        let mut test = ImageTest::new(engine, image).await?;
        loop {
            let machine = self.machine();
            if let Some(score) = test.step(engine, info, machine, &config.unit, isolation).await? {
                return Ok(score);
            }
        }
    }

    /// Starts the agent: it follows the node at `node`, is on its board, and sends as `operator`.
    ///
    /// # Errors
    /// What the agent says.
    pub async fn start(
        &self,
        mut config: HostConfig,
        network: &'static Network,
        node: &str,
        operator: PrivateKeySigner,
    ) -> anyhow::Result<Host> {
        config.lane_key = lane_key_of(&self.lane_secret).into();
        let operator = Sender::new(operator, network.chain_id);
        let contract = Arc::new(NodeContract::new(Rpc::new(node), operator));
        let engine = Arc::clone(&self.engine) as Arc<dyn Engine>;
        let lane_one = Arc::new(NodeLaneOne::new(node));
        let outside = Outside::new(engine, contract, lane_one, Arc::new(NodeSigner::new(node)))?;
        let agent = Agent::start(config, network, self.key.clone(), outside, &self.data).await?;
        Ok(Host::announce(agent, node))
    }
}
