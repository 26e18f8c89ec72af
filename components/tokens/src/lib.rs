//! The `tokens` component.
