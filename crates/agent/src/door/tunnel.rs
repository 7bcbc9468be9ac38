//! A connection to a port of a task, through the agent's door.
//!
//! `GET /v1/rentals/{id}/ports/{port}/{protocol}` asks for an upgrade to [`UPGRADE`]; from the answer
//! 101 on, the connection is the task's: TCP as bytes, UDP as [`datagram`]s. The header
//! [`NONCE_HEADER`] carries 16 fresh bytes as hex, which are signed in the place of a body, so that
//! nobody who reads along opens another one.
//!
//! Nothing here needs that the stream is TCP: whatever is read and written in order carries a tunnel.

use core::fmt;
use core::str::FromStr;

use pouw_spec::{Port, Protocol};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a tunnel's connection is upgraded to.
pub const UPGRADE: &str = "pouw-tunnel";
/// The header with a tunnel's nonce, hex.
pub const NONCE_HEADER: &str = "pouw-nonce";

/// A port in a path and on a command line: `8080/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortName(pub Port);

impl PortName {
    /// The transport's word.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        match self.0.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.port, self.protocol())
    }
}

/// A text that is no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no port: write 1 to 65535, and /tcp or /udp behind it")]
pub struct ParsePortError(String);

impl FromStr for PortName {
    type Err = ParsePortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParsePortError(text.chars().take(40).collect());
        let (port, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((port, "udp")) => (port, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port > 0).ok_or_else(wrong)?;
        Ok(Self(Port { port, protocol }))
    }
}

/// UDP on a stream: each datagram after its length in two bytes, the higher first.
pub mod datagram {
    use super::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

    /// Most bytes of a datagram.
    pub const MAX_BYTES: usize = 65_535;

    /// Reads one into `into`; none at the stream's end.
    ///
    /// # Errors
    /// The stream's; an end inside a datagram is one.
    pub async fn read(
        from: &mut (impl AsyncRead + Unpin),
        into: &mut Vec<u8>,
    ) -> std::io::Result<Option<usize>> {
        let mut first = [0];
        if from.read(&mut first).await? == 0 {
            return Ok(None);
        }
        let length = u16::from_be_bytes([first[0], from.read_u8().await?]);
        into.resize(length.into(), 0);
        from.read_exact(into).await?;
        Ok(Some(length.into()))
    }

    /// Writes one.
    ///
    /// # Errors
    /// The stream's; `InvalidInput` for more than [`MAX_BYTES`].
    pub async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
        let too_long = |_| std::io::Error::from(std::io::ErrorKind::InvalidInput);
        let length = u16::try_from(bytes.len()).map_err(too_long)?;
        to.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
        to.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_written_and_nothing_else_is() {
        for (text, expected) in
            [("8080", "8080/tcp"), ("1/tcp", "1/tcp"), ("65535/udp", "65535/udp")]
        {
            assert_eq!(text.parse::<PortName>().unwrap().to_string(), expected);
        }
        for wrong in ["", "0", "65536", "80/sctp", "+80", "80/", "/tcp", "80/udp/udp", "-1", "8O"] {
            assert!(wrong.parse::<PortName>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn datagrams_keep_their_bounds_and_a_torn_one_is_an_error() {
        let mut stream = Vec::new();
        for text in ["", "one", "two"] {
            datagram::write(&mut stream, text.as_bytes()).await.unwrap();
        }
        let most = vec![7; datagram::MAX_BYTES];
        datagram::write(&mut stream, &most).await.unwrap();
        assert!(
            datagram::write(&mut stream.clone(), &[most.clone(), vec![7]].concat()).await.is_err()
        );
        let (mut from, mut into) = (stream.as_slice(), Vec::new());
        for expected in [&b""[..], b"one", b"two", &most] {
            assert_eq!(datagram::read(&mut from, &mut into).await.unwrap(), Some(expected.len()));
            assert_eq!(into, expected);
        }
        assert_eq!(datagram::read(&mut from, &mut into).await.unwrap(), None);
        for cut in [1, 4] {
            assert!(datagram::read(&mut &stream[2..2 + cut], &mut into).await.is_err(), "{cut}");
        }
    }
}
