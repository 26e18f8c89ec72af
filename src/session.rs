//! Sessions and login attempts as sealed values in cookies (DESIGN: cookie store).

pub mod cookie;
pub mod record;
pub mod refresh_keys;
pub mod refresh_lock;
pub mod revocation;
pub mod seal;
pub mod transaction;

pub use cookie::Cookies;
pub use record::{Session, SessionError, SessionLimits};
pub use seal::{KeyRing, KeyRingError, MAX_SEALED_BYTES, Purpose, SealError};
pub use transaction::Transaction;
