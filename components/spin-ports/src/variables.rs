//! The variables that the manifest grants to this component.

use airside::ports::{PortFuture, VariableError, Variables};
use airside::secret::Secret;

pub(crate) struct Granted;

impl Variables for Granted {
    fn secret(&self, name: &str) -> PortFuture<'_, Result<Secret<String>, VariableError>> {
        let name = name.to_owned();
        Box::pin(async move {
            let value = spin_sdk::variables::get(&name)
                .await
                .map_err(|_| VariableError)?;
            // Set to nothing is not set.
            if value.is_empty() {
                Err(VariableError)
            } else {
                Ok(Secret::new(value))
            }
        })
    }
}
