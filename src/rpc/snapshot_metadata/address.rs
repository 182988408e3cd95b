//! Where a service listens, as people and Kubernetes objects write it.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system, as drivers have it.
    Unix {
        /// The whole path.
        path: String,
    },
    /// Without encryption.
    Plain {
        /// Name or number.
        host: String,
        /// Port.
        port: u16,
    },
    /// Over TLS.
    Tls {
        /// Name or number, which the certificate must bear, too.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Text that names no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no address of a service; it is HOST:PORT (over TLS), unix:///PATH, or http://HOST:PORT without encryption")]
pub struct AddressError {
    text: String,
}

impl Address {
    /// Reads `HOST:PORT` or `https://HOST:PORT` for TLS, `http://HOST:PORT`, or `unix:///PATH`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        read(text).ok_or_else(|| AddressError { text: text.chars().take(200).collect() })
    }

    /// Nobody on the way can listen.
    pub(super) fn is_private(&self) -> bool {
        match self {
            Self::Unix { .. } | Self::Tls { .. } => true,
            Self::Plain { host, .. } => {
                let number = host.trim_start_matches('[').trim_end_matches(']');
                number == "localhost" || number.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

fn read(text: &str) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        let is_path = path.starts_with('/') && !path.ends_with('/') && !path.contains(['\0', '?', '#']);
        return is_path.then(|| Address::Unix { path: path.to_owned() });
    }
    if let Some(rest) = text.strip_prefix("http://") {
        let (host, port) = host_and_port(rest)?;
        return Some(Address::Plain { host, port });
    }
    let (host, port) = host_and_port(text.strip_prefix("https://").unwrap_or(text))?;
    Some(Address::Tls { host, port })
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_number = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|ip| ip.parse::<IpAddr>().is_ok());
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    (is_number || is_name).then(|| (host.to_owned(), port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path } => write!(f, "unix://{path}"),
            Self::Plain { host, port } => write!(f, "http://{host}:{port}"),
            Self::Tls { host, port } => write!(f, "https://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (text, shown, is_private) in [
            ("csi.backup.svc:6443", "https://csi.backup.svc:6443", true),
            ("https://10.0.0.1:1", "https://10.0.0.1:1", true),
            ("[::1]:50051", "https://[::1]:50051", true),
            ("unix:///run/csi.sock", "unix:///run/csi.sock", true),
            ("unix:/run/csi.sock", "unix:///run/csi.sock", true),
            ("http://127.0.0.1:9", "http://127.0.0.1:9", true),
            ("http://[::1]:9", "http://[::1]:9", true),
            ("http://localhost:9", "http://localhost:9", true),
            ("http://10.0.0.1:9", "http://10.0.0.1:9", false),
            ("http://localhost.evil.example:9", "http://localhost.evil.example:9", false),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.to_string().as_str(), address.is_private()), (shown, is_private), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "host",
            ":1",
            "host:0",
            "host:65536",
            "host:1/path",
            "a b:1",
            "unix:",
            "unix://run",
            "unix:///",
            "ftp://host:1",
            "u@h:1",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
