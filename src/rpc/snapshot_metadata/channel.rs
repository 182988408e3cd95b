//! The connection: over TLS, where only the given authority counts; in the clear; or through a socket in the file system.

use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::address::Address;
use super::error::MetadataError;

/// A round trip or three, however far away; a service that needs longer is not there.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// How soon a peer that is gone without a word is noticed, by the kernel. Pings of HTTP/2 would be answered with a broken
/// connection: gRPC servers allow one in five minutes.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// More is no bundle of certificates.
const MAX_AUTHORITY_BYTES: usize = 1 << 20;

/// A channel that connects when it is first used, and again when it has to. Only inside a runtime.
pub(super) fn lazy(address: &Address, authority: Option<&[u8]>) -> Result<Channel, MetadataError> {
    let wrong = |reason: &dyn ToString| MetadataError::misconfigured(format!("{address}: {}", reason.to_string()));
    let endpoint = Endpoint::from_shared(address.to_string()).map_err(|error| wrong(&error))?;
    let endpoint = endpoint.connect_timeout(CONNECT_WAIT).tcp_keepalive(Some(KEEPALIVE)).tcp_nodelay(true);
    match (address, authority) {
        (Address::Unix { .. } | Address::Plain { .. }, None) => Ok(endpoint.connect_lazy()),
        (Address::Unix { .. } | Address::Plain { .. }, Some(_)) => {
            Err(wrong(&"a certificate authority is only for addresses over TLS"))
        }
        (Address::Tls { .. }, None) => Err(wrong(&"which certificate authority vouches for it? name its file (--csi-ca)")),
        (Address::Tls { host, .. }, Some(pem)) => {
            let tls = tls(host, pem).map_err(|reason| wrong(&reason))?;
            let endpoint = endpoint.tls_config(tls).map_err(|error| wrong(&error))?;
            Ok(endpoint.connect_lazy())
        }
    }
}

/// Trusts `pem` and nobody else: the machine's own list of authorities has no say in a cluster.
fn tls(host: &str, pem: &[u8]) -> Result<ClientTlsConfig, &'static str> {
    if pem.len() > MAX_AUTHORITY_BYTES {
        return Err("the file of the certificate authority is longer than 1 MiB");
    }
    // The library underneath takes a file without a certificate for a list of none.
    if !String::from_utf8_lossy(pem).contains("-----BEGIN CERTIFICATE-----") {
        return Err("the file of the certificate authority holds no certificate in PEM");
    }
    let name = host.trim_start_matches('[').trim_end_matches(']');
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)).domain_name(name))
}
