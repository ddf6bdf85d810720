//! A delivery made from a file, for trying the receiver: what `send` posts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::Deserialize;

use super::config::Config;
use super::secret::SigningSecret;
use super::{named_file, receiver};
use crate::env::{self, Clock};
use crate::error::Error;
use crate::event::Timestamp;
use crate::webhook;

/// A body is at most what a record takes.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A body, made ready to be posted as Linear would post it. Members are replaced in place; all other bytes stay as the file has them.
#[derive(Clone)]
pub struct Sample {
    body: Vec<u8>,
    /// When it was made.
    now: Timestamp,
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A body may hold what must not reach a log.
        f.debug_struct("Sample").field("body_bytes", &self.body.len()).field("now", &self.now).finish()
    }
}

impl Sample {
    /// Where a receiver on `address` takes deliveries.
    pub fn url(address: &str) -> String {
        format!("http://{address}{}", receiver::PATH)
    }

    /// Where the receiver of this configuration takes deliveries, as far as its address tells.
    pub fn url_of(config: &Config) -> String {
        let address = config
            .listen()
            .parse()
            .map_or_else(|_| config.listen().to_owned(), |address| reachable(address).to_string());
        Self::url(&address)
    }

    /// The body that the file at `path` holds.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let body = named_file::read(path, BODY_BYTES_MAX)?;
        Ok(Self { body, now: Timestamp::from(Clock::system().read().wall) })
    }

    /// The same event, sent now.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] if the body is no JSON object; as it is it can still be sent.
    pub fn stamped(mut self) -> Result<Self, Error> {
        self.body =
            webhook::stamp(&self.body, self.now.unix_millis()).map_err(|cause| Error::invalid(cause.to_string()))?;
        Ok(self)
    }

    /// Another event: created now.
    ///
    /// # Errors
    /// As [`Sample::stamped`].
    pub fn renewed(mut self) -> Result<Self, Error> {
        self.body =
            webhook::renew(&self.body, &self.now.to_string()).map_err(|cause| Error::invalid(cause.to_string()))?;
        Ok(self)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The headers that Linear would send with it. `delivery` names the delivery.
    pub fn headers(&self, secret: &SigningSecret, delivery: &str) -> Vec<(&'static str, String)> {
        #[derive(Deserialize)]
        struct Typed {
            r#type: String,
        }
        let mut headers = vec![
            ("Content-Type", "application/json; charset=utf-8".to_owned()),
            ("Accept-Charset", "utf-8".to_owned()),
            ("User-Agent", "Linear-Webhook".to_owned()),
            ("Linear-Delivery", delivery.to_owned()),
            ("Linear-Timestamp", self.now.unix_millis().to_string()),
            ("Linear-Signature", secret.secret.sign(&self.body)),
        ];
        // Headers hold ASCII only, and no sample's type is anything else.
        if let Ok(Typed { r#type }) = serde_json::from_slice(&self.body)
            && r#type.bytes().all(|byte| byte.is_ascii_graphic())
        {
            headers.push(("Linear-Event", r#type));
        }
        headers
    }

    /// A name for a delivery that no other has: a UUID, version 4.
    pub fn delivery_id() -> Result<String, Error> {
        let random: [u8; 16] = env::random().map_err(named_file::refused)?;
        let number = u128::from_be_bytes(random) & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
        let digits = format!("{number:032x}");
        let mut id = String::with_capacity(36);
        for (index, digit) in digits.chars().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                id.push('-');
            }
            id.push(digit);
        }
        Ok(id)
    }
}

/// The address to send to: one that stands for all of them is none to send to.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_id_is_a_uuid_of_version_4() {
        let id = Sample::delivery_id().unwrap();
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        assert_ne!(Sample::delivery_id().unwrap(), id);
    }

    #[test]
    fn an_address_that_stands_for_all_is_replaced_by_this_machine() {
        for (address, expected) in
            [("0.0.0.0:8787", "127.0.0.1:8787"), ("[::]:1", "[::1]:1"), ("192.0.2.1:80", "192.0.2.1:80")]
        {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), expected);
        }
    }
}
