//! `expire`: what another component stores for a time is entered into the wheel, which only
//! `tokens` can turn.

use serde::{Deserialize, Serialize};

use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::{Operation, call};
use crate::endpoint::wheel;
use crate::error::Error;
use crate::ports::Ports;
use crate::time::UnixTime;

/// Has `key`, which is written once, deleted some time after `until`. To be called before it is
/// written.
///
/// # Errors
/// [`Error::SessionStore`], [`Error::Tokens`]; then `key` must not be written.
pub async fn expire(
    key: &str,
    until: UnixTime,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), Error> {
    expire_while(key, b"", until, instance, ports).await
}

/// The same for a key that may be written again: it is deleted only while its value begins with
/// `tag`, see [`wheel::register`].
///
/// # Errors
/// As [`expire`].
pub async fn expire_while(
    key: &str,
    tag: &[u8],
    until: UnixTime,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), Error> {
    let request = Expire {
        key: key.to_owned(),
        tag: tag.to_vec(),
        until,
    };
    call(&request, CALL_MILLIS, instance, ports).await
}

/// Longer than the store may take for what is done here.
const CALL_MILLIS: u64 = 5_000;

/// What expires, and when.
#[derive(Debug, Serialize, Deserialize)]
pub struct Expire {
    key: String,
    tag: Vec<u8>,
    until: UnixTime,
}

impl Operation for Expire {
    const NAME: &'static str = "expire";
    type Reply = ();

    async fn answer(self, _: &Instance, ports: Ports<'_>, now: UnixTime) -> Result<(), Error> {
        let registered = wheel::register(&self.key, &self.tag, self.until, ports, now).await;
        registered.map_err(|_| Error::SessionStore)
    }
}
