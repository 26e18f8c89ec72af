//! The `session` component.
