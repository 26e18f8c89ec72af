//! Who may pass where: routes, matching and the decision. No I/O.

pub mod decision;
pub mod matcher;
pub mod path;
pub mod proxying;
pub mod rule;
pub mod step_up;
pub(crate) mod words;

pub use decision::{DenialReason, Permit};
pub use matcher::{Match, Matcher, Patterns};
pub use path::{CheckedPath, PathError};
pub use proxying::{Cors, Proxying};
pub use rule::{Access, Route, TokenRule};
pub use step_up::{Authentication, StepUp};
