//! What one wasm instance keeps between requests: the parsed configuration, the key ring, and
//! caches of public documents.
//!
//! Requests interleave on one thread: no borrow of a cell here lives across an await, and no
//! request waits for another one's fetch.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use thiserror::Error;

use crate::config::{Config, Problem};
use crate::endpoint::authorize::VerifiedTokens;
use crate::endpoint::discovery::DocumentCache;
use crate::ports::{Event, Ports, VariableError};
use crate::secret::Secret;
use crate::session::{KeyRing, KeyRingError};

/// The variable with the session keys.
pub const SESSION_KEYS: &str = "session_keys";

/// Why no request can be served. The answer is a fixed 500; this is for the log.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StartError {
    /// `airside.toml` has problems.
    #[error("airside.toml: {} problem(s), the first: {first}", count)]
    Config {
        /// How many.
        count: usize,
        /// One of them; `cargo xtask check` shows all.
        first: String,
    },
    /// `airside.toml` cannot be read.
    #[error("airside.toml cannot be read: is it in `files` of the manifest?")]
    ConfigUnreadable,
    /// The session keys are malformed.
    #[error("{0}")]
    KeyRing(#[from] KeyRingError),
    /// The session keys are not set or not granted.
    #[error("variable session_keys is not set or not granted: `cargo xtask keys` makes keys")]
    SessionKeysMissing,
}

impl StartError {
    /// The stable code of the log line.
    pub fn code(&self) -> &'static str {
        match self {
            StartError::Config { .. } => "config_invalid",
            StartError::ConfigUnreadable => "config_unreadable",
            StartError::KeyRing(_) => "session_keys_malformed",
            StartError::SessionKeysMissing => "session_keys_missing",
        }
    }

    fn config(problems: &[Problem]) -> Self {
        let first = problems.first().map(Problem::to_string).unwrap_or_default();
        StartError::Config {
            count: problems.len(),
            first,
        }
    }
}

/// The state of an instance.
pub struct Instance {
    /// The configuration.
    pub config: Config,
    /// The session keys.
    pub ring: KeyRing,
    pub(crate) documents: RefCell<DocumentCache>,
    pub(crate) verified: RefCell<VerifiedTokens>,
    secrets: RefCell<HashMap<String, Rc<Secret<String>>>>,
}

impl Instance {
    /// Parses the text of `airside.toml` and reads the session keys. Logs the failure, or each
    /// `danger_*` switch that is on.
    ///
    /// # Errors
    /// [`StartError`]; then no request may be served.
    pub async fn start(config: Option<&str>, ports: Ports<'_>) -> Result<Self, StartError> {
        let started = Self::try_start(config, ports).await;
        match &started {
            Ok(instance) => {
                for key in &instance.config.dangers {
                    let fields = vec![("key", key.clone())];
                    ports.events.emit(&Event {
                        code: "danger_on",
                        request_id: String::new(),
                        fields,
                    });
                }
            }
            Err(error) => {
                let fields = vec![("message", error.to_string())];
                ports.events.emit(&Event {
                    code: error.code(),
                    request_id: String::new(),
                    fields,
                });
            }
        }
        started
    }

    async fn try_start(config: Option<&str>, ports: Ports<'_>) -> Result<Self, StartError> {
        let text = config.ok_or(StartError::ConfigUnreadable)?;
        let config = Config::parse(text).map_err(|problems| StartError::config(&problems))?;
        let keys = ports
            .variables
            .secret(SESSION_KEYS)
            .await
            .map_err(|VariableError| StartError::SessionKeysMissing)?;
        Ok(Instance {
            config,
            ring: KeyRing::parse(&keys)?,
            documents: RefCell::default(),
            verified: RefCell::default(),
            secrets: RefCell::default(),
        })
    }

    /// The secret in `variable`, read from the host once per instance: a vault answers each
    /// read over the network.
    ///
    /// # Errors
    /// [`VariableError`].
    pub async fn secret(
        &self,
        variable: &str,
        ports: Ports<'_>,
    ) -> Result<Rc<Secret<String>>, VariableError> {
        if let Some(known) = self.secrets.borrow().get(variable) {
            return Ok(Rc::clone(known));
        }
        let secret = Rc::new(ports.variables.secret(variable).await?);
        self.secrets
            .borrow_mut()
            .insert(variable.to_owned(), Rc::clone(&secret));
        Ok(secret)
    }
}
