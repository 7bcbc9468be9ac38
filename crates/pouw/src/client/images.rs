//! From an image's name to its digest: the local index, else the registry that the name tells.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use pouw_spec::ImageRef;
use serde::Deserialize;

use super::rpc::http_client;

/// Where image names are resolved.
#[derive(Clone, Debug)]
pub struct Images {
    index: PathBuf,
}

/// An image's name doesn't lead to a digest.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// Neither in the index nor at a registry.
    #[error("no image `{name}`{near}; {} knows: {known}", .index.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// The closest name there is.
        near: String,
        /// All names there are.
        known: String,
        /// Where was looked.
        index: PathBuf,
    },
    /// There is no index.
    #[error("no image `{name}`: there is no index at {}; `make images` builds it, or name an image by registry or digest", .index.display())]
    NoIndex {
        /// What was asked for.
        name: String,
        /// Where was looked.
        index: PathBuf,
    },
    /// The index can't be read.
    #[error("{}: {detail}", .index.display())]
    Index {
        /// Where.
        index: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The registry doesn't know it or doesn't answer.
    #[error("registry {registry} does not tell the digest of {name}: {detail}")]
    Registry {
        /// Which registry.
        registry: String,
        /// Which image.
        name: String,
        /// What it said.
        detail: String,
    },
}

#[derive(Deserialize)]
struct Index {
    images: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    reference: String,
}

const REGISTRY_TIMEOUT: Duration = Duration::from_secs(15);
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

impl Images {
    /// With the index of a profile, else the one that building the image library writes.
    #[must_use]
    pub fn new(index: Option<PathBuf>) -> Self {
        let from_env = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let state = || {
            from_env("POUW_STATE")
                .or_else(|| from_env("XDG_STATE_HOME").map(|folder| folder.join("pouw")))
                .or_else(|| from_env("HOME").map(|home| home.join(".local/state/pouw")))
                .unwrap_or_default()
        };
        Self { index: index.unwrap_or_else(|| state().join("images.json")) }
    }

    /// The image with its digest.
    ///
    /// # Errors
    /// [`ImagesError`].
    pub async fn resolve(&self, image: &ImageRef) -> Result<ImageRef, ImagesError> {
        if image.digest().is_some() {
            return Ok(image.clone());
        }
        match image.name().split_once('/') {
            Some((registry, repository)) if registry.contains(['.', ':']) => {
                ask_registry(registry, repository, image).await
            }
            Some(_) | None => self.look_up(image),
        }
    }

    /// The names that the index resolves.
    ///
    /// # Errors
    /// [`ImagesError`] where there is no index, or an unreadable one.
    pub fn known(&self) -> Result<Vec<String>, ImagesError> {
        Ok(self.read("any")?.images.into_keys().collect())
    }

    fn wrong(&self, detail: String) -> ImagesError {
        ImagesError::Index { index: self.index.clone(), detail }
    }

    fn read(&self, name: &str) -> Result<Index, ImagesError> {
        match std::fs::read(&self.index) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| self.wrong(e.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (name, index) = (name.to_owned(), self.index.clone());
                Err(ImagesError::NoIndex { name, index })
            }
            Err(error) => Err(self.wrong(error.to_string())),
        }
    }

    fn look_up(&self, image: &ImageRef) -> Result<ImageRef, ImagesError> {
        let name = image.name().to_owned();
        let index = self.index.clone();
        let known = self.read(&name)?;
        if let Some(entry) = known.images.get(&name) {
            return entry.reference.parse().map_err(|_| {
                self.wrong(format!("`{}` is no reference of an image", entry.reference))
            });
        }
        let distance = |other: &&String| strsim::damerau_levenshtein(other, &name);
        let near = known.images.keys().filter(|other| distance(other) <= 2).min_by_key(distance);
        let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
        let known = known.images.keys().cloned().collect::<Vec<_>>().join(", ");
        Err(ImagesError::Unknown { name, near, known, index })
    }
}

async fn ask_registry(
    registry: &str,
    repository: &str,
    image: &ImageRef,
) -> Result<ImageRef, ImagesError> {
    let failed = |detail: String| ImagesError::Registry {
        registry: registry.to_owned(),
        name: repository.to_owned(),
        detail,
    };
    // Registries speak TLS, except on this machine.
    let local = registry.starts_with("127.") || registry.starts_with("localhost");
    let scheme = if local { "http" } else { "https" };
    let tag = image.tag().unwrap_or("latest");
    let url = format!("{scheme}://{registry}/v2/{repository}/manifests/{tag}");
    let request = http_client(&url, REGISTRY_TIMEOUT).head(&url).header("accept", MANIFEST_TYPES);
    let answer = request.send().await.map_err(|error| failed(error.to_string()))?;
    if !answer.status().is_success() {
        return Err(failed(format!("status {} for tag {tag}", answer.status())));
    }
    let digest = answer.headers().get("docker-content-digest").and_then(|v| v.to_str().ok());
    let digest = digest.ok_or_else(|| failed("no digest in its answer".to_owned()))?;
    format!("{}@{digest}", image.name())
        .parse()
        .map_err(|_| failed(format!("`{digest}` is no sha256 digest")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_resolve_by_the_index_and_a_mistyped_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.json");
        let images = Images::new(Some(path.clone()));
        let ask = |name: &str| {
            let image: ImageRef = name.parse().unwrap();
            let images = images.clone();
            async move { images.resolve(&image).await.map(|found| found.to_string()) }
        };
        let error = ask("hello").await.unwrap_err().to_string();
        assert!(error.contains("make images"), "{error}");
        let reference = format!("127.0.0.1:5000/pouw/hello@sha256:{}", "ab".repeat(32));
        let index = serde_json::json!({ "images": { "hello": { "reference": reference } } });
        std::fs::write(&path, index.to_string()).unwrap();
        assert_eq!(ask("hello").await.unwrap(), reference);
        let error = ask("helo").await.unwrap_err().to_string();
        assert!(error.contains("did you mean `hello`"), "{error}");
        let digest = format!("other@sha256:{}", "cd".repeat(32));
        assert_eq!(ask(&digest).await.unwrap(), digest);
        std::fs::write(&path, "{").unwrap();
        assert!(ask("hello").await.unwrap_err().to_string().contains("images.json"));
    }
}
