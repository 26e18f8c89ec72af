//! The `logout` component.
