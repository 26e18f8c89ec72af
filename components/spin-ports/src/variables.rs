//! The variables that the manifest grants to this component.

use airside::ports::{PortFuture, VariableError, Variables};
use airside::secret::Secret;

use crate::deadline::within;

/// A vault that does not answer within this time is down.
const TIMEOUT_MILLIS: u64 = 5_000;

pub(crate) struct Granted;

impl Variables for Granted {
    fn secret(&self, name: &str) -> PortFuture<'_, Result<Secret<String>, VariableError>> {
        let name = name.to_owned();
        Box::pin(async move {
            let value = within(TIMEOUT_MILLIS, spin_sdk::variables::get(&name))
                .await
                .and_then(Result::ok)
                .ok_or(VariableError)?;
            // Set to nothing is not set.
            if value.is_empty() {
                Err(VariableError)
            } else {
                Ok(Secret::new(value))
            }
        })
    }
}
