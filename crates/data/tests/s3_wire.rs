//! The store through its door: signed requests over loopback, as any client sends them.
#![cfg(test)]

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use http::{Method, StatusCode};
use pouw_data::store::{Store, serve};
use pouw_data::{PresignedUrl, S3Credentials, S3Location, presign_get, presign_put};
use sha2::{Digest, Sha256};

struct Door {
    location: S3Location,
    credentials: S3Credentials,
    client: reqwest::Client,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn field(&self, name: &str) -> Option<String> {
        let text = self.text();
        let rest = text.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    }

    fn fields(&self, name: &str) -> Vec<String> {
        let text = self.text();
        text.split(&format!("<{name}>"))
            .skip(1)
            .filter_map(|rest| Some(rest.split_once(&format!("</{name}>"))?.0.to_owned()))
            .collect()
    }

    #[track_caller]
    fn expect(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if !code.is_empty() {
            assert_eq!(self.field("Code").as_deref(), Some(code), "{}", self.text());
            assert!(self.field("Message").is_some_and(|m| m.len() > 8), "{}", self.text());
            assert!(self.field("RequestId").is_some(), "{}", self.text());
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            let plain = byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
            if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        })
        .collect()
}

impl Door {
    async fn open(dir: &Path) -> Self {
        let credentials = S3Credentials::new("AKIDTEST", "a-secret-for-tests").unwrap();
        let other = S3Credentials::new("AKIDOTHER", "another-secret").unwrap();
        let store = Store::open(dir, vec![credentials.clone(), other]).unwrap();
        store.ensure_bucket("data").unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            serve(listener, store, async {
                drop(stopped.await);
            })
            .await
            .unwrap();
        });
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let location = S3Location::new(&endpoint, "us-east-1", "data", "").unwrap();
        Self { location, credentials, client, stop: Some(stop), served }
    }

    async fn close(mut self) {
        drop(self.stop.take());
        self.served.await.unwrap();
    }

    fn url(&self, method: &str, key: &str) -> PresignedUrl {
        let sign = if method == "GET" { presign_get } else { presign_put };
        sign(&self.location, &self.credentials, key, now_s(), 600).unwrap()
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        Answer { status, headers, body: answer.bytes().await.unwrap().to_vec() }
    }

    /// A request signed in its header; `target` is path and query, escaped and sorted already.
    async fn call(
        &self,
        method: &str,
        target: &str,
        extra: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let secret = self.credentials.expose_secret().to_owned();
        self.call_as("AKIDTEST", &secret, method, target, extra, body.into()).await
    }

    async fn call_as(
        &self,
        access_key: &str,
        secret: &str,
        method: &str,
        target: &str,
        extra: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let at = jiff::Timestamp::from_second(i64::try_from(now_s()).unwrap()).unwrap();
        let (date, stamp) = (at.strftime("%Y%m%d"), at.strftime("%Y%m%dT%H%M%SZ").to_string());
        let host = self.location.endpoint().trim_start_matches("http://");
        let payload = hex::encode(Sha256::digest(&body));
        let mut headers = vec![
            ("host".to_owned(), host.to_owned()),
            ("x-amz-content-sha256".to_owned(), payload.clone()),
            ("x-amz-date".to_owned(), stamp.clone()),
        ];
        let amz = extra.iter().filter(|(name, _)| name.starts_with("x-amz-"));
        headers.extend(amz.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        headers.sort();
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let lines: String = headers.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}");
        let scope = format!("{date}/us-east-1/s3/aws4_request");
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let mut key = hmac(format!("AWS4{secret}").as_bytes(), &date.to_string());
        for word in ["us-east-1", "s3", "aws4_request"] {
            key = hmac(&key, word);
        }
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}");
        let signature = hex::encode(hmac(&key, &to_sign));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method, format!("{}{target}", self.location.endpoint()))
            .header("x-amz-content-sha256", payload)
            .header("x-amz-date", stamp)
            .header(
                "authorization",
                format!(
                    "AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, \
                     Signature={signature}"
                ),
            )
            .body(body);
        for (name, value) in extra {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    async fn put(&self, key: &str, content: &[u8]) -> Answer {
        self.call("PUT", &format!("/data/{}", escape(key)), &[], content).await
    }

    async fn get(&self, key: &str, extra: &[(&str, &str)]) -> Answer {
        self.call("GET", &format!("/data/{}", escape(key)), extra, "").await
    }
}

/// How many files the store holds.
fn blobs(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("blobs"))
        .unwrap()
        .map(|fan| std::fs::read_dir(fan.unwrap().path()).unwrap().count())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_1_keys_are_names_and_never_paths() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(&dir.path().join("store")).await;
    for key in
        ["x/a", "x/a/b", "x", "x/a/", "\u{1f600}/\u{202e}\u{0301}", "a\\b", "%2e%2e", " ", "+&=?#"]
    {
        door.put(key, key.as_bytes()).await.expect(200, "");
        let got = door.get(key, &[]).await;
        got.expect(200, "");
        assert_eq!(got.body, key.as_bytes(), "{key:?}");
    }
    // Clients rewrite `..`, so the door is knocked at by hand.
    for key in ["%2e%2e/%2e%2e/escaped", "%2e%2e", "a/%2e%2e/%2e%2e/b"] {
        let head = raw_presigned(&door, "PUT", key, "content-length: 2\r\n\r\nhi").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{key}: {head}");
        let head = raw_presigned(&door, "GET", key, "\r\n").await;
        assert!(head.ends_with("hi"), "{key}: {head}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing beside the store");
    let listed = door.call("GET", "/data?list-type=2&prefix=x", &[], "").await;
    assert_eq!(listed.fields("Key"), ["x", "x/a", "x/a/", "x/a/b"]);
    let long = "k".repeat(1024);
    door.put(&long, b"1").await.expect(200, "");
    door.put(&"k".repeat(1025), b"1").await.expect(400, "KeyTooLongError");
    door.close().await;
}

/// Sends a presigned request as bytes, for targets that no client would send unchanged.
async fn raw_presigned(door: &Door, method: &str, escaped: &str, rest: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = door.location.endpoint().trim_start_matches("http://").to_owned();
    let at = jiff::Timestamp::from_second(i64::try_from(now_s()).unwrap()).unwrap();
    let (date, stamp) = (at.strftime("%Y%m%d"), at.strftime("%Y%m%dT%H%M%SZ").to_string());
    let scope = format!("{date}/us-east-1/s3/aws4_request");
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={stamp}\
         &X-Amz-Expires=60&X-Amz-SignedHeaders=host",
        format!("AKIDTEST/{scope}").replace('/', "%2F")
    );
    // The canonical path is the decoded one encoded again: dots stand as they are.
    let path = format!("/data/{}", escaped.replace("%2e", "."));
    let canonical = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
    let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
    let mut key =
        hmac(format!("AWS4{}", door.credentials.expose_secret()).as_bytes(), &date.to_string());
    for word in ["us-east-1", "s3", "aws4_request"] {
        key = hmac(&key, word);
    }
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}");
    let signature = hex::encode(hmac(&key, &to_sign));
    let mut stream = tokio::net::TcpStream::connect(&host).await.unwrap();
    let request = format!(
        "{method} /data/{escaped}?{query}&X-Amz-Signature={signature} HTTP/1.1\r\nhost: {host}\r\n\
         connection: close\r\n{rest}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_2_only_holders_of_a_key_get_in() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path()).await;
    door.put("k", b"secret").await.expect(200, "");
    let plain = door.client.get(format!("{}/data/k", door.location.endpoint()));
    door.send(plain).await.expect(403, "AccessDenied");
    let wrong = door.call_as("AKIDTEST", "not-the-secret", "GET", "/data/k", &[], vec![]).await;
    wrong.expect(403, "SignatureDoesNotMatch");
    let unknown = door.call_as("AKIDNOBODY", "not-the-secret", "GET", "/data/k", &[], vec![]).await;
    unknown.expect(403, "InvalidAccessKeyId");
    let other = door.call_as("AKIDOTHER", "another-secret", "GET", "/data/k", &[], vec![]).await;
    assert_eq!(other.body, b"secret", "every configured key opens the door");
    // A URL for one object, one method, one time.
    let url = door.url("GET", "k");
    assert_eq!(door.send(door.client.get(url.expose())).await.body, b"secret");
    let moved = url.expose().replace("/data/k?", "/data/j?");
    door.send(door.client.get(moved)).await.expect(403, "SignatureDoesNotMatch");
    let put = door.client.put(url.expose()).body("x");
    door.send(put).await.expect(403, "SignatureDoesNotMatch");
    let old = presign_get(&door.location, &door.credentials, "k", now_s() - 120, 60).unwrap();
    let old = door.send(door.client.get(old.expose())).await;
    old.expect(403, "AccessDenied");
    assert_eq!(old.field("Message").as_deref(), Some("Request has expired"));
    let later = url.expose().replace("X-Amz-Expires=600", "X-Amz-Expires=6000");
    door.send(door.client.get(later)).await.expect(403, "SignatureDoesNotMatch");
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_3_what_is_put_is_what_is_got() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path()).await;
    let blake3 = blake3::hash(b"hello").to_hex().to_string();
    let extra = [
        ("content-type", "text/plain"),
        ("x-amz-meta-blake3", blake3.as_str()),
        ("x-amz-meta-colour", "red"),
    ];
    let put = door.call("PUT", "/data/k", &extra, "hello").await;
    put.expect(200, "");
    assert_eq!(put.headers["etag"], "\"5d41402abc4b2a76b9719d911017c592\"");
    let got = door.get("k", &[]).await;
    assert_eq!(got.headers["content-type"], "text/plain");
    assert_eq!(got.headers["x-amz-meta-colour"], "red");
    assert_eq!(got.headers["content-length"], "5");
    let head = door.call("HEAD", "/data/k", &[], "").await;
    assert_eq!(head.headers["content-length"], "5");
    let lie = [("x-amz-meta-blake3", &*blake3.replace(['0', '1', '2'], "f"))];
    door.call("PUT", "/data/lie", &lie, "hello").await.expect(400, "BadDigest");
    let lie = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    door.call("PUT", "/data/lie", &lie, "hello").await.expect(400, "BadDigest");
    let lie = [("content-md5", "short")];
    door.call("PUT", "/data/lie", &lie, "hello").await.expect(400, "InvalidDigest");
    let lie = [("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")];
    door.call("PUT", "/data/lie", &lie, "hello").await.expect(400, "BadDigest");
    let big = "v".repeat(3000);
    let big = [("x-amz-meta-big", big.as_str())];
    door.call("PUT", "/data/lie", &big, "hello").await.expect(400, "MetadataTooLarge");
    door.get("lie", &[]).await.expect(404, "NoSuchKey");
    assert_eq!(blobs(dir.path()), 1, "refused puts leave nothing");
    door.put("k", b"replaced").await.expect(200, "");
    assert_eq!(blobs(dir.path()), 1, "a replaced object leaves nothing");
    // 9 MiB goes through the threads, and comes back in several chunks.
    let large: Vec<u8> =
        (0..9_u32 << 20).map(|n| n.to_le_bytes()[usize::from(n % 3 == 0)]).collect();
    let put = door.client.put(door.url("PUT", "large").expose()).body(large.clone());
    door.send(put).await.expect(200, "");
    assert!(door.get("large", &[]).await.body == large);
    let put = door.client.put(door.url("PUT", "p").expose());
    let tag = door.send(put.body("hello")).await.headers["etag"].clone();
    let no_md5 = format!("\"{}-1\"", &blake3[..32]);
    assert_eq!(tag, no_md5, "nobody takes the tag of a presigned put for an MD5");
    let asked = door.client.put(door.url("PUT", "p").expose());
    let asked = asked.header("content-md5", "XUFAKrxLKna5cZ2REBfFkg==").body("hello");
    assert_eq!(door.send(asked).await.headers["etag"], "\"5d41402abc4b2a76b9719d911017c592\"");
    let lied = door.client.put(door.url("PUT", "p").expose());
    let lied = lied.header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").body("hello");
    door.send(lied).await.expect(400, "BadDigest");
    let sha =
        door.call("PUT", "/data/s", &[("x-amz-sdk-checksum-algorithm", "SHA256")], "hi").await;
    assert!(sha.headers.contains_key("x-amz-checksum-sha256"), "{:?} {}", sha.headers, sha.text());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_and_conditions_are_honoured() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path()).await;
    door.put("k", b"0123456789").await.expect(200, "");
    door.put("empty", b"").await.expect(200, "");
    for (range, status, expected) in [
        ("bytes=0-3", 206, "0123"),
        ("bytes=7-", 206, "789"),
        ("bytes=-2", 206, "89"),
        ("bytes=-99", 206, "0123456789"),
        ("bytes=9-99", 206, "9"),
        ("bytes=10-", 416, ""),
        ("bytes=-0", 416, ""),
    ] {
        let got = door.get("k", &[("range", range)]).await;
        assert_eq!(got.status.as_u16(), status, "{range}: {}", got.text());
        if status == 206 {
            assert_eq!(got.text(), expected, "{range}");
        }
    }
    for range in ["bytes=5-2", "bytes=--5", "bytes=a-b", "lines=1-2", "bytes=18446744073709551615-"]
    {
        let got = door.get("k", &[("range", range)]).await;
        assert!(matches!(got.status.as_u16(), 200 | 400 | 416), "{range}: {}", got.text());
    }
    door.get("empty", &[("range", "bytes=-1")]).await.expect(416, "InvalidRange");
    let etag = door.get("k", &[]).await.headers["etag"].to_str().unwrap().to_owned();
    let status = async |extra: &[(&str, &str)]| door.get("k", extra).await.status.as_u16();
    assert_eq!(status(&[("if-match", &etag)]).await, 200);
    assert_eq!(status(&[("if-match", "\"x\"")]).await, 412);
    assert_eq!(status(&[("if-none-match", &etag)]).await, 304);
    assert_eq!(status(&[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")]).await, 304);
    assert_eq!(status(&[("if-unmodified-since", "Fri, 01 Jan 1999 00:00:00 GMT")]).await, 412);
    assert_eq!(status(&[("range", "bytes=1-2"), ("if-range", &etag)]).await, 206);
    assert_eq!(status(&[("range", "bytes=1-2"), ("if-range", "\"x\"")]).await, 200);
    let once = [("if-none-match", "*")];
    door.call("PUT", "/data/k", &once, "x").await.expect(412, "PreconditionFailed");
    door.call("PUT", "/data/new", &once, "x").await.expect(200, "");
    assert_eq!(blobs(dir.path()), 3);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_become_one_object() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path()).await;
    let start = async |key: &str| {
        let answer = door.call("POST", &format!("/data/{key}?uploads="), &[], "").await;
        answer.field("UploadId").unwrap()
    };
    let id = start("k").await;
    let part = async |id: &str, number: u32, content: &[u8]| {
        let target = format!("/data/k?partNumber={number}&uploadId={id}");
        let answer = door.call("PUT", &target, &[], content).await;
        answer.headers.get("etag").map(|e| e.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let done = async |id: &str, parts: &[(u32, &str)]| {
        let lines: String = parts
            .iter()
            .map(|(n, e)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{e}</ETag></Part>"))
            .collect();
        let xml = format!("<CompleteMultipartUpload>{lines}</CompleteMultipartUpload>");
        door.call("POST", &format!("/data/k?uploadId={id}"), &[], xml).await
    };
    let five = vec![5_u8; 5 << 20];
    let one = part(&id, 1, &five).await;
    let two = part(&id, 2, b"small").await;
    let three = part(&id, 3, b"end").await;
    part(&id, 0, b"x").await;
    part(&id, 10_001, b"x").await;
    let listed = door.call("GET", &format!("/data/k?max-parts=2&uploadId={id}"), &[], "").await;
    assert_eq!(listed.fields("PartNumber"), ["1", "2"]);
    assert_eq!(listed.field("IsTruncated").as_deref(), Some("true"));
    let uploads = door.call("GET", "/data?uploads=", &[], "").await;
    assert_eq!(uploads.fields("UploadId"), std::slice::from_ref(&id));
    done(&id, &[(1, &one), (2, &two), (3, &three)]).await.expect(400, "EntityTooSmall");
    done(&id, &[(3, &three), (1, &one)]).await.expect(400, "InvalidPartOrder");
    done(&id, &[(1, &two)]).await.expect(400, "InvalidPart");
    done(&id, &[(4, &two)]).await.expect(400, "InvalidPart");
    done(&id, &[]).await.expect(400, "MalformedXML");
    door.get("k", &[]).await.expect(404, "NoSuchKey");
    done(&id, &[(1, &one), (3, &three)]).await.expect(200, "");
    done(&id, &[(1, &one)]).await.expect(404, "NoSuchUpload");
    let got = door.get("k", &[]).await;
    assert!(got.headers["etag"].to_str().unwrap().ends_with("-2\""));
    assert_eq!(got.body.len(), five.len() + 3);
    let across = door.get("k", &[("range", &format!("bytes={}-", five.len() - 1))]).await;
    assert_eq!(across.body, b"\x05end");
    assert_eq!(blobs(dir.path()), 2, "the unused part is gone");
    let id = start("k").await;
    let copied = format!("/data/k?partNumber=1&uploadId={id}");
    let from = [("x-amz-copy-source", "data/k"), ("x-amz-copy-source-range", "bytes=0-9")];
    door.call("PUT", &copied, &from, "").await.expect(200, "");
    door.call("DELETE", &format!("/data/k?uploadId={id}"), &[], "").await.expect(204, "");
    door.call("DELETE", &format!("/data/k?uploadId={id}"), &[], "")
        .await
        .expect(404, "NoSuchUpload");
    assert_eq!(blobs(dir.path()), 2);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_deletes_buckets_and_pages() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path()).await;
    for key in ["a/1", "a/2", "b", "c d"] {
        door.put(key, key.as_bytes()).await.expect(200, "");
    }
    let copy = async |target: &str, from: &str| {
        door.call("PUT", target, &[("x-amz-copy-source", from)], "").await
    };
    copy("/data/copy", "/data/c%20d").await.expect(200, "");
    copy("/data/b", "/data/b").await.expect(400, "InvalidRequest");
    copy("/data/x", "/data/none").await.expect(404, "NoSuchKey");
    door.call("DELETE", "/data/c%20d", &[], "").await.expect(204, "");
    assert_eq!(door.get("copy", &[]).await.text(), "c d", "a copy outlives its source");
    let page = door.call("GET", "/data?delimiter=%2F&list-type=2&max-keys=1", &[], "").await;
    assert!(page.fields("Prefix").contains(&"a/".to_owned()), "{}", page.text());
    let token = page.field("NextContinuationToken").unwrap();
    let target = format!("/data?continuation-token={token}&delimiter=%2F&list-type=2");
    assert_eq!(door.call("GET", &target, &[], "").await.fields("Key"), ["b", "copy"]);
    let first = door.call("GET", "/data?encoding-type=url&max-keys=2", &[], "").await;
    assert_eq!(first.field("NextMarker").as_deref(), Some("a/2"));
    let next = door.call("GET", "/data?marker=a%2F2", &[], "").await;
    assert_eq!(next.fields("Key"), ["b", "copy"]);
    for bad in ["max-keys=-1", "continuation-token=zz&list-type=2"] {
        let answer = door.call("GET", &format!("/data?{bad}"), &[], "").await;
        assert_eq!(answer.status.as_u16(), 400, "{bad}: {}", answer.text());
    }
    door.call("DELETE", "/data", &[], "").await.expect(409, "BucketNotEmpty");
    let keys = ["a/1", "a/2", "b", "copy", "never"];
    let lines: String =
        keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    let xml = format!("<Delete>{lines}</Delete>");
    let md5 = {
        use base64::Engine as _;
        use md5::Digest as _;
        base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(&xml))
    };
    let many = door.call("POST", "/data?delete=", &[("content-md5", &md5)], xml).await;
    many.expect(200, "");
    assert_eq!(many.fields("Key"), keys);
    assert_eq!(blobs(dir.path()), 0);
    door.call("PUT", "/data", &[], "").await.expect(409, "BucketAlreadyOwnedByYou");
    door.call("PUT", "/B_", &[], "").await.expect(400, "InvalidBucketName");
    door.call("PUT", "/second", &[], "").await.expect(200, "");
    assert_eq!(door.call("GET", "/", &[], "").await.fields("Name"), ["data", "second"]);
    door.call("DELETE", "/second", &[], "").await.expect(204, "");
    door.call("GET", "/second", &[], "").await.expect(404, "NoSuchBucket");
    door.call("GET", "/data?location=", &[], "").await.expect(200, "");
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_are_answered_and_leave_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path()).await;
    let huge = format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(100_000));
    let answer = door.call("POST", "/data?delete=", &[], huge).await;
    assert!(answer.status.is_client_error(), "{}", answer.text());
    for xml in ["<Delete", "", "<!DOCTYPE a [<!ENTITY b \"c\">]><Delete>&b;</Delete>", "\0"] {
        let answer = door.call("POST", "/data?delete=", &[], xml).await;
        assert!(answer.status.is_client_error(), "{xml:?}: {}", answer.text());
    }
    // A signed put whose body ends early, in a connection that then closes.
    let url = door.url("PUT", "short");
    let rest = url.expose().trim_start_matches("http://");
    let (host, target) = rest.split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!("PUT /{target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 9000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![1; 3 << 20]).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream.read_to_end(&mut Vec::new()).await);
    door.get("short", &[]).await.expect(404, "NoSuchKey");
    for garbage in [
        "\0\0\0",
        "GET",
        "PUT / HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        "GET /%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
        stream.write_all(garbage.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        drop(stream.read_to_end(&mut Vec::new()).await);
    }
    door.put("still", b"here").await.expect(200, "");
    door.close().await;
    let reopened = Door::open(dir.path()).await;
    assert_eq!(blobs(dir.path()), 1, "nothing of the broken put is left");
    reopened.close().await;
}
