//! What lies below a prefix, asked of the real store and of stores that misbehave.
#![cfg(test)]

mod request;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use pouw_data::store::{Store, serve};
use pouw_data::{
    InputSlot, ListError, ListLimits, Listed, Packing, RetryPolicy, S3Credentials, S3Location,
    TransferError, Transfers, presign_get, presign_put,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMITS: ListLimits = ListLimits { objects: 20, size_bytes: 1_000 };

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn transfers() -> Transfers {
    Transfers::with_retry(RetryPolicy { tries: 3, first_wait_ms: 1, max_wait_ms: 1 }).unwrap()
}

fn credentials() -> S3Credentials {
    S3Credentials::new("AKIDTEST", "a-secret-for-tests").unwrap()
}

/// A store with these objects; it is served until the test's runtime ends.
async fn store(dir: &Path, objects: &[(&str, &'static [u8])]) -> S3Location {
    let store = Store::open(dir, vec![credentials()]).unwrap();
    store.ensure_bucket("data").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, store, std::future::pending::<()>()));
    let location = S3Location::new(&endpoint, "us-east-1", "data", "").unwrap();
    for (key, content) in objects {
        let url = presign_put(&location, &credentials(), key, now_s(), 600).unwrap();
        transfers().upload_bytes(Bytes::from_static(content), &url).await.unwrap();
    }
    location
}

async fn list(at: &S3Location, prefix: &str, limits: ListLimits) -> Result<Vec<Listed>, ListError> {
    transfers().list(at, &credentials(), prefix, limits, now_s()).await
}

#[tokio::test]
async fn d_42_a_prefix_names_each_object_below_it_and_each_is_read_by_its_own_slot() {
    let dir = tempfile::tempdir().unwrap();
    let objects: &[(&str, &[u8])] = &[
        ("scene/main.blend", b"blend"),
        ("scene/tex/a b+c&<d>%20ü.png", b"png"),
        ("scene/tex.png", b""),
        ("scenery/other", b"other"),
        ("a", b"a"),
    ];
    let at = store(dir.path(), objects).await;
    let found = list(&at, "scene/", LIMITS).await.unwrap();
    let names: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.size_bytes)).collect();
    let expected = [("main.blend", 5), ("tex.png", 0), ("tex/a b+c&<d>%20ü.png", 3)];
    assert_eq!(names, expected);
    assert_eq!(list(&at, "", LIMITS).await.unwrap().len(), objects.len());
    for one in found {
        let url = presign_get(&at, &credentials(), &one.key, now_s(), 600).unwrap();
        let (name, packing) = (one.name.clone(), Packing::File);
        let size_bytes = Some(one.size_bytes);
        let slot = InputSlot { name, url, packing, size_bytes, blake3: None };
        let to = dir.path().join("got");
        let moved = transfers().download(&slot, &to, 10, &()).await.unwrap();
        let stored = objects.iter().find(|(key, _)| *key == one.key).unwrap().1;
        assert_eq!(std::fs::read(&to).unwrap(), stored);
        assert_eq!(moved.blake3.as_slice(), blake3::hash(stored).as_bytes());
    }
}

#[tokio::test]
async fn d_42_what_is_not_there_too_much_or_no_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = store(
        dir.path(),
        &[("big/a", b"12345"), ("big/b", b"12345"), ("twice/a", b"1"), ("twice/a/b", b"1")],
    )
    .await;
    let error = list(&at, "nothing/", LIMITS).await.unwrap_err();
    assert!(matches!(error, ListError::Empty), "{error}");
    let limits = ListLimits { size_bytes: 9, ..LIMITS };
    let error = list(&at, "big/", limits).await.unwrap_err();
    assert!(matches!(error, ListError::TooLarge { found: 10, max: 9 }), "{error}");
    let error = list(&at, "big/", ListLimits { objects: 1, ..LIMITS }).await.unwrap_err();
    assert!(matches!(error, ListError::TooMany(1)), "{error}");
    let error = list(&at, "twice/", LIMITS).await.unwrap_err();
    assert!(matches!(&error, ListError::Inside(name) if name == "a"), "{error}");
    let wrong = S3Credentials::new("AKIDTEST", "another-secret").unwrap();
    let error = transfers().list(&at, &wrong, "big/", LIMITS, now_s()).await.unwrap_err();
    let refused = matches!(
        &error,
        ListError::Transfer(TransferError::Refused { status: 403, answer, .. })
            if answer.contains("SignatureDoesNotMatch")
    );
    assert!(refused, "{error:?}");
}

#[tokio::test]
async fn d_43_an_address_past_its_time_is_told_as_such_and_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = store(dir.path(), &[("a", b"1")]).await;
    // Signed by a clock that stood two hours ago, for one hour.
    let url = presign_get(&at, &credentials(), "a", now_s() - 7_200, 3_600).unwrap();
    let slot = InputSlot {
        name: "a".to_owned(),
        url,
        packing: Packing::File,
        size_bytes: None,
        blake3: None,
    };
    let to = dir.path().join("got");
    let error = transfers().download(&slot, &to, 10, &()).await.unwrap_err();
    let refused = matches!(
        &error,
        TransferError::Refused { status: 403, answer, .. } if answer.contains("expired")
    );
    assert!(refused && !error.is_transient(), "{error}");
    assert!(!to.exists());
}

/// Answers the n-th request with the n-th body; returns the request lines.
async fn scripted(bodies: Vec<String>) -> (S3Location, tokio::task::JoinHandle<Vec<String>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        for body in bodies {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = request::head(&mut stream).await;
            let head = String::from_utf8_lossy(&request).into_owned();
            seen.push(head.lines().next().unwrap_or_default().to_owned());
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}");
            stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            drop(stream.read_to_end(&mut Vec::new()).await);
        }
        seen
    });
    (S3Location::new(&endpoint, "us-east-1", "data", "").unwrap(), seen)
}

fn page(keys: &[&str], next: Option<&str>) -> String {
    let content = |key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>");
    let contents: String = keys.iter().map(content).collect();
    let next = next.map(|next| format!("<NextContinuationToken>{next}</NextContinuationToken>"));
    let truncated = next.is_some();
    let next = next.unwrap_or_default();
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>{truncated}</IsTruncated>{next}\
         {contents}</ListBucketResult>"
    )
}

#[tokio::test]
async fn d_42_pages_are_followed_to_their_end() {
    let (at, seen) =
        scripted(vec![page(&["p/a", "p/b"], Some("one+two/=")), page(&["p/c"], None)]).await;
    let found = list(&at, "p/", LIMITS).await.unwrap();
    let names: Vec<_> = found.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let seen = seen.await.unwrap();
    assert!(!seen[0].contains("continuation-token"), "{}", seen[0]);
    assert!(seen[1].contains("&continuation-token=one%2Btwo%2F%3D&list-type=2&prefix=p%2F&X-Amz"));
}

#[tokio::test]
async fn d_42_a_store_that_lies_is_not_followed() {
    let check = async |bodies: Vec<String>, expected: fn(&ListError) -> bool| {
        let (at, _seen) = scripted(bodies).await;
        let error = list(&at, "p/", ListLimits { objects: 3, size_bytes: 9 }).await.unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    let malformed = |error: &ListError| matches!(error, ListError::Malformed(_));
    check(vec!["<html>hello</html".to_owned()], malformed).await;
    check(vec![page(&["q/a"], None)], malformed).await;
    check(vec![page(&[], Some("again"))], malformed).await;
    check(vec![page(&["p/../a"], None)], |e| matches!(e, ListError::Name(_))).await;
    let for_ever = vec![page(&["p/a", "p/b"], Some("x")); 2];
    check(for_ever, |e| matches!(e, ListError::TooMany(3))).await;
}
