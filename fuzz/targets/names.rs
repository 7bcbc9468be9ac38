//! Names and documents of the object store: locations, keys, presigned URLs, manifests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pouw_data::{Manifest, PresignedUrl, S3Location};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::from_json(bytes) {
        let again = Manifest::from_json(&manifest.to_json()).expect("what was written is read");
        assert_eq!(again.root(), manifest.root());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(url) = PresignedUrl::parse(text) {
        let shown = url.to_string();
        let query = shown.split_once(['?', '#']).map(|(_, query)| query);
        assert!(query.is_none_or(|query| query == "<redacted>"), "a query is shown");
        let _ = url.expires_at_s();
    }
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    let Ok(place) = S3Location::new(next(), next(), next(), next()) else { return };
    if let Ok(key) = place.key(next()) {
        assert!(key.len() <= 1024 && !key.split('/').any(|part| matches!(part, "" | "." | "..")));
    }
});
