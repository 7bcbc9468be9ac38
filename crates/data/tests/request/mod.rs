//! Reading a request as a server that a test plays.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What has come once the request's head is whole; of its body what came along.
pub(crate) async fn head(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        more(stream, &mut request).await;
    }
    request
}

/// Adds what comes next; the request must not end here.
pub(crate) async fn more(stream: &mut TcpStream, request: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    let got = stream.read(&mut buffer).await.unwrap();
    assert!(got > 0);
    request.extend_from_slice(&buffer[..got]);
}
