//! Downloads and uploads against servers that misbehave.
#![cfg(test)]

mod request;

use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::B256;
use pouw_data::{InputSlot, Packing, PresignedUrl, RetryPolicy, TransferError, Transfers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers the n-th connection with the n-th script; returns the requests it saw.
async fn scripted(answers: Vec<Vec<u8>>) -> (PresignedUrl, tokio::task::JoinHandle<Vec<String>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/o?X-Amz-Signature=hidden", listener.local_addr().unwrap());
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = request::head(&mut stream).await;
            let head = String::from_utf8_lossy(&request).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            let body_at = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            while request.len() < body_at + length {
                request::more(&mut stream, &mut request).await;
            }
            seen.push(head);
            stream.write_all(&answer).await.unwrap();
            stream.shutdown().await.unwrap();
            drop(stream.read_to_end(&mut Vec::new()).await);
        }
        seen
    });
    (PresignedUrl::parse(&url).unwrap(), seen)
}

fn quick() -> Transfers {
    Transfers::with_retry(RetryPolicy { tries: 3, first_wait_ms: 1, max_wait_ms: 1 }).unwrap()
}

fn slot(url: &PresignedUrl, content: &[u8]) -> InputSlot {
    InputSlot {
        name: "in".into(),
        url: url.clone(),
        packing: Packing::File,
        size_bytes: Some(content.len() as u64),
        blake3: Some(B256::from(*blake3::hash(content).as_bytes())),
    }
}

fn ok(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes(), body].concat()
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let dir = tempfile::tempdir().unwrap();
    let (url, seen) = scripted(vec![
        ok("200 OK\r\ncontent-length: 10\r\netag: \"v1\"", b"01234"),
        ok("206 Partial Content\r\ncontent-range: bytes 5-9/10\r\ncontent-length: 5\r\netag: \"v1\"", b"56789"),
    ])
    .await;
    let dest = dir.path().join("in");
    let most = AtomicU64::new(0);
    let watch = |done: u64, _: Option<u64>| {
        most.fetch_max(done, Ordering::Relaxed);
    };
    let done = quick().download(&slot(&url, b"0123456789"), &dest, 100, &watch).await.unwrap();
    assert_eq!((done.size_bytes, most.load(Ordering::Relaxed)), (10, 10));
    assert_eq!(std::fs::read(&dest).unwrap(), b"0123456789");
    let seen = seen.await.unwrap();
    assert!(
        seen[1].contains("range: bytes=5-") && seen[1].contains("if-range: \"v1\""),
        "{}",
        seen[1]
    );
}

#[tokio::test]
async fn a_changed_object_is_fetched_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (url, _seen) = scripted(vec![
        ok("200 OK\r\ncontent-length: 10\r\netag: \"v1\"", b"AAAAA"),
        ok("200 OK\r\ncontent-length: 3\r\netag: \"v2\"", b"new"),
    ])
    .await;
    let dest = dir.path().join("in");
    let slot = InputSlot { size_bytes: None, ..slot(&url, b"new") };
    quick().download(&slot, &dest, 100, &()).await.unwrap();
    assert_eq!(std::fs::read(&dest).unwrap(), b"new");
}

#[tokio::test]
async fn d_40_wrong_content_never_gets_its_name() {
    let check = async |answer: Vec<u8>, expected: &[u8], max: u64| {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("in");
        std::fs::write(&dest, b"before").unwrap();
        let (url, _seen) = scripted(vec![answer]).await;
        let error = quick().download(&slot(&url, expected), &dest, max, &()).await.unwrap_err();
        assert_eq!(std::fs::read(&dest).unwrap(), b"before");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no partial file is left");
        assert!(!error.is_transient() && !error.to_string().contains("hidden"), "{error}");
        error
    };
    let digest = check(ok("200 OK\r\ncontent-length: 3", b"bad"), b"god", 9).await;
    assert!(matches!(digest, TransferError::Digest { .. }), "{digest}");
    let short = check(ok("200 OK\r\ncontent-length: 2", b"go"), b"god", 9).await;
    assert!(matches!(short, TransferError::Size { .. }), "{short}");
    let long = check(ok("200 OK\r\ncontent-length: 99", b"god"), b"god", 9).await;
    assert!(matches!(long, TransferError::TooLarge { .. }), "{long}");
    let endless = check(ok("200 OK", &[b'x'; 5000]), b"god", 9).await;
    assert!(matches!(endless, TransferError::TooLarge { .. }), "{endless}");
    let xml = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    let refused = check(ok("403 Forbidden", xml), b"god", 9).await;
    assert!(refused.to_string().contains("AccessDenied, Request has expired"), "{refused}");
}

#[tokio::test]
async fn d_41_an_upload_is_repeated_after_a_passing_failure_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("frame.png");
    std::fs::write(&path, b"pixels").unwrap();
    let done = ok("200 OK\r\ncontent-length: 0", b"");
    let busy = ok("503 Slow Down\r\ncontent-length: 0", b"");
    let (url, seen) = scripted(vec![busy.clone(), done]).await;
    let sent = quick().upload(&path, &url, &()).await.unwrap();
    assert_eq!(sent.blake3, B256::from(*blake3::hash(b"pixels").as_bytes()));
    assert!(seen.await.unwrap().iter().all(|request| request.contains("content-length: 6")));
    let (url, _seen) = scripted(vec![busy.clone(), busy.clone(), busy]).await;
    let error = quick().upload(&path, &url, &()).await.unwrap_err();
    assert!(matches!(error, TransferError::Refused { status: 503, .. }), "{error}");
    let (url, _seen) = scripted(vec![ok("403 Forbidden\r\ncontent-length: 0", b"")]).await;
    let error = quick().upload(&path, &url, &()).await.unwrap_err();
    assert!(matches!(error, TransferError::Refused { status: 403, .. }), "{error}");
    let missing = quick().upload(&dir.path().join("none"), &url, &()).await.unwrap_err();
    assert!(matches!(missing, TransferError::File { .. }), "{missing}");
}
