//! The presigned places of one task.
//!
//! At open the client presigns, in its own bucket, a read per input, a write per part, numbered
//! archive slots, and one write each for log and manifest. They reach the agent over its
//! authenticated door, never the chain.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::{
    Checkpoint, CheckpointSlots, LocationError, MAX_PRESIGN_S, PresignError, PresignedUrl,
    S3Credentials, S3Location, presign_get, presign_put,
};

/// The most inputs of one task.
pub const MAX_INPUTS: usize = 2_000;
/// The most parts of one task.
pub const MAX_PARTS: usize = 10_000;
/// The most numbered archive slots of one task.
pub const MAX_ARCHIVES: usize = 64;
/// The largest encoded set of slots, in bytes: every slot with a URL of some 1.5 KiB.
const MAX_JSON_BYTES: usize = 16 << 20;
/// The longest name in a slot, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// How long slots outlive the task's time limit, in seconds (RENTAL.md, last paragraph).
const GRACE_S: u64 = 86_400;

/// Why a set of slots cannot be made or accepted.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// More of something than allowed.
    #[error("{count} {what} are more than the {max} allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A name that is empty, too long, climbs, or comes twice.
    #[error("slot name {0:?} must be relative, without empty, '.' or '..' segments, and unique")]
    Name(String),
    /// An input that would be a file and a folder.
    #[error("input slot {0:?} is the folder of another: it cannot be a file too")]
    Inside(String),
    /// Fresh addresses of other places.
    #[error("slot {0:?} is fresh or missing: a renewal has the names that were there before")]
    Other(String),
    /// The time limit is longer than a signature can live.
    #[error("a time limit of {0} s plus a day is longer than the {MAX_PRESIGN_S} s a URL can live")]
    TimeLimit(u64),
    /// The encoded set is too large.
    #[error("slots of {0} bytes are larger than the {MAX_JSON_BYTES} allowed")]
    TooLarge(usize),
    /// The encoded set is not one.
    #[error("cannot read the slots (line {line}, column {column})")]
    Malformed {
        /// Line of the error, from 1.
        line: usize,
        /// Column of the error, from 1.
        column: usize,
    },
    /// A key cannot be used.
    #[error("cannot place {name:?} in the bucket")]
    Location {
        /// The slot's name.
        name: String,
        /// Why not.
        source: LocationError,
    },
    /// A URL cannot be signed.
    #[error("cannot sign a URL for {name:?}")]
    Presign {
        /// The slot's name.
        name: String,
        /// Why not.
        source: PresignError,
    },
}

/// How an input lies in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// The object is the file.
    File,
    /// The object is a tar of a directory, to be unpacked under the input's name.
    Tar,
}

/// A place to read one input from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSlot {
    /// The input's name in the task, a relative path.
    pub name: String,
    /// Where to read it; a presigned URL, or any http(s) URL the client named.
    pub url: PresignedUrl,
    /// How it is packed.
    pub packing: Packing,
    /// Its size in bytes, when known.
    pub size_bytes: Option<u64>,
    /// Its BLAKE3 digest, when known.
    pub blake3: Option<B256>,
}

/// A place to write one object to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSlot {
    /// The object's name below the task's prefix, a relative path.
    pub name: String,
    /// Where to write it.
    pub url: PresignedUrl,
}

/// What to presign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRequest {
    /// Inputs: those that lie in the bucket, by name below the prefix, or elsewhere by URL.
    pub inputs: Vec<InputRequest>,
    /// Names of the parts below the prefix, in their order.
    pub parts: Vec<String>,
    /// How many numbered archive slots.
    pub archives: usize,
    /// Whether the task saves a checkpoint.
    pub checkpoint: bool,
    /// Now, in Unix seconds.
    pub now_s: u64,
    /// The task's time limit, in seconds; the slots live a day longer.
    pub time_limit_s: u64,
}

/// One input to presign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequest {
    /// The input's name in the task.
    pub name: String,
    /// `Some`: an http(s) URL, taken as it is. `None`: the object `inputs/NAME` of the bucket.
    pub url: Option<PresignedUrl>,
    /// How it is packed.
    pub packing: Packing,
    /// Its size in bytes, when known.
    pub size_bytes: Option<u64>,
    /// Its BLAKE3 digest, when known.
    pub blake3: Option<B256>,
}

/// Every place one task reads from and writes to (D-21).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slots {
    /// Where the inputs are.
    pub inputs: Vec<InputSlot>,
    /// Where each part goes, part 1 first.
    pub parts: Vec<OutputSlot>,
    /// Where numbered archives go, for output that has no part of its own.
    pub archives: Vec<OutputSlot>,
    /// Where saves of the task's checkpoint go, where it declares one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointSlots>,
    /// Where the list of what was fetched goes; not every client wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<OutputSlot>,
    /// Where the log goes.
    pub log: OutputSlot,
    /// Where the manifest goes.
    pub manifest: OutputSlot,
    /// When the URLs end, in Unix seconds.
    pub expires_at_s: u64,
}

impl Slots {
    /// Presigns everything a task needs, in the client's own bucket.
    ///
    /// Keys are `PREFIX/inputs/NAME`, `PREFIX/PART`, `PREFIX/archive/0001.tar`,
    /// `PREFIX/checkpoint/1.tar`, `PREFIX/log.txt` and `PREFIX/manifest.json`.
    ///
    /// # Errors
    /// [`SlotError`] for too many slots, a bad or repeated name, or a time limit beyond six days.
    pub fn presign(
        location: &S3Location,
        credentials: &S3Credentials,
        request: &SlotRequest,
    ) -> Result<Self, SlotError> {
        bound("archive slots", request.archives, MAX_ARCHIVES)?;
        bound("inputs", request.inputs.len(), MAX_INPUTS)?;
        bound("parts", request.parts.len(), MAX_PARTS)?;
        let lifetime_s = request
            .time_limit_s
            .checked_add(GRACE_S)
            .filter(|&lifetime_s| lifetime_s <= MAX_PRESIGN_S)
            .ok_or(SlotError::TimeLimit(request.time_limit_s))?;
        let signer = Signer { location, credentials, now_s: request.now_s, lifetime_s };
        let inputs: Result<Vec<_>, _> = request.inputs.iter().map(|i| signer.input(i)).collect();
        let parts: Result<Vec<_>, _> = request.parts.iter().map(|p| signer.output(p)).collect();
        let archives: Result<Vec<_>, _> = (1..=request.archives)
            .map(|number| signer.output(&format!("archive/{number:04}.tar")))
            .collect();
        let slots = Self {
            inputs: inputs?,
            parts: parts?,
            archives: archives?,
            checkpoint: request.checkpoint.then(|| signer.checkpoint()).transpose()?,
            fetched: Some(signer.output("inputs.json")?),
            log: signer.output("log.txt")?,
            manifest: signer.output("manifest.json")?,
            expires_at_s: request.now_s.saturating_add(lifetime_s),
        };
        slots.check()?;
        Ok(slots)
    }

    /// Reads a set of slots from JSON, with every bound checked.
    ///
    /// # Errors
    /// [`SlotError`]; it never repeats any of the text, which holds URLs.
    pub fn from_json(json: &[u8]) -> Result<Self, SlotError> {
        if json.len() > MAX_JSON_BYTES {
            return Err(SlotError::TooLarge(json.len()));
        }
        let slots: Self = serde_json::from_slice(json)
            .map_err(|e| SlotError::Malformed { line: e.line(), column: e.column() })?;
        slots.check()?;
        Ok(slots)
    }

    /// Checks counts and names; [`from_json`](Self::from_json) has done it already.
    ///
    /// # Errors
    /// [`SlotError`] names the first slot that is wrong.
    pub fn check(&self) -> Result<(), SlotError> {
        bound("inputs", self.inputs.len(), MAX_INPUTS)?;
        bound("parts", self.parts.len(), MAX_PARTS)?;
        bound("archive slots", self.archives.len(), MAX_ARCHIVES)?;
        unique(self.inputs.iter().map(|slot| slot.name.as_str()))?;
        apart(&self.inputs)?;
        unique(self.outputs())
    }

    /// The same places with fresh addresses for what is still to be written; what is read stays.
    ///
    /// # Errors
    /// [`SlotError`] where `fresh` names other places.
    pub fn renewed(&self, fresh: Self) -> Result<Self, SlotError> {
        let next = Self { inputs: self.inputs.clone(), ..fresh };
        next.check()?;
        let mut ours = self.outputs();
        for name in next.outputs() {
            if ours.next() != Some(name) {
                return Err(SlotError::Other(name.chars().take(80).collect()));
            }
        }
        match ours.next() {
            Some(missing) => Err(SlotError::Other(missing.chars().take(80).collect())),
            None => Ok(next),
        }
    }

    /// Names of all places that are written.
    fn outputs(&self) -> impl Iterator<Item = &str> {
        let saves = self.checkpoint.iter();
        let saves = saves.flat_map(|slots| slots.archives.iter().chain([&slots.latest]));
        let outputs = self.parts.iter().chain(&self.archives).chain([&self.log, &self.manifest]);
        outputs.chain(saves).chain(&self.fetched).map(|slot| slot.name.as_str())
    }

    /// The slot of part `number`, counted from 1.
    #[must_use]
    pub fn part(&self, number: u32) -> Option<&OutputSlot> {
        self.parts.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}

fn bound(what: &'static str, count: usize, max: usize) -> Result<(), SlotError> {
    if count > max { Err(SlotError::TooMany { what, count, max }) } else { Ok(()) }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), SlotError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !is_relative(name) || name.len() > MAX_NAME_BYTES || !seen.insert(name) {
            return Err(SlotError::Name(name.chars().take(80).collect()));
        }
    }
    Ok(())
}

/// No input lies in another.
fn apart(inputs: &[InputSlot]) -> Result<(), SlotError> {
    let names: std::collections::BTreeSet<_> =
        inputs.iter().map(|slot| slot.name.as_str()).collect();
    for name in &names {
        let mut folders = name.match_indices('/').filter_map(|(at, _)| name.get(..at));
        if let Some(file) = folders.find(|folder| names.contains(folder)) {
            return Err(SlotError::Inside(file.chars().take(80).collect()));
        }
    }
    Ok(())
}

/// Whether `name` stays below the folder it is put in.
pub(crate) fn is_relative(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\0', '\\'])
        && name.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

struct Signer<'a> {
    location: &'a S3Location,
    credentials: &'a S3Credentials,
    now_s: u64,
    lifetime_s: u64,
}

impl Signer<'_> {
    fn input(&self, request: &InputRequest) -> Result<InputSlot, SlotError> {
        let url = match &request.url {
            Some(url) => url.clone(),
            None => self.sign(&request.name, &format!("inputs/{}", request.name), true)?,
        };
        Ok(InputSlot {
            name: request.name.clone(),
            url,
            packing: request.packing,
            size_bytes: request.size_bytes,
            blake3: request.blake3,
        })
    }

    fn output(&self, name: &str) -> Result<OutputSlot, SlotError> {
        Ok(OutputSlot { name: name.to_owned(), url: self.sign(name, name, false)? })
    }

    fn checkpoint(&self) -> Result<CheckpointSlots, SlotError> {
        let [odd, even] = Checkpoint::archives();
        Ok(CheckpointSlots {
            archives: [self.output(odd)?, self.output(even)?],
            latest: self.output(Checkpoint::LATEST)?,
        })
    }

    fn sign(&self, name: &str, below: &str, read: bool) -> Result<PresignedUrl, SlotError> {
        let key = self.location.key(below).map_err(|source| SlotError::Location {
            name: name.chars().take(80).collect(),
            source,
        })?;
        let sign = if read { presign_get } else { presign_put };
        sign(self.location, self.credentials, &key, self.now_s, self.lifetime_s)
            .map_err(|source| SlotError::Presign { name: name.chars().take(80).collect(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> SlotRequest {
        SlotRequest {
            inputs: vec![InputRequest {
                name: "scene.blend".into(),
                url: None,
                packing: Packing::File,
                size_bytes: Some(7),
                blake3: None,
            }],
            parts: (1..=3).map(|n| format!("frames/{n:04}.png")).collect(),
            archives: 2,
            checkpoint: true,
            now_s: 1_700_000_000,
            time_limit_s: 3_600,
        }
    }

    fn presign(request: &SlotRequest) -> Result<Slots, SlotError> {
        let location = S3Location::new("http://h:1", "us-east-1", "data", "t/1").unwrap();
        let credentials = S3Credentials::new("AKID", "secret-key").unwrap();
        Slots::presign(&location, &credentials, request)
    }

    #[test]
    fn slots_cover_every_place_and_live_a_day_longer_than_the_task() {
        let slots = presign(&request()).unwrap();
        assert_eq!(slots.expires_at_s, 1_700_000_000 + 3_600 + 86_400);
        assert_eq!(slots.log.url.expires_at_s(), Some(slots.expires_at_s));
        assert!(slots.inputs[0].url.expose().contains("/data/t/1/inputs/scene.blend?"));
        assert_eq!(slots.part(3).unwrap().name, "frames/0003.png");
        assert!(slots.part(0).is_none() && slots.part(4).is_none());
        assert_eq!(slots.archives[1].name, "archive/0002.tar");
        let saves = slots.checkpoint.as_ref().unwrap();
        let names = [1, 2, 3].map(|number| saves.of(number).name.as_str());
        assert_eq!(names, ["checkpoint/1.tar", "checkpoint/2.tar", "checkpoint/1.tar"]);
        let json = serde_json::to_vec(&slots).unwrap();
        assert_eq!(Slots::from_json(&json).unwrap(), slots);
        assert!(!format!("{slots:?}").contains("X-Amz"), "Debug must redact");
    }

    #[test]
    fn counts_names_and_lifetimes_are_bounded() {
        let broken = |change: &dyn Fn(&mut SlotRequest)| {
            let mut request = request();
            change(&mut request);
            presign(&request).unwrap_err()
        };
        let error = broken(&|r| r.parts = vec!["p".into(); MAX_PARTS + 1]);
        assert!(matches!(error, SlotError::TooMany { what: "parts", .. }), "{error}");
        let error = broken(&|r| r.archives = MAX_ARCHIVES + 1);
        assert!(matches!(error, SlotError::TooMany { .. }), "{error}");
        let error = broken(&|r| r.parts = vec!["a".into(), "a".into()]);
        assert!(matches!(error, SlotError::Name(_)), "{error}");
        let error = broken(&|r| r.parts = vec!["log.txt".into()]);
        assert!(matches!(error, SlotError::Name(_)), "{error}");
        let error = broken(&|r| r.parts = vec!["checkpoint/2.tar".into()]);
        assert!(matches!(error, SlotError::Name(_)), "{error}");
        let error = broken(&|r| r.parts = vec!["../a".into()]);
        assert!(matches!(error, SlotError::Location { .. }), "{error}");
        let error = broken(&|r| r.time_limit_s = MAX_PRESIGN_S);
        assert!(matches!(error, SlotError::TimeLimit(_)), "{error}");
        let error = broken(&|r| r.time_limit_s = u64::MAX);
        assert!(matches!(error, SlotError::TimeLimit(_)), "{error}");
    }

    #[test]
    fn d_24_a_renewal_changes_addresses_and_no_names() {
        let old = presign(&request()).unwrap();
        let later = SlotRequest { inputs: Vec::new(), now_s: 1_700_086_400, ..request() };
        let next = old.renewed(presign(&later).unwrap()).unwrap();
        assert_eq!(next.inputs, old.inputs);
        assert_eq!(next.expires_at_s, old.expires_at_s + 86_400);
        assert_ne!(next.parts[0].url, old.parts[0].url);
        for other in [
            SlotRequest { parts: vec!["frames/0009.png".into()], ..later.clone() },
            SlotRequest { archives: 3, ..later.clone() },
            SlotRequest { checkpoint: false, ..later },
        ] {
            let got = old.renewed(presign(&other).unwrap());
            assert!(matches!(got, Err(SlotError::Other(_))), "{got:?}");
        }
    }

    #[test]
    fn an_input_inside_another_is_refused() {
        let mut slots = presign(&request()).unwrap();
        let one = slots.inputs[0].clone();
        for (name, fits) in [("scene.blend2/a", true), ("scene.blend/a/b", false)] {
            slots.inputs.truncate(1);
            slots.inputs.push(InputSlot { name: name.into(), ..one.clone() });
            let got = slots.check();
            assert_eq!(got.is_ok(), fits, "{name}: {got:?}");
        }
        assert!(matches!(slots.check(), Err(SlotError::Inside(_))));
    }

    #[test]
    fn hostile_json_is_refused_without_repeating_it() {
        let error = Slots::from_json(b"{\"inputs\": \"http://h/k?X-Amz-Signature=abc\"}");
        assert!(!error.unwrap_err().to_string().contains("abc"));
        let huge = vec![b' '; MAX_JSON_BYTES + 1];
        assert!(matches!(Slots::from_json(&huge), Err(SlotError::TooLarge(_))));
        let mut slots = presign(&request()).unwrap();
        slots.inputs[0].name = "../../etc/passwd".into();
        let json = serde_json::to_vec(&slots).unwrap();
        assert!(matches!(Slots::from_json(&json), Err(SlotError::Name(_))));
    }
}
