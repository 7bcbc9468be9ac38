//! Brings images here, by digest only.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder};
use futures::StreamExt;
use pouw_spec::ImageSpec;

use super::super::{EngineError, ImageInfo, ImageRef, PullProgress, PullStatus};
use super::{DockerEngine, shortened};

/// How long the engine may say nothing while it pulls: unpacking a large layer is silent.
const SILENCE: Duration = Duration::from_secs(300);
/// Most layers that are told apart; an image has at most 127.
const MAX_LAYERS: usize = 512;

impl DockerEngine {
    pub(super) async fn pull_image(
        &self,
        image: &ImageRef,
        progress: &dyn PullProgress,
    ) -> Result<ImageInfo, EngineError> {
        if let Some(found) = self.local_image(image).await? {
            let size = found.size_bytes;
            progress.update(PullStatus {
                layers_done: 1,
                layers_total: 1,
                done_bytes: size,
                total_bytes: size,
            });
            return Ok(found);
        }
        let unavailable =
            |reason: String| EngineError::ImageUnavailable { image: image.to_string(), reason };
        let Some(repository) = image.repository() else {
            return Err(unavailable("it is not on this machine, and names no registry".to_owned()));
        };
        let client = self.client().await?;
        let options = CreateImageOptionsBuilder::default()
            .from_image(repository)
            .tag(&image.digest())
            .build();
        let mut events = Box::pin(client.create_image(Some(options), None, None));
        let mut layers = Layers::default();
        loop {
            let event = match tokio::time::timeout(SILENCE, events.next()).await {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) => {
                    let after_ms = 300_000;
                    return Err(EngineError::Timeout { operation: "pull the image", after_ms });
                }
            };
            let failed = match event {
                Ok(event) => {
                    let failed = event.error_detail.as_ref().and_then(|e| e.message.clone());
                    if layers.hear(&event) {
                        progress.update(layers.status());
                    }
                    failed.map(|message| EngineError::Refused {
                        operation: "pull the image",
                        status: 500,
                        message,
                    })
                }
                Err(error) => Some(self.failure("pull the image", "image", error)),
            };
            match failed {
                None => {}
                Some(EngineError::NotFound { .. }) => {
                    return Err(unavailable("the registry does not have it".to_owned()));
                }
                Some(EngineError::Refused { message, .. }) if is_final(&message) => {
                    return Err(unavailable(shortened(&message)));
                }
                Some(EngineError::Refused { operation, message, .. }) => {
                    return Err(EngineError::Refused { operation, status: 500, message });
                }
                Some(error) => return Err(error),
            }
        }
        self.local_image(image)
            .await?
            .ok_or_else(|| unavailable("what was pulled does not have this digest".to_owned()))
    }

    pub(super) async fn images_with_bench(&self) -> Result<Vec<ImageRef>, EngineError> {
        let client = self.client().await?;
        let filters = HashMap::from([("label", vec![ImageSpec::BENCH_LABEL])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let found = self.call("list images", "engine", client.list_images(Some(options))).await?;
        // One name an image, and none that no task could give.
        let name = |image: &bollard::models::ImageSummary| {
            let mut names = image.repo_digests.iter().chain([&image.id]);
            names.find_map(|name| name.parse().ok())
        };
        let mut images: Vec<ImageRef> = found.iter().filter_map(name).collect();
        images.sort();
        images.dedup();
        Ok(images)
    }

    /// The image if it is here, under this very digest.
    async fn local_image(&self, image: &ImageRef) -> Result<Option<ImageInfo>, EngineError> {
        let client = self.client().await?;
        let name = image.to_string();
        match self.call("look at the image", &name, client.inspect_image(&name)).await {
            Ok(found) if is_same(image, &found) => Ok(Some(described(image, found))),
            Ok(_) | Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether trying again would end the same.
fn is_final(message: &str) -> bool {
    [
        "manifest unknown",
        "not found",
        "denied",
        "unauthorized",
        "no matching manifest",
        "unsupported",
        "invalid reference",
        "verification failed",
    ]
    .iter()
    .any(|part| message.contains(part))
}

fn is_same(image: &ImageRef, found: &ImageInspect) -> bool {
    let digest = image.digest();
    if image.repository().is_none() {
        return found.id.as_deref() == Some(digest.as_str());
    }
    let suffix = format!("@{digest}");
    found.repo_digests.iter().flatten().any(|known| known.ends_with(&suffix))
}

fn described(image: &ImageRef, found: ImageInspect) -> ImageInfo {
    let config = found.config.unwrap_or_default();
    ImageInfo {
        reference: image.clone(),
        id: found.id.unwrap_or_default(),
        size_bytes: u64::try_from(found.size.unwrap_or(0)).unwrap_or(0),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        user: config.user.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        workdir: config.working_dir.unwrap_or_default(),
        arch: found.architecture.unwrap_or_default(),
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Layer {
    done_bytes: u64,
    total_bytes: u64,
    complete: bool,
}

/// How far each layer is, as the engine tells it.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, Layer>);

impl Layers {
    /// Takes one event in; whether anything changed.
    fn hear(&mut self, event: &CreateImageInfo) -> bool {
        let (Some(id), Some(status)) = (&event.id, &event.status) else { return false };
        let known = ["Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum"];
        let done = ["Download complete", "Extracting", "Pull complete", "Already exists"];
        let complete = done.contains(&status.as_str());
        if !complete && !known.contains(&status.as_str()) {
            return false;
        }
        if !self.0.contains_key(id) && self.0.len() >= MAX_LAYERS {
            return false;
        }
        let layer = self.0.entry(id.clone()).or_default();
        let before = (layer.done_bytes, layer.total_bytes, layer.complete);
        let progress = event.progress_detail.as_ref();
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        if status == "Downloading" {
            let total = number(progress.and_then(|detail| detail.total)).unwrap_or(0);
            let current = number(progress.and_then(|detail| detail.current)).unwrap_or(0);
            layer.total_bytes = layer.total_bytes.max(total);
            layer.done_bytes = layer.done_bytes.max(current);
        }
        if complete {
            layer.complete = true;
            layer.done_bytes = layer.total_bytes;
        }
        before != (layer.done_bytes, layer.total_bytes, layer.complete)
    }

    fn status(&self) -> PullStatus {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        PullStatus {
            layers_done: count(self.0.values().filter(|layer| layer.complete).count()),
            layers_total: count(self.0.len()),
            done_bytes: self.0.values().map(|layer| layer.done_bytes).fold(0, u64::saturating_add),
            total_bytes: self
                .0
                .values()
                .map(|layer| layer.total_bytes)
                .fold(0, u64::saturating_add),
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn event(id: &str, status: &str, progress: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: progress.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn percent_follows_the_bytes_of_all_layers() {
        let mut layers = Layers::default();
        let steps = [
            (event("sha256:9", "Pulling from pouw/base", None), 0),
            (event("a", "Pulling fs layer", None), 0),
            (event("b", "Already exists", None), 50),
            (event("a", "Downloading", Some((25, 100))), 25),
            (event("a", "Downloading", Some((20, 100))), 25),
            (event("a", "Extracting", Some((1, 300))), 100),
            (event("a", "Downloading", Some((-5, -7))), 100),
        ];
        for (event, percent) in steps {
            layers.hear(&event);
            assert_eq!(layers.status().percent(), percent, "{event:?}");
        }
        assert_eq!((layers.status().layers_done, layers.status().layers_total), (2, 2));
    }

    #[test]
    fn a_registry_that_is_away_may_be_asked_again_and_a_missing_image_not() {
        assert!(is_final("manifest for x@sha256:1 not found: manifest unknown"));
        assert!(is_final("pull access denied for x"));
        assert!(!is_final("dial tcp 127.0.0.1:5000: connect: connection refused"));
    }
}
