//! What lies below a prefix of a bucket.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::client::{network, refused};
use super::{TransferError, Transfers};
use crate::presign::presign_list;
use crate::slots::is_relative;
use crate::{PresignError, PresignedUrl, S3Credentials, S3Location};

/// The largest page read, in bytes: 1,000 keys of 1,024 bytes, each escaped to six, and their tags.
const MAX_PAGE_BYTES: usize = 8 << 20;
/// How long the address of a page is good, seconds.
const LIFETIME_S: u64 = 900;

/// How much a list may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimits {
    /// Most objects.
    pub objects: usize,
    /// Most bytes of all objects together.
    pub size_bytes: u64,
}

/// One object below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name below the prefix, a relative path.
    pub name: String,
    /// Its whole key.
    pub key: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// Why the objects below a prefix cannot be named.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A page's address cannot be signed.
    #[error("cannot sign the request for the list")]
    Presign(#[source] PresignError),
    /// The store did not answer, or refused.
    #[error("cannot list the objects")]
    Transfer(#[source] TransferError),
    /// The answer is no list, or not the one that was asked for.
    #[error("the store's list cannot be read: {0}")]
    Malformed(String),
    /// Nothing is there.
    #[error("no object is there")]
    Empty,
    /// More objects than allowed.
    #[error("more than {0} objects are there")]
    TooMany(usize),
    /// More bytes than allowed.
    #[error("its objects have {found} bytes or more, max_size is {max}")]
    TooLarge {
        /// Bytes found so far.
        found: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// A key that is no path of a file.
    #[error("object {0:?} cannot be a file: a name has no segment that is empty, '.' or '..'")]
    Name(String),
    /// An object whose key is the folder of another's.
    #[error("object {0:?} is a file and the folder of another object: rename one of them")]
    Inside(String),
}

#[derive(Deserialize)]
#[serde(rename = "ListBucketResult", rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    contents: Vec<Content>,
    #[serde(default)]
    is_truncated: bool,
    next_continuation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    size: u64,
}

impl Transfers {
    /// Names every object of the location's bucket whose key begins with `prefix`, which is empty
    /// or ends with `/`; in the order of the names. Empty objects whose key ends with `/`, as
    /// consoles make them for folders, are left out. `now_s` is the time of signing.
    ///
    /// # Errors
    /// [`ListError`], also where nothing is there.
    pub async fn list(
        &self,
        location: &S3Location,
        credentials: &S3Credentials,
        prefix: &str,
        limits: ListLimits,
        now_s: u64,
    ) -> Result<Vec<Listed>, ListError> {
        let (mut found, mut seen, mut token) = (Found::default(), 0usize, None::<String>);
        loop {
            let sign = presign_list;
            let url = sign(location, credentials, prefix, token.as_deref(), now_s, LIFETIME_S)
                .map_err(ListError::Presign)?;
            let page = self.page(&url).await?;
            // Folders count too: a store that never ends its list is not followed for ever.
            seen = seen.saturating_add(page.contents.len());
            if seen > limits.objects {
                return Err(ListError::TooMany(limits.objects));
            }
            let any = !page.contents.is_empty();
            for content in page.contents {
                found.add(prefix, content, limits.size_bytes)?;
            }
            token = match (page.is_truncated, page.next_continuation_token) {
                (false, _) => return found.finish(),
                (true, Some(next)) if any => Some(next),
                (true, _) => {
                    return Err(ListError::Malformed("a page without an end or a next".to_owned()));
                }
            };
        }
    }

    async fn page(&self, url: &PresignedUrl) -> Result<Page, ListError> {
        let body = self.patiently(|| self.page_once(url)).await.map_err(ListError::Transfer)?;
        let text = String::from_utf8(body).map_err(|e| ListError::Malformed(e.to_string()))?;
        quick_xml::de::from_str(&text).map_err(|e| ListError::Malformed(e.to_string()))
    }

    async fn page_once(&self, url: &PresignedUrl) -> Result<Vec<u8>, TransferError> {
        let sent = self.client(url).get(url.expose()).send().await;
        let mut answer = sent.map_err(|e| network(url, e))?;
        if !answer.status().is_success() {
            return Err(refused(url, answer).await);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| network(url, e))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_PAGE_BYTES {
                let (found, max) = (body.len() as u64, MAX_PAGE_BYTES as u64);
                return Err(TransferError::TooLarge { url: url.clone(), found, max });
            }
        }
        Ok(body)
    }
}

#[derive(Default)]
struct Found {
    objects: BTreeMap<String, (String, u64)>,
    size_bytes: u64,
}

impl Found {
    fn add(&mut self, prefix: &str, content: Content, max: u64) -> Result<(), ListError> {
        let Content { key, size } = content;
        let Some(name) = key.strip_prefix(prefix) else {
            return Err(ListError::Malformed("it names objects of another prefix".to_owned()));
        };
        if size == 0 && (name.is_empty() || name.ends_with('/')) {
            return Ok(());
        }
        if !is_relative(name) {
            return Err(ListError::Name(shortened(&key)));
        }
        self.size_bytes = self.size_bytes.saturating_add(size);
        if self.size_bytes > max {
            return Err(ListError::TooLarge { found: self.size_bytes, max });
        }
        self.objects.insert(name.to_owned(), (key, size));
        Ok(())
    }

    fn finish(self) -> Result<Vec<Listed>, ListError> {
        for name in self.objects.keys() {
            let mut folders = name.match_indices('/').filter_map(|(at, _)| name.get(..at));
            if let Some(file) = folders.find(|folder| self.objects.contains_key(*folder)) {
                return Err(ListError::Inside(shortened(file)));
            }
        }
        if self.objects.is_empty() {
            return Err(ListError::Empty);
        }
        let listed = |(name, (key, size_bytes))| Listed { name, key, size_bytes };
        Ok(self.objects.into_iter().map(listed).collect())
    }
}

fn shortened(key: &str) -> String {
    key.chars().take(80).collect()
}
