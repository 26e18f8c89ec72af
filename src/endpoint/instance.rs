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
use crate::endpoint::authorize::assertion::{
    ASSERTION_KEYS, AssertionKeys, AssertionKeysError, Assertions,
};
use crate::endpoint::authorize::memory::Memory;
use crate::endpoint::authorize::{Credentials, Introspected, VerifiedTokens, Vouchers};
use crate::endpoint::discovery::Documents;
use crate::endpoint::sessions::{Opened, Referred};
use crate::endpoint::wheel;
use crate::ports::{Event, Ports, VariableError};
use crate::secret::Secret;
use crate::session::revocation::Watermark;
use crate::session::{KeyRing, KeyRingError};

/// The variable with the session keys.
pub const SESSION_KEYS: &str = "session_keys";

/// Why no request can be served. The answer is a fixed 500; this is for the log.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StartError {
    /// An upstream is to be sent assertions, and the keys for them are malformed.
    #[error("{0}")]
    AssertionKeys(#[from] AssertionKeysError),
    /// An upstream is to be sent assertions, and the keys for them are not set or not granted.
    #[error(
        "variable assertion_keys is not set or not granted, and an upstream has assertion = true: \
         `cargo xtask keys --assertion` makes keys"
    )]
    AssertionKeysMissing,
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
            StartError::AssertionKeys(_) => "assertion_keys_malformed",
            StartError::AssertionKeysMissing => "assertion_keys_missing",
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
    pub(crate) assertions: Assertions,
    pub(crate) credentials: RefCell<Credentials>,
    pub(crate) documents: Documents,
    pub(crate) introspected: Introspected,
    pub(crate) opened: RefCell<Memory<Rc<Opened>>>,
    pub(crate) references: RefCell<Memory<Rc<Referred>>>,
    pub(crate) verified: RefCell<VerifiedTokens>,
    pub(crate) vouchers: Vouchers,
    pub(crate) watermark: RefCell<Watermark>,
    pub(crate) wheel: wheel::Idle,
    secrets: RefCell<HashMap<String, Rc<Secret<String>>>>,
}

impl Instance {
    /// Reads `airside.toml`, as it was found, and reads the session keys. Logs the failure, or each
    /// `danger_*` switch that is on.
    ///
    /// # Errors
    /// [`StartError`]; then no request may be served.
    pub async fn start(config: Option<Vec<u8>>, ports: Ports<'_>) -> Result<Self, StartError> {
        let started = Self::try_start(config, ports).await;
        log_start(&started, ports);
        started
    }

    /// The same for the gate, which alone may read the keys of assertions, and needs them where
    /// an upstream is sent some.
    ///
    /// # Errors
    /// [`StartError`]; then no request may be served.
    pub async fn start_gate(config: Option<Vec<u8>>, ports: Ports<'_>) -> Result<Self, StartError> {
        let started = Self::try_start_gate(config, ports).await;
        log_start(&started, ports);
        started
    }

    async fn try_start_gate(config: Option<Vec<u8>>, ports: Ports<'_>) -> Result<Self, StartError> {
        let instance = Self::try_start(config, ports).await?;
        let mut upstreams = instance.config.upstreams.iter();
        if upstreams.any(|upstream| upstream.assertion.is_some()) {
            let keys = ports.variables.secret(ASSERTION_KEYS).await;
            let keys = keys.map_err(|VariableError| StartError::AssertionKeysMissing)?;
            instance.assertions.set(AssertionKeys::parse(&keys)?);
        }
        Ok(instance)
    }

    async fn try_start(config: Option<Vec<u8>>, ports: Ports<'_>) -> Result<Self, StartError> {
        let read = config.and_then(Config::from_bytes);
        let config = read
            .ok_or(StartError::ConfigUnreadable)?
            .map_err(|problems| StartError::config(&problems))?;
        let keys = ports
            .variables
            .secret(SESSION_KEYS)
            .await
            .map_err(|VariableError| StartError::SessionKeysMissing)?;
        Ok(Instance {
            config,
            ring: KeyRing::parse(&keys)?,
            assertions: Assertions::default(),
            credentials: RefCell::default(),
            documents: Documents::default(),
            introspected: Introspected::default(),
            opened: RefCell::default(),
            references: RefCell::default(),
            verified: RefCell::default(),
            vouchers: Vouchers::default(),
            watermark: RefCell::default(),
            wheel: wheel::Idle::default(),
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

fn log_start(started: &Result<Instance, StartError>, ports: Ports<'_>) {
    let emit = |code, field| {
        ports.events.emit(&Event {
            code,
            request_id: String::new(),
            fields: vec![field],
        });
    };
    match started {
        Ok(instance) => {
            for key in &instance.config.dangers {
                emit("danger_on", ("key", key.clone()));
            }
        }
        Err(error) => emit(error.code(), ("message", error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::base64url_encode;
    use crate::testing::{World, block_on};

    const CONFIG: &str = include_str!("../../airside.toml");

    fn world() -> World {
        let world = World::default();
        let key = base64url_encode(&[7; 32]);
        world.variables.set(SESSION_KEYS, &format!("a:{key}"));
        world
    }

    #[track_caller]
    fn check(config: Option<&str>, world: &World, expected: Result<(), &str>) {
        let started = block_on(Instance::start(config.map(Into::into), world.ports())).map(|_| ());
        let outcome = started.map_err(|error| error.code());
        assert_eq!(outcome, expected);
        let logged: Vec<&str> = expected.err().into_iter().collect();
        assert_eq!(world.events.codes(), logged, "one line per failure");
    }

    #[test]
    fn an_instance_starts_only_with_configuration_and_keys() {
        check(Some(CONFIG), &world(), Ok(()));
        check(None, &world(), Err("config_unreadable"));
        let started = block_on(Instance::start(Some(vec![b'#', 0xff]), world().ports()));
        assert_eq!(started.err(), Some(StartError::ConfigUnreadable));
        check(Some("public_url = 3"), &world(), Err("config_invalid"));
        check(Some(CONFIG), &World::default(), Err("session_keys_missing"));
        let world = World::default();
        world.variables.set(SESSION_KEYS, "a:AAAA");
        check(Some(CONFIG), &world, Err("session_keys_malformed"));
    }

    #[test]
    fn the_gate_starts_only_with_keys_for_the_assertions_it_is_to_send() {
        #[track_caller]
        fn check(config: &str, keys: Option<&str>, expected: Result<(), &str>) {
            let world = world();
            if let Some(keys) = keys {
                world.variables.set(ASSERTION_KEYS, keys);
            }
            let started = block_on(Instance::start_gate(Some(config.into()), world.ports()));
            let outcome = started.map(|_| ()).map_err(|error| error.code());
            assert_eq!(outcome, expected);
            let logged: Vec<&str> = expected.err().into_iter().collect();
            assert_eq!(world.events.codes(), logged, "one line per failure");
            // The others are not granted the variable, and do not need it.
            assert!(block_on(Instance::start(Some(config.into()), world.ports())).is_ok());
        }
        let keys = jwt_simple::prelude::Ed25519KeyPair::generate().with_key_id("a");
        let keys = format!("{{\"keys\":[{}]}}", keys.to_jwk());
        let with = CONFIG.replace(
            "[upstreams.invoices]",
            "[upstreams.invoices]\nassertion = true",
        );
        check(CONFIG, None, Ok(()));
        check(&with, Some(&keys), Ok(()));
        check(&with, None, Err("assertion_keys_missing"));
        check(&with, Some("{}"), Err("assertion_keys_malformed"));
    }

    #[test]
    fn the_log_line_names_the_key() {
        let error = block_on(Instance::start(
            Some("public_url = 3".into()),
            world().ports(),
        ));
        match error.map(|_| ()) {
            Err(StartError::Config { count, first }) => {
                assert!(
                    count > 0 && first.starts_with("line 1: public_url:"),
                    "{first}"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_weakens_a_check_is_logged_at_start() {
        let danger = "[issuers.demo]\ndanger_any_typ = true";
        let config = CONFIG.replace("[issuers.demo]", danger);
        let world = world();
        assert!(block_on(Instance::start(Some(config.into()), world.ports())).is_ok());
        let events = world.events.take();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].code, "danger_on");
        let key = "issuers.demo.danger_any_typ".to_owned();
        assert_eq!(events[0].fields, [("key", key)]);
    }

    #[test]
    fn a_variable_is_read_once_but_a_failure_is_not_kept() {
        let world = world();
        let instance = block_on(Instance::start(Some(CONFIG.into()), world.ports())).ok();
        let instance = instance.expect("instance");
        let secret = || block_on(instance.secret("client_secret", world.ports()));
        assert_eq!(secret().map(|_| ()), Err(VariableError));
        world.variables.set("client_secret", "s");
        assert_eq!(secret().as_deref(), Ok(&Secret::from("s")));
        let reads = world.variables.reads();
        assert_eq!(secret().as_deref(), Ok(&Secret::from("s")));
        assert_eq!(world.variables.reads(), reads);
    }
}
