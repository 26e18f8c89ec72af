//! The `login` component.
