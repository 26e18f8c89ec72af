//! Sessions and login attempts as sealed values, in cookies or, by reference, in the store.

pub mod cookie;
mod jwe;
pub mod record;
pub mod refresh_keys;
pub mod refresh_lock;
pub mod revocation;
pub mod seal;
pub mod stored;
pub mod transaction;

pub use cookie::Cookies;
pub use record::{Place, Session, SessionError, SessionLimits};
pub use seal::{KeyRing, KeyRingError, MAX_SEALED_BYTES, Purpose, SealError};
pub use stored::Record;
pub use transaction::Transaction;
